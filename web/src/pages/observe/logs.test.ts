import { expect, test } from 'vitest';
import { isMetric, levelOf, linesOf, merged, selectorFor, streamOf, volumeOf, withLabel, withText } from './logs';

test.each([
  ['{"ts":1,"level":"error","msg":"x"}', {}, 'error'], ['level=warn msg=x', {}, 'warning'], ['anything', { level: 'debug' }, 'debug'], ['anything', { detected_level: 'critical' }, 'error'],
  ['E0131 14:05:09.123 1 x.go:1] no', {}, 'error'], ['2026-01-31 14:05 [INFO] started', {}, 'info'], ['error: no such file', {}, 'error'], ['an error in the middle', {}, ''], ['terrors: many', {}, ''], ['', {}, ''],
])('the level of %j with %j is %j', (text, labels, level) => expect(levelOf(text, labels as Record<string, string>)).toBe(level));

test('lines are merged by nanoseconds, the newest first, each once', () => {
  const a = linesOf([{ stream: { pod: 'a' }, values: [['1769868309000000002', 'two'], ['1769868309000000001', 'one'], ['1769868309000000001', 'one']] }, { stream: { pod: 'b' }, values: [['1769868309000000003', 'three', { trace: 'x' }]] }]);
  expect(a.map((l) => l.text)).toEqual(['three', 'two', 'one', 'one']);
  expect(a[0]?.extra).toEqual({ trace: 'x' });
  expect(new Set(a.map((l) => l.id)).size).toBe(4);
  expect(merged(a, a, 100)).toHaveLength(4);
  expect(merged(a, [], 2).map((l) => l.text)).toEqual(['three', 'two']);
});

test('clicks change the selector and nothing else', () => {
  expect(withLabel('{namespace="a"} |= "x, {y}"', 'pod', 'p-1')).toBe('{namespace="a", pod="p-1"} |= "x, {y}"');
  expect(withLabel('{pod=~"a,b", namespace="a"}', 'pod', 'p')).toBe('{namespace="a", pod="p"}');
  expect(withLabel('{pod="p"}', 'pod', 'q', '!=')).toBe('{pod="p", pod!="q"}');
  expect(withLabel('', 'pod', 'p')).toBe('{pod="p"}');
  expect(withLabel('{', 'pod', 'p')).toBe('{pod="p"}');
  expect(withLabel('sum(rate({a="b"}[5m]))', 'c', 'd')).toBe('sum(rate({a="b", c="d"}[5m]))');
  expect(withText('{a="b"} ', 'say "x"')).toBe('{a="b"} |= "say \\"x\\""');
  expect(selectorFor({ __name__: 'up', namespace: 'n', pod: 'p', le: '1' })).toBe('{namespace="n", pod="p"}');
  expect(selectorFor({})).toBe('{namespace=~".+"}');
  expect(streamOf({ b: '2', a: '1', 'x.y': '3' })).toBe('{a="1", b="2"}');
});

test('queries that count are known', () => {
  expect(isMetric('sum by (pod) (rate({a="b"}[5m]))')).toBe(true);
  expect(isMetric('{a="b"} | json')).toBe(false);
  expect(volumeOf('{a="b"}', 15)).toBe('sum by (detected_level) (count_over_time({a="b"} [15s]))');
});
