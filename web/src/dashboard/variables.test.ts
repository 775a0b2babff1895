import { expect, test } from 'vitest';
import { ALL, type Variable } from './model';
import { chosen, filtered, interpolate, question, sorted, uses, type Value, type Values } from './variables';

const steps = { step: 30, span: { from: 0, to: 3_600_000 } };
const value = (chosen: string[], more: Partial<Value> = {}): Value => ({ chosen, options: ['a.b', 'c', 'd'].map((v) => ({ text: v.toUpperCase(), value: v })), multi: false, all: false, allValue: '', ...more });
const fill = (text: string, v: Value) => interpolate(text, new Map([['x', v]]) as Values, steps);

test.each([
  ['$x', value(['a.b']), 'a.b'], ['${x}', value(['a.b'], { multi: true }), 'a\\\\.b'], ['[[x]]', value(['a.b', 'c'], { multi: true }), '(a\\\\.b|c)'],
  ['$x', value([ALL], { all: true }), '(a\\\\.b|c|d)'], ['$x', value([ALL], { all: true, allValue: '.*' }), '.*'], ['${x:regex}', value(['a.b', 'c'], { multi: true }), '(a\\.b|c)'],
  ['${x:pipe}', value(['c', 'd'], { multi: true }), 'c|d'], ['${x:csv}', value(['c', 'd'], { multi: true }), 'c,d'], ['${x:raw}', value(['a.b'], { multi: true }), 'a.b'], ['${x:text}', value(['c', 'd'], { multi: true }), 'C + D'], ['${x:text}', value([ALL], { all: true }), 'All'],
  ['${x:doublequote}', value(['c', 'd'], { multi: true }), '"c","d"'], ['${x:json}', value(['c'], { multi: true }), '["c"]'], ['${x:glob}', value(['c', 'd'], { multi: true }), '{c,d}'], ['${x:percentencode}', value(['a b']), 'a%20b'],
  ['$xy $x', value(['c']), '$xy c'], ['rate(m[$x])', value(['$__rate_interval']), 'rate(m[1m])'], ['[$__interval] $__range_s ${__range}', value([]), '[30s] 3600 3600s'],
])('%s', (text, v, wanted) => expect(fill(text, v)).toBe(wanted));

test('queries of variables', () => {
  expect(question('label_values(up{job=~"a,b"}, instance)')).toEqual({ kind: 'label_values', selector: 'up{job=~"a,b"}', label: 'instance' });
  expect(question('label_values(namespace)')).toEqual({ kind: 'label_values', selector: '', label: 'namespace' });
  expect(question('query_result(topk(5, sum(up)))')).toEqual({ kind: 'query_result', expr: 'topk(5, sum(up))' });
  expect(question('SELECT 1')).toBeUndefined();
  expect(uses('$a ${b:regex} [[c]] $__range')).toEqual(['a', 'b', 'c', '__range']);
});

test('patterns keep and cut, order is as asked', () => {
  expect(filtered(['node-1:9100', 'node-2:9100', 'x'], '/(node-\\d+):.*/')).toEqual([{ text: 'node-1', value: 'node-1' }, { text: 'node-2', value: 'node-2' }]);
  expect(filtered(['id=1 name=one'], '/id=(?<value>\\d+) name=(?<text>\\w+)/')).toEqual([{ text: 'one', value: '1' }]);
  expect(filtered(['a', 'a'], '')).toHaveLength(1);
  expect(filtered(['a'], '/(/')).toHaveLength(1);
  const of = (...t: string[]) => t.map((text) => ({ text }));
  expect(sorted(of('n10', 'n9'), 3)).toEqual(of('n9', 'n10'));
  expect(sorted(of('a', 'b'), 2)).toEqual(of('b', 'a'));
});

test('only what is offered is chosen', () => {
  const v = { kind: 'query', current: ['gone'], multi: true, all: true } as Variable;
  const options = [{ value: 'a' }, { value: 'b' }];
  expect(chosen(v, options, [])).toEqual([ALL]);
  expect(chosen(v, options, ['b', 'x'])).toEqual(['b']);
  expect(chosen({ ...v, all: false }, options, [])).toEqual(['a']);
  expect(chosen({ ...v, kind: 'textbox', current: [] }, [], ['free text'])).toEqual(['free text']);
});
