import { expect, test } from 'vitest';
import { aligned, describe, edge, fixed, lengthMs, lengthText, moved, resolve, stepFor, widened, ZoomHistory } from './range';

const now = Date.UTC(2026, 0, 31, 14, 5, 9);

test('edges are relative, absolute or cut', () => {
  expect(edge('now', now)).toBe(now);
  expect(edge('now-15m', now)).toBe(now - 900_000);
  expect(edge('now+1h', now)).toBe(now + 3_600_000);
  expect(edge('now/h', now)).toBe(Date.UTC(2026, 0, 31, 14));
  expect(edge('now/h', now, true)).toBe(Date.UTC(2026, 0, 31, 15) - 1);
  expect(edge('1769868309000', now)).toBe(1769868309000);
  expect(edge('2026-01-31T14:05:09Z', now)).toBe(now);
  for (const bad of ['', 'then', 'now-', 'now-5', 'now-5x', '12', '2026']) expect(edge(bad, now)).toBeUndefined();
  const day = new Date(edge('now/d', now) ?? 0);
  expect([day.getHours(), day.getMinutes()]).toEqual([0, 0]);
});

test('a range that says nothing is the last hour', () => {
  expect(resolve({ from: 'now', to: 'now-1h' }, now)).toEqual({ from: now - 3_600_000, to: now });
  expect(fixed({ from: 'now-1m', to: 'now' }, now)).toEqual({ from: String(now - 60_000), to: String(now) });
  expect(describe({ from: 'now-1h', to: 'now' }, true)).toBe('Last hour');
  expect(describe({ from: String(now - 60_000), to: String(now) }, true)).toBe('2026-01-31 14:04:09 to 2026-01-31 14:05:09');
  expect(describe({ from: 'now-2h', to: 'now-1h' }, true)).toBe('now-2h to now-1h');
});

test('lengths as PromQL writes them', () => {
  expect(lengthMs('1h30m')).toBe(5_400_000);
  expect(lengthMs('5 m')).toBeUndefined();
  for (const ms of [1, 999, 60_000, 90_000, 3_600_000, 90_061_001]) expect(lengthMs(lengthText(ms))).toBe(ms);
});

test('steps are round and give few enough points', () => {
  for (const hours of [0.01, 0.1, 1, 5, 24, 168, 9000]) {
    const span = { from: 0, to: hours * 3_600_000 };
    const step = stepFor(span, 600);
    expect((span.to - span.from) / 1000 / step).toBeLessThanOrEqual(600);
    const { start, end } = aligned({ from: 7, to: 7 + span.to }, step);
    expect(start % step).toBe(0);
    expect(end % step).toBe(0);
  }
  expect(stepFor({ from: 0, to: 3_600_000 }, 360, 15)).toBe(15);
});

test('zooming has a way back', () => {
  const history = new ZoomHistory();
  history.push({ from: 'now-1h', to: 'now' });
  history.push({ from: 'now-1h', to: 'now' });
  history.push({ from: '1', to: '2' });
  expect(history.depth).toBe(2);
  expect(history.pop()).toEqual({ from: '1', to: '2' });
  expect(history.pop()).toEqual({ from: 'now-1h', to: 'now' });
  expect(history.pop()).toBeUndefined();
});

test('moving and widening keep to the past', () => {
  expect(moved({ from: 100, to: 200 }, -1)).toEqual({ from: '50', to: '150' });
  expect(widened({ from: now - 100, to: now }, now)).toEqual({ from: String(now - 200), to: String(now) });
  expect(widened({ from: 1000, to: 1100 }, now)).toEqual({ from: '950', to: '1150' });
});
