import { expect, test } from 'vitest';
import { expand } from './macros';
import { firstQuery, tokens, typing, withMatcher } from './promql';

test('tokens cover every character of anything', () => {
  const texts = ['sum by (job) (rate(http_requests_total{code=~"5..", method!="GET"}[5m])) / 2 # comment', '"unclosed', "'x\\'", '{{{{', '$__rate_interval ${x:regex} [[y]]', 'é ☃ \u0000 1e9 0x1F 1h30m .5', ''];
  for (const text of texts) expect(tokens(text).map((t) => t.text).join('')).toBe(text);
});

test('words are what they are by their place', () => {
  const kinds = (q: string) => tokens(q).filter((t) => t.kind !== 'space' && t.kind !== 'punct').map((t) => `${t.kind}:${t.text}`);
  expect(kinds('sum by (job) (rate(up{sum="a"}[5m]))')).toEqual(['function:sum', 'keyword:by', 'label:job', 'function:rate', 'name:up', 'label:sum', 'string:"a"', 'number:5m']);
  expect(kinds('rate')).toEqual(['name:rate']);
  expect(kinds('a offset 5m and on(b) c')).toEqual(['name:a', 'keyword:offset', 'number:5m', 'keyword:and', 'keyword:on', 'label:b', 'name:c']);
});

test.each([
  ['|', { kind: 'metric', from: 0, prefix: '' }],
  ['rat|', { kind: 'metric', from: 0, prefix: 'rat' }],
  ['rate(htt|', { kind: 'metric', from: 5, prefix: 'htt' }],
  ['a + |', { kind: 'metric', from: 4, prefix: '' }],
  ['up{|', { kind: 'label', from: 3, prefix: '', selector: 'up' }],
  ['up{job="a", in|', { kind: 'label', from: 12, prefix: 'in', selector: 'up{job="a"}' }],
  ['up{job="|', { kind: 'value', from: 8, prefix: '', label: 'job', selector: 'up' }],
  ['up{a="b",job=~"pro|', { kind: 'value', from: 15, prefix: 'pro', label: 'job', selector: 'up{a="b"}' }],
  ['sum by (|', { kind: 'label', from: 8, prefix: '', selector: '' }],
  ['sum by (jo|) (rate(up[5m]))', { kind: 'label', from: 8, prefix: 'jo', selector: 'up' }],
  ['up[5|', { kind: 'none' }],
  ['up{job="a"|', { kind: 'none' }],
  ['up)|', { kind: 'none' }],
  ['# note|', { kind: 'none' }],
])('typing %s', (marked, wanted) => {
  const at = marked.indexOf('|');
  expect(typing(marked.replace('|', ''), at)).toEqual(wanted);
});

test('typing anywhere in anything never fails', () => {
  const text = 'sum by (job, "x.y") (rate({"http.requests", code=~"5..|4.."}[5m:1m] offset -5m)) > bool 3 or `a';
  for (let i = 0; i <= text.length; i++) expect(typing(text, i).kind).toMatch(/metric|label|value|none/);
});

test('a first query shows what one wants of a kind', () => {
  expect(firstQuery('http_requests_total', 'counter')).toBe('rate(http_requests_total[$__rate_interval])');
  expect(firstQuery('latency_seconds', 'histogram')).toContain('rate(latency_seconds_bucket');
  expect(firstQuery('up', 'gauge')).toBe('up');
  expect(firstQuery('http.server', 'gauge')).toBe('{"http.server"}');
  expect(expand('rate(a[$__rate_interval]) ${__range_s} $job', { step: 15, span: { from: 0, to: 3_600_000 } })).toBe('rate(a[1m]) 3600 $job');
});

test('a click on a label narrows the query', () => {
  expect(withMatcher('rate(up[5m])', 'up', 'job', 'a"b')).toBe('rate(up{job="a\\"b"}[5m])');
  expect(withMatcher('up{x="y"}', '', 'job', 'a', '!=')).toBe('up{job!="a", x="y"}');
  expect(withMatcher('up{}', 'up', 'job', 'a')).toBe('up{job="a"}');
  expect(withMatcher('1 + 1', '', 'job', 'a')).toBe('1 + 1');
});
