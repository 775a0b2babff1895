import { expect, test } from 'vitest';
import { absolute, actor, shaOf, ago, count, deed, duration, tone, words } from './words';

test('durations and ages have units', () => {
  expect(duration(192_000)).toBe('3 m 12 s');
  expect(ago('2026-01-01T00:00:00Z', Date.parse('2026-01-01T02:00:00Z'))).toBe('2 h ago');
  expect(absolute('2026-01-01T00:00:00Z', true)).toBe('2026-01-01 00:00:00 UTC');
  expect(count(1, 'commit')).toBe('1 commit');
  expect(count(5000, 'pod')).toBe('5,000 pods');
});

test('status words are words', () => {
  expect(words('WaitingForApproval')).toBe('Waiting for approval');
  expect(words('OutOfSync')).toBe('Drifted');
  expect(words('CrashLoopBackOff')).toBe('CrashLoopBackOff');
  expect(tone('Degraded')).toBe('failed');
  expect(tone('never heard of')).toBe('idle');
  expect(actor('system:towpath:gitops')).toBe('the policy');
  expect(shaOf('my-app-4f2c91e0aa00')).toBe('4f2c91e0aa00');
  expect(deed('auto-rollback')).toBe('Automatic rollback');
});
