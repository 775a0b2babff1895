import { expect, test } from 'vitest';
import { ago, duration, tone, words } from './words';

test('durations and ages have units', () => {
  expect(duration(192_000)).toBe('3 m 12 s');
  expect(ago('2026-01-01T00:00:00Z', Date.parse('2026-01-01T02:00:00Z'))).toBe('2 h ago');
});

test('status words are words', () => {
  expect(words('WaitingForApproval')).toBe('Waiting for approval');
  expect(tone('Degraded')).toBe('failed');
  expect(tone('never heard of')).toBe('idle');
});
