import { expect, test } from 'vitest';
import { beside, exploreUrl, isSplit, paneOf, traceUrl, withoutSplit, withPane } from './panes';

test('a pane is what its URL says, and the other one stays', () => {
  const query = new URLSearchParams('from=now-1h&to=now&q=up&q=rate(a[5m])&kind=stacked&r.mode=logs&r.log={a="b"}');
  expect(paneOf(query, '')).toMatchObject({ mode: 'metrics', queries: ['up', 'rate(a[5m])'], kind: 'stacked', view: 'chart' });
  expect(paneOf(query, 'r.')).toMatchObject({ mode: 'logs', log: '{a="b"}' });
  const next = withPane(query, '', { queries: ['x'] });
  expect(paneOf(next, '')).toMatchObject({ mode: 'metrics', queries: ['x'], kind: 'stacked' });
  expect(paneOf(next, 'r.')).toEqual(paneOf(query, 'r.'));
  expect(next.get('from')).toBe('now-1h');
  expect(isSplit(next)).toBe(true);
  expect(isSplit(withoutSplit(next))).toBe(false);
});

test('nonsense in a URL is what is usual', () => {
  expect(paneOf(new URLSearchParams('kind=pie&view=x&mode=y'), '')).toMatchObject({ kind: 'line', view: 'chart', mode: 'start' });
  expect(withPane(new URLSearchParams(), '', {}).toString()).toBe('');
  expect(exploreUrl(['a b'], { from: '1', to: '2' })).toBe('/observe/explore?from=1&to=2&q=a+b');
});

test('what a pane leads to opens beside it, and the right one moves left', () => {
  const chart = new URLSearchParams('q=up&from=now-1h&to=now');
  const trace = beside(chart, '', { mode: 'traces', trace: 'ab' });
  expect(trace.toString()).toBe('q=up&from=now-1h&to=now&r.mode=traces&r.trace=ab');
  const logs = beside(trace, 'r.', { mode: 'logs', log: '{a="b"}' });
  expect(paneOf(logs, '')).toMatchObject({ mode: 'traces', trace: 'ab', queries: [] });
  expect(paneOf(logs, 'r.')).toMatchObject({ mode: 'logs', log: '{a="b"}', trace: '' });
  expect(traceUrl('ab', 'cd')).toBe('/observe/explore?mode=traces&trace=ab&span=cd');
});
