import { expect, test } from 'vitest';
import type { Environment, Promotion, Release, Run } from '../api/types';
import { median, nextStage, stations, timeline, toRollBack, worst } from './journey';

const run = { metadata: { name: 'r' }, spec: { actor: 'ada' }, status: { phase: 'Succeeded', gates: [], images: [], message: '' } } as unknown as Run;
const release = { metadata: { name: 'rel' }, spec: { sha: 'a', images: [{ digest: 'sha256:0123456789abcdef' }] } } as unknown as Release;
const env = (stage: string, order: number, over: object = {}, promotion = {}) =>
  ({ metadata: { name: `hello-${stage}` }, spec: { stage, order, promotion }, status: { history: [], release: '', ...over } }) as unknown as Environment;

test('a healthy deployment shows its health', () => {
  const all = stations(run, release, [env('dev', 1, { release: 'rel', health: 'Healthy', sync: 'Synced' })], []);
  expect(all.map((s) => s.word)).toEqual(['Ready', 'Succeeded', 'Ready', 'Healthy']);
  expect(worst(all)).toBeUndefined();
});

test('a failed gate is named', () => {
  const failed = { ...run, status: { ...run.status, phase: 'Failed', gates: [{ gate: 'coverage', passed: false, message: '40 % < 50 %' }] } } as Run;
  expect(worst(stations(failed, undefined, [], []))?.detail).toBe('gate coverage: 40 % < 50 %');
});

test('a rollback is told from a replacement', () => {
  const promotion = { metadata: { name: 'p' }, spec: { environment: 'hello-prd', release: 'rel' }, status: { phase: 'Succeeded', release: 'rel', finishedAt: '2026-01-01T00:00:00Z' } } as unknown as Promotion;
  const history = [{ kind: 'rollback', at: '2026-01-01T00:01:00Z', reason: 'errors' }, { kind: 'promote', release: 'rel' }];
  const later = [history[0], { kind: 'promote', release: 'third' }, history[1]];
  expect(stations(run, release, [env('prd', 1, { release: 'other', history })], [promotion]).at(-1)?.word).toBe('RolledBack');
  expect(stations(run, release, [env('prd', 1, { release: 'other', history: later })], [promotion]).at(-1)?.word).toBe('Replaced');
});

test('the next stage says why it must wait', () => {
  const dev = env('dev', 1, { release: 'rel', health: 'Progressing' });
  const stg = env('stg', 2, {}, { after: 'dev' });
  expect(nextStage(release, [stg, dev])?.why).toBe('It is not healthy in dev yet');
  dev.status!.health = 'Healthy';
  expect(nextStage(release, [stg, dev])).toEqual({ environment: stg, why: '' });
});

test('the median needs a few samples', () => {
  const span = (seconds: number) => ({ startedAt: '2026-01-01T00:00:00Z', finishedAt: `2026-01-01T00:00:${String(seconds).padStart(2, '0')}Z` });
  expect(median([span(1), span(2)])).toBeUndefined();
  expect(median([span(30), span(10), span(20)])).toBe(20_000);
  expect(median([span(10), span(20), span(30), span(40), { startedAt: '2026-01-01T00:00:00Z' }])).toBe(25_000);
});

test('the timeline names who and why', () => {
  const held = { ...release, metadata: { name: 'rel', creationTimestamp: '2026-01-01T00:01:00Z' }, spec: { ...release.spec, hold: { by: 'ada', since: '2026-01-01T00:03:00Z', reason: 'errors' } } } as unknown as Release;
  const promotion = { metadata: { name: 'p', creationTimestamp: '2026-01-01T00:02:00Z' }, spec: { environment: 'hello-dev', release: 'rel', kind: 'deploy', by: '' } } as unknown as Promotion;
  expect(timeline([], held, [promotion]).map((h) => `${h.word} ${h.who}`)).toEqual(['Held ada', 'Waiting ', 'Ready ']);
});

test('a broken environment is rolled back first', () => {
  const history = [{ kind: 'deploy', release: 'rel' }, { kind: 'deploy', release: 'before', outcome: 'Succeeded' }];
  const broken = env('dev', 1, { release: 'rel', health: 'Degraded', history });
  expect(toRollBack(release, [broken], [])).toBe(broken);
  expect(toRollBack(release, [env('dev', 1, { release: 'rel', health: 'Degraded', history: [history[0]] })], [])).toBeUndefined();
});
