import { expect, test } from 'vitest';
import type { Environment } from '../../api/types';
import { deployments, listed } from './changes';

const span = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2026, 0, 2) };

test('deployments become markers with their commit', () => {
  const history = [{ at: '2026-01-01T10:00:00Z', kind: 'rollback', sha: '4f2c91e0aa', release: 'web-4f2c91e0aa', outcome: 'Failed' }, { at: '2025-01-01T10:00:00Z', kind: 'deploy', sha: 'x', release: 'web-x', outcome: '' }];
  const environment = { metadata: { name: 'web-prd', namespace: 'demo' }, spec: { stage: 'prd', namespace: 'web-prd' }, status: { history } } as unknown as Environment;
  expect(deployments([environment], span)).toEqual([{ at: Date.UTC(2026, 0, 1, 10), text: 'prd 4f2c91e', href: '/p/demo/c/4f2c91e0aa', namespace: 'web-prd', detail: 'Rollback of web-4f2c91e0aa to web-prd, failed' }]);
});

test('a ledger is read whatever else it says', () => {
  expect(listed({ items: [{ at: '2026-01-01T10:00:00Z', kind: 'deploy', commit: '4f2c91e0aa', project: 'demo', title: 'Say hello' }, {}] }, span)).toEqual([{ at: Date.UTC(2026, 0, 1, 10), text: 'deploy 4f2c91e', detail: 'Say hello', href: '/p/demo/c/4f2c91e0aa' }]);
  for (const odd of [null, {}, [], 'x', { items: 3 }]) expect(listed(odd, span)).toEqual([]);
});
