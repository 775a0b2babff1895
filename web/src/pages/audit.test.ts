import { expect, test } from 'vitest';
import { did, link, outcome, question, subject, type AuditEvent } from './audit';

const event = (more: Partial<AuditEvent>): AuditEvent => ({
  auditID: 'a', stage: 'ResponseComplete', level: 'Metadata', verb: 'create', requestURI: '/api/v1/namespaces/demo/pods?x=1',
  requestReceivedTimestamp: '2026-01-31T12:00:00Z', user: { username: 'ada' }, ...more,
});

test('the filters of the URL become the question; own components are left out unless asked for', () => {
  expect(question(new URLSearchParams('user=ada&other=1'), 100)).toBe('/api/v1/audit?limit=100&user=ada&components=false');
  expect(question(new URLSearchParams('components=show'), 5)).toBe('/api/v1/audit?limit=5');
});

test('an object is named, linked and its part told', () => {
  const one = event({ verb: 'update', objectRef: { resource: 'deployments', namespace: 'demo', name: 'web', apiGroup: 'apps', apiVersion: 'v1', subresource: 'scale' } });
  expect(did(one)).toBe('update scale');
  expect(subject(one)).toBe('deployments demo/web');
  expect(link(one)).toBe(`/r/one?path=${encodeURIComponent('/apis/apps/v1/namespaces/demo/deployments/web')}`);
  const space = event({ objectRef: { resource: 'namespaces', namespace: 'demo', name: 'demo', apiVersion: 'v1' } });
  expect(link(space)).toBe(`/r/one?path=${encodeURIComponent('/api/v1/namespaces/demo')}`);
});

test('a path without an object is its own subject', () => {
  expect(subject(event({}))).toBe('/api/v1/namespaces/demo/pods');
  expect(link(event({ objectRef: { resource: 'pods', namespace: 'demo', apiVersion: 'v1' } }))).toBeUndefined();
});

test('outcomes', () => {
  expect(outcome(event({ responseStatus: { code: 201 } }))).toEqual({ word: 'Succeeded', detail: '201' });
  expect(outcome(event({ responseStatus: { code: 403, reason: 'Forbidden' } }))).toEqual({ word: 'Refused', detail: '403 Forbidden' });
  expect(outcome(event({ responseStatus: { code: 500 } })).word).toBe('Failed');
  expect(outcome(event({})).word).toBe('Running');
});
