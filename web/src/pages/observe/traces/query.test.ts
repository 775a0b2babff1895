import { expect, test } from 'vitest';
import { placeOf, hex, plain } from '../../../api/tempo';
import { traceIn, typing, wantedOf, wantedQuery } from './query';
import { rows } from './services';

test('the form and its query say the same', () => {
  const all = [
    { service: '', name: '', failed: false, longer: '' }, { service: 'a "b"', name: 'GET /', failed: true, longer: '1.5ms' }, { service: '', name: '', failed: true, longer: '' },
  ];
  for (const wanted of all) expect(wantedOf(wantedQuery(wanted))).toEqual(wanted);
  expect(wantedQuery(all[1] as never)).toBe('{ resource.service.name = "a \\"b\\"" && name = "GET /" && status = error && duration > 1.5ms }');
  expect(wantedOf('{ span.http.status_code = 500 }')).toBeUndefined();
  expect(wantedOf('{ } | count() > 2')).toBeUndefined();
  expect(wantedQuery({ service: '', name: '', failed: false, longer: 'long' })).toBe('{ }');
});

test('completion knows names from values', () => {
  expect(typing('{ res')).toEqual({ kind: 'name', from: 2, prefix: 'res' });
  expect(typing('{ status = error && ')).toEqual({ kind: 'name', from: 20, prefix: '' });
  expect(typing('{ resource.service.name = "sh')).toEqual({ kind: 'value', from: 27, prefix: 'sh', tag: 'resource.service.name', quoted: true });
  expect(typing('{ status = er')).toEqual({ kind: 'value', from: 11, prefix: 'er', tag: 'status', quoted: false });
  expect(typing('{ a = 1 } ')).toEqual({ kind: 'none' });
});

test('ids of traces are found where applications write them', () => {
  const id = '5b8efff798038103d269b633813fc60c';
  expect(traceIn({ traceID: id.toUpperCase() })).toBe(id);
  expect(traceIn({}, `{"level":"info","trace_id":"${id}"}`)).toBe(id);
  expect(traceIn({}, `msg=done traceId=${id} x=1`)).toBe(id);
  expect(traceIn({}, `traceparent: 00-${id}-00f067aa0ba902b7-01`)).toBe(id);
  expect(traceIn({ commit: id }, 'commit 5b8efff798038103d269b633813fc60c')).toBeUndefined();
});

test('places of errors are bytes of the query', () => {
  expect(placeOf('parse error at 4..9: no', '{ ü wrong }')).toEqual({ from: 3, to: 8 });
  expect(placeOf('parse error at 90..91: no', '{ }')).toEqual({ from: 2, to: 3 });
  expect(placeOf('busy', '{ }')).toBeUndefined();
});

test('ids and values read as people write them', () => {
  expect(hex('W47/95gDgQPSabYzgT/GDA==')).toBe('5b8efff798038103d269b633813fc60c');
  expect(plain({ arrayValue: { values: [{ intValue: '1' }, { boolValue: false }] } })).toBe('[1, false]');
  expect(plain({ kvlistValue: { values: [{ key: 'a', value: { stringValue: 'b' } }] } })).toBe('{a: b}');
});

test('services stand by how much they are asked', () => {
  const one = (service: string, value: string) => ({ metric: { service }, value: [0, value] as [number, string] });
  expect(rows('service', { rate: [one('a', '1'), one('b', '2'), one('idle', '0')], failed: [one('a', '0.5')], median: [], slow: [one('b', '3')] })).toMatchObject([{ name: 'b', rate: 2, failed: 0, slow: 3 }, { name: 'a', rate: 1, failed: 0.5, slow: NaN }, { name: 'idle', rate: 0 }]);
});
