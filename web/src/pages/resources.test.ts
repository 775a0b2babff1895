import { expect, test } from 'vitest';
import { builtBy, commitOf, ownerPath, projectsOf, summary } from './resources';

const projects = projectsOf([{ metadata: { namespace: 'demo' }, spec: { namespace: 'hello-dev' } }]);

test('an object names the commit that last changed it', () => {
  const pod = { metadata: { name: 'p', namespace: 'hello-dev', labels: { 'towpath.dev/commit': '4f2c91e0aa' } } };
  expect(commitOf(pod, projects)).toEqual({ sha: '4f2c91e', href: '/p/demo/c/4f2c91e0aa' });
  const image = { metadata: { name: 'd', namespace: 'hello-dev' }, spec: { template: { spec: { containers: [{ image: 'demo/hello@sha256:ab' }] } } } };
  expect(commitOf(image, projects, builtBy([{ spec: { sha: 'c0ffee1234', images: [{ digest: 'sha256:ab' }] } }])).sha).toBe('c0ffee1');
  const service = { metadata: { name: 's', namespace: 'hello-dev', annotations: { 'towpath.dev/commit': 'deadbeef12' } } };
  expect(commitOf(service, projects).sha).toBe('deadbee');
  expect(commitOf({ ...service, metadata: { ...service.metadata, labels: { 'towpath.dev/commit': '4f2c91e0aa' } } }, projects).sha).toBe('4f2c91e');
  expect(commitOf({ metadata: { name: 'p', namespace: 'other' } }, projects)).toEqual({ sha: '', href: '' });
});

test('owners are linked where their plural is known', () => {
  expect(ownerPath({ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r' }, 'a')).toBe('/apis/apps/v1/namespaces/a/replicasets/r');
  expect(ownerPath({ apiVersion: 'x/v1', kind: 'Odd', name: 'r' }, 'a')).toBe('');
});

test('a pod that restarts says so', () => {
  const status = { phase: 'Running', containerStatuses: [{ ready: false, restartCount: 4, state: { waiting: { reason: 'CrashLoopBackOff' } } }] };
  expect(summary('Pod', { metadata: { name: 'p' }, spec: { containers: [{}] }, status })).toEqual({ word: 'CrashLoopBackOff', text: '0/1 ready, 4 restarts' });
});
