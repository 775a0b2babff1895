import { expect, test } from 'vitest';
import type { CaseCause } from '../../api/cases';
import type { Environment } from '../../api/types';
import { commitUrl, laneOf, objectUrl, percent, proofLink, rangeOf, wayBack } from './incident';

const range = { from: '1', to: 'now' };
const subject = { kind: 'Deployment', namespace: 'shop-prd', name: 'web', environment: 'shop-prd', project: 'demo' };
const cause = (release: string, kind = 'deploy'): CaseCause => ({ kind: 'change', object: subject, words: 'image', score: 0.8, change: { id: '1', at: 1, kind, object: subject, commit: 'abcdef0123456789', release, promotion: 'demo/p' } });
const environment = (release: string, history: { release: string; outcome?: string }[]) => ({ metadata: { name: 'shop-prd', namespace: 'demo' }, spec: { stage: 'prd', namespace: 'shop-prd' }, status: { release, history: history.map((h) => ({ outcome: 'Succeeded', sha: '', kind: 'promote', at: '', ...h })) } }) as unknown as Environment;

test('a rollback is offered only where the suspect runs and something ran before', () => {
  const well = [environment('web-bad', [{ release: 'web-bad' }, { release: 'web-worse', outcome: 'Failed' }, { release: 'web-good' }])];
  expect(wayBack(cause('web-bad'), subject, well)).toMatchObject({ from: 'web-bad', back: { release: 'web-good' } });
  expect(wayBack(cause('web-other'), subject, well)).toEqual({ why: 'prd runs bad now, not abcdef0' });
  expect(wayBack(cause('web-bad'), subject, [environment('web-bad', [{ release: 'web-bad' }])])).toEqual({ why: 'Nothing that was well ran in prd before' });
  expect(wayBack(cause('web-bad', 'config'), subject, well)).toBeUndefined();
  expect(wayBack(undefined, subject, well)).toBeUndefined();
  // Without an environment's name it is found by its namespace.
  expect(wayBack(cause('web-bad'), { ...subject, environment: '' }, well)).toMatchObject({ from: 'web-bad' });
});

test('proofs lead to where they are seen', () => {
  expect(proofLink({ language: 'promql', text: 'up' }, range)).toEqual({ href: '/observe/explore?from=1&to=now&q=up' });
  expect(proofLink({ language: 'logql', text: '{a="b"}' }, range)).toEqual({ href: '/observe/explore?from=1&to=now&mode=logs&log=%7Ba%3D%22b%22%7D' });
  expect(proofLink({ language: 'kubectl', text: 'get pods' }, range)).toEqual({ command: 'kubectl get pods' });
  expect(proofLink({ language: 'changes', text: 'from=1' }, range)).toEqual({});
  expect(proofLink(undefined, range)).toEqual({});
});

test('objects and commits have addresses where they are known', () => {
  expect(objectUrl({ kind: 'Pod', namespace: 'a', name: 'b' })).toBe('/r/one?path=%2Fapi%2Fv1%2Fnamespaces%2Fa%2Fpods%2Fb');
  expect(objectUrl({ kind: 'Node', name: 'n1' })).toBe('/r/one?path=%2Fapi%2Fv1%2Fnodes%2Fn1');
  expect(objectUrl({ kind: 'Widget', namespace: 'a', name: 'b' })).toBe('');
  expect(commitUrl({ commit: 'abc', promotion: 'demo/p' })).toBe('/p/demo/c/abc');
  expect(commitUrl({ commit: 'abc' }, subject)).toBe('/p/demo/c/abc');
  expect(commitUrl({ commit: 'abc' })).toBe('');
});

test('the time of a case has a while around it', () => {
  const now = 100_000_000;
  expect(rangeOf({ openedAt: 50_000_000, closedAt: null }, now)).toEqual({ from: '48200000', to: 'now' });
  expect(rangeOf({ openedAt: 50_000_000, closedAt: 60_000_000 }, now)).toEqual({ from: '48200000', to: '60600000' });
  expect(rangeOf({ openedAt: 50_000_000, closedAt: now - 1 }, now).to).toBe('now');
  expect([0.824, 2, -1].map(percent)).toEqual(['82 %', '100 %', '0 %']);
  expect(['change', 'intervention', 'alertFired', 'opened', 'finding', 'cause'].map((kind) => laneOf({ at: 0, kind, words: '' }))).toEqual(['changes', 'changes', 'alerts', 'alerts', 'found', 'found']);
});
