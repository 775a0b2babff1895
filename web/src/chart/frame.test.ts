import { expect, test } from 'vitest';
import { frameOf, nearest, sentence, stack, summarize, thin } from './frame';

const run = (pod: string, values: [number, string][]) => ({ metric: { __name__: 'up', pod }, values });

test('answers lie on one grid, what is missing is a gap', () => {
  const frame = frameOf([{ runs: [run('a', [[100, '1'], [130, '3']]), run('b', [[115, '+Inf']])] }], 100, 130, 15);
  expect([...frame.times]).toEqual([100_000, 115_000, 130_000]);
  expect([...(frame.lines[0]?.values ?? [])]).toEqual([1, NaN, 3]);
  expect(frame.lines[1]?.values[1]).toBe(Infinity);
  expect(frame.common).toEqual({ __name__: 'up' });
  expect(frame.lines.map((l) => l.name)).toEqual(['{pod="a"}', '{pod="b"}']);
  expect(frameOf([{ runs: [run('a', [])], legend: 'pod {{pod}}' }], 0, 0, 15).lines[0]?.name).toBe('pod a');
  expect(frameOf([], 10, 0, 15).times.length).toBe(0);
});

test('a summary counts what is a number', () => {
  expect(summarize(Float64Array.of(1, NaN, 3, Infinity))).toEqual({ last: 3, min: 1, max: 3, mean: 2, sum: 4, count: 2 });
  expect(summarize(new Float64Array(2).fill(NaN)).count).toBe(0);
});

test('stacks add up, gaps add nothing, what is below zero goes down', () => {
  const [a, b, c] = stack([Float64Array.of(1, 2), Float64Array.of(NaN, 3), Float64Array.of(-1, 4)]);
  expect([...(a?.to ?? [])]).toEqual([1, 2]);
  expect([...(b?.from ?? [])]).toEqual([1, 2]);
  expect([...(b?.to ?? [])]).toEqual([NaN, 5]);
  expect([...(c?.from ?? []), ...(c?.to ?? [])]).toEqual([0, 5, -1, 9]);
});

test('thinning keeps extremes, ends and gaps', () => {
  const values = Float64Array.from({ length: 10_000 }, (_, i) => Math.sin(i / 50));
  values[4321] = 99;
  values[1234] = -99;
  values[7000] = NaN;
  const kept = thin(values, 200) ?? [];
  expect(kept.length).toBeLessThanOrEqual(1000);
  for (const i of [0, 1234, 4321, 7000, 9999]) expect(kept).toContain(i);
  expect(kept.every((i, n) => n === 0 || i > (kept[n - 1] ?? 0))).toBe(true);
  expect(thin(values, 5000)).toBeUndefined();
});

test('the nearest point, and a sentence', () => {
  const frame = frameOf([{ runs: [run('a', [[0, '1'], [15, '7']])] }], 0, 15, 15);
  expect(nearest(frame.times, 9000)).toBe(1);
  expect(nearest(frame.times, -5)).toBe(0);
  expect(nearest(new Float64Array(), 1)).toBe(-1);
  expect(sentence(frame, String, String)).toBe('1 series from 0 to 15000. Highest: 7 (up{pod="a"}) at 15000; its last value is 7.');
  expect(sentence(frameOf([], 0, 1, 1), String, String)).toBe('No data in this range.');
});
