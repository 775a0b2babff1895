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
  const at = Date.UTC(2026, 0, 1, 10);
  const change = { id: 'x', at, kind: 'deploy', object: { kind: 'Deployment', namespace: 'web-prd', name: 'web' }, by: 'ada', commit: '4f2c91e0aa', promotion: 'demo/web-prd-1', words: 'web runs 4f2c91e' };
  expect(listed({ changes: [change, {}, { at, kind: 'config', object: { kind: 'ConfigMap', name: 'settings' } }], lost: 0 }, span)).toEqual([
    { at, text: 'web 4f2c91e', detail: 'web runs 4f2c91e, by ada', href: '/p/demo/c/4f2c91e0aa', namespace: 'web-prd' },
    { at, text: 'config settings', detail: 'config settings' },
  ]);
  for (const odd of [null, {}, [], 'x', { changes: 3 }]) expect(listed(odd, span)).toEqual([]);
});
