import { expect, test } from 'vitest';
import type { Environment, Promotion, Release, Run } from '../api/types';
import { nextStage, stations, worst } from './journey';

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
  const history = [{ kind: 'rollback', at: '2026-01-01T00:01:00Z', reason: 'errors' }];
  expect(stations(run, release, [env('prd', 1, { release: 'other', history })], [promotion]).at(-1)?.word).toBe('RolledBack');
  expect(stations(run, release, [env('prd', 1, { release: 'other' })], [promotion]).at(-1)?.word).toBe('Replaced');
});

test('the next stage says why it must wait', () => {
  const dev = env('dev', 1, { release: 'rel', health: 'Progressing' });
  const stg = env('stg', 2, {}, { after: 'dev' });
  expect(nextStage(release, [stg, dev])?.why).toBe('It is not healthy in dev yet');
  dev.status!.health = 'Healthy';
  expect(nextStage(release, [stg, dev])).toEqual({ environment: stg, why: '' });
});
