import { expect, test } from 'vitest';
import { domainOf, logTicks, share, ticks, timeTicks } from './scale';

test('ticks are round and inside', () => {
  expect(ticks({ min: 0, max: 10 }, 5)).toEqual([0, 2, 4, 6, 8, 10]);
  expect(ticks({ min: 0, max: 1 }, 4)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  expect(ticks({ min: -3, max: 7 }, 5)).toEqual([-2, 0, 2, 4, 6]);
  expect(ticks({ min: 0, max: 3 * 1024 ** 2 }, 4, true)).toEqual([0, 1024 ** 2, 2 * 1024 ** 2, 3 * 1024 ** 2]);
  expect(ticks({ min: 5, max: 5 }, 4)).toEqual([5]);
  expect(ticks({ min: NaN, max: 1 }, 4)).toEqual([]);
});

test('ticks of any domain are few, rising and inside', () => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let i = 0; i < 500; i++) {
    const min = (random() - 0.5) * 10 ** (random() * 20 - 8);
    const max = min + 10 ** (random() * 20 - 8);
    if (max === min) continue;
    for (const binary of [false, true]) {
      const found = ticks({ min, max }, 5, binary);
      expect(found.length).toBeLessThanOrEqual(8);
      const slack = (max - min) * 1e-6 + Math.abs(max) * 1e-9;
      found.forEach((t, n) => {
        expect(t).toBeGreaterThanOrEqual(min - slack);
        expect(t).toBeLessThanOrEqual(max + slack);
        if (n) expect(t).toBeGreaterThanOrEqual(found[n - 1] ?? 0);
      });
    }
  }
});

test('domains hold their values, with zero where it is near', () => {
  expect(domainOf(3, 9)).toEqual({ min: 0, max: 10 });
  expect(domainOf(990, 1000).min).toBeGreaterThan(900);
  expect(domainOf(5, 5)).toEqual({ min: 0, max: 6 });
  expect(domainOf(0, 0)).toEqual({ min: 0, max: 1 });
  expect(domainOf(Infinity, -Infinity)).toEqual({ min: 0, max: 1 });
  expect(domainOf(2, 9, { min: 0, max: 100 })).toEqual({ min: 0, max: 100 });
  expect(domainOf(2, 9, { min: 50 })).toEqual({ min: 50, max: 51 });
});

test('logarithmic ticks', () => {
  expect(logTicks({ min: 1, max: 1000 }, 4)).toEqual([1, 10, 100, 1000]);
  expect(logTicks({ min: 1, max: 10 }, 6)).toEqual([1, 2, 5, 10]);
  expect(logTicks({ min: 0, max: 10 }, 6)).toEqual([]);
  expect(share(10, { min: 1, max: 100 }, true)).toBeCloseTo(0.5);
  expect(share(25, { min: 0, max: 100 })).toBe(0.25);
});

test('times are round in the zone', () => {
  const from = Date.UTC(2026, 0, 31, 22, 7);
  const hours = timeTicks(from, from + 4 * 3_600_000, 5, true);
  expect(hours.map((t) => t.text)).toEqual(['23:00', '1 Feb', '01:00', '02:00']);
  expect(hours[1]?.strong).toBe(true);
  expect(timeTicks(from, from + 60_000, 6, true).map((t) => t.text)[0]).toBe('22:07:00');
  expect(timeTicks(Date.UTC(2025, 1, 3), Date.UTC(2026, 1, 3), 12, true).map((t) => t.text)).toContain('Jan 2026');
  expect(timeTicks(5, 5, 3)).toEqual([]);
});
