import { expect, test } from 'vitest';
import { podMatchers, requestMetrics, suggestions } from './start';

const web = { namespace: 'shop', name: 'web', kind: 'Deployment' };

test('pods of a workload are found by their names', () => {
  const pattern = (kind: string) => new RegExp(`^(?:${JSON.parse(podMatchers({ ...web, kind }).replace(/.*pod=~/, '')) as string})$`);
  expect('web-7c9d8b6f5-x2x9q').toMatch(pattern('Deployment'));
  expect('website-7c9d8b6f5-x2x9q').not.toMatch(pattern('Deployment'));
  expect('web-0').toMatch(pattern('StatefulSet'));
  expect('web-x2x9q').toMatch(pattern('DaemonSet'));
  expect(podMatchers({ namespace: 'a', name: 'x.y', kind: 'Pod' })).toBe('namespace="a", pod=~"x\\\\.y"');
});

test('request metrics are known by many names', () => {
  expect(requestMetrics(['up', 'http_requests_total', 'http_request_duration_seconds_bucket'])).toEqual({ total: 'http_requests_total', bucket: 'http_request_duration_seconds_bucket' });
  expect(requestMetrics(['http_server_request_duration_seconds_bucket', 'http_server_request_duration_seconds_count'])).toEqual({ total: 'http_server_request_duration_seconds_count', bucket: 'http_server_request_duration_seconds_bucket' });
  expect(requestMetrics(['prometheus_http_requests_total'])).toEqual({ total: 'prometheus_http_requests_total' });
  expect(requestMetrics(['up'])).toEqual({});
});

test('only what is measured is suggested', () => {
  expect(suggestions(web, [], [])).toEqual([]);
  const all = suggestions(web, ['http_requests_total', 'container_cpu_usage_seconds_total', 'container_memory_working_set_bytes'], ['code', 'pod']);
  expect(all.map((s) => s.title)).toEqual(['Requests per second', 'Share of failed requests', 'Processor, cores', 'Memory in use']);
  expect(all[1]?.queries[0]).toContain('code=~"5.."');
});
