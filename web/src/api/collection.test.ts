import { expect, test } from 'vitest';
import { empty, take, type WatchEvent } from './collection';

const event = (type: WatchEvent['type'], name: string, annotations?: Record<string, string>): WatchEvent => ({
  type,
  object: { metadata: { name, namespace: 'demo', ...(annotations ? { annotations } : {}) } },
});
const end = event('BOOKMARK', '', { 'k8s.io/initial-events-end': 'true' });

test('a list arrives as events and is complete at its bookmark', () => {
  const c = empty();
  take(c, event('ADDED', 'a'));
  expect(c.synced).toBe(false);
  take(c, end);
  expect(c.synced).toBe(true);
  expect([...c.items.keys()]).toEqual(['demo/a']);
});

test('what a second list does not name is gone', () => {
  const c = empty();
  take(c, event('ADDED', 'a'));
  take(c, event('ADDED', 'b'));
  take(c, end);
  c.listing = new Set();
  take(c, event('ADDED', 'b'));
  take(c, end);
  expect([...c.items.keys()]).toEqual(['demo/b']);
});

test('a plain bookmark changes nothing', () => {
  const c = empty();
  expect(take(c, event('BOOKMARK', ''))).toBe(false);
  expect(c.synced).toBe(false);
});
