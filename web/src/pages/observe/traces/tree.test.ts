import { expect, test } from 'vitest';
import type { ResourceSpans } from '../../../api/tempo';
import { bySpan, criticalPath, logsOf, ownTime, spanTime, traceOf, visible } from './tree';

type Row = [id: string, parent: string, from: number, to: number];
const code = (id: string) => btoa(id.padStart(8, '0'));
const hexOf = (id: string) => [...id.padStart(8, '0')].map((c) => c.charCodeAt(0).toString(16)).join('');
const BASE = 1_700_000_000_000_000_000n;
const made = (rows: Row[]): ResourceSpans[] => [{
  resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
  scopeSpans: [{ spans: rows.map(([id, parent, from, to]) => ({ traceId: '', spanId: code(id), ...(parent ? { parentSpanId: code(parent) } : {}), name: id, startTimeUnixNano: String(BASE + BigInt(from)), endTimeUnixNano: String(BASE + BigInt(to)) })) }],
}];
const trace = (...rows: Row[]) => traceOf('t', made(rows));
const path = (...rows: Row[]) => {
  const t = trace(...rows);
  return criticalPath(t.roots[0]).map((s) => `${t.byId.get(s.span)?.name} ${s.from}-${s.to}`);
};

test('spans stand under their parents in the order of time', () => {
  const t = trace(['c', 'a', 50, 60], ['b', 'a', 10, 40], ['a', '', 0, 100], ['d', 'b', 12, 20]);
  expect(visible(t.roots, new Set()).map((n) => `${n.depth}${n.name}`)).toEqual(['0a', '1b', '2d', '1c']);
  expect(visible(t.roots, new Set([hexOf('b')])).map((n) => n.name)).toEqual(['a', 'b', 'c']);
  expect(t).toMatchObject({ length: 100, count: 4, services: ['shop'], depth: 3 });
});

test('a parent that is not there, a ring and a span sent twice lose nothing', () => {
  const t = trace(['x', 'gone', 5, 9], ['a', '', 0, 10], ['a', '', 0, 10], ['r', 's', 1, 2], ['s', 'r', 1, 2]);
  expect(visible(t.roots, new Set()).map((n) => n.name).sort()).toEqual(['a', 'r', 's', 'x']);
  expect(t.roots[0]?.name).toBe('a');
  expect(t.roots.find((n) => n.name === 'x')?.orphan).toBe(true);
});

test('the critical path is what the end waited for', () => {
  expect(path(['a', '', 0, 100], ['b', 'a', 10, 40], ['c', 'a', 50, 90])).toEqual(['a 0-10', 'b 10-40', 'a 40-50', 'c 50-90', 'a 90-100']);
  // Of two at once the later end counts; the other was not waited for.
  expect(path(['a', '', 0, 100], ['b', 'a', 10, 60], ['c', 'a', 10, 90])).toEqual(['a 0-10', 'c 10-90', 'a 90-100']);
  // One that goes on after its parent counts until the parent's end.
  expect(path(['a', '', 0, 100], ['b', 'a', 80, 300])).toEqual(['a 0-80', 'b 80-100']);
  // One that begins after the parent's end is not waited for.
  expect(path(['a', '', 0, 100], ['b', 'a', 120, 300])).toEqual(['a 0-100']);
  // Clocks that differ: a child may seem to begin before its parent.
  expect(path(['a', '', 10, 100], ['b', 'a', 0, 50])).toEqual(['b 10-50', 'a 50-100']);
});

test('the stretches of a path never overlap and add up to the root', () => {
  let seed = 7;
  const random = (n: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
  for (let round = 0; round < 200; round++) {
    const rows: Row[] = [['s0', '', 0, 1000]];
    for (let i = 1; i < 30; i++) {
      const from = random(1100);
      rows.push([`s${i}`, `s${random(i)}`, from, from + random(400)]);
    }
    const t = trace(...rows);
    const found = criticalPath(t.roots[0]);
    let at = 0;
    for (const s of found) {
      expect(s.from).toBe(at);
      expect(s.to).toBeGreaterThan(s.from);
      at = s.to;
    }
    expect(at).toBe(1000);
  }
});

test('stretches that a screen cannot tell apart are drawn as one', () => {
  const path = [{ span: 'a', from: 0, to: 10 }, { span: 'b', from: 10, to: 11 }, { span: 'a', from: 11, to: 20 }, { span: 'a', from: 60, to: 70 }];
  expect(bySpan(path, 5).get('a')).toEqual([{ span: 'a', from: 0, to: 20 }, { span: 'a', from: 60, to: 70 }]);
  expect(bySpan(path, 0).get('a')?.length).toBe(3);
});

test('ten thousand spans under one parent are a matter of a moment', () => {
  const rows: Row[] = [['root', '', 0, 1_000_000], ...Array.from({ length: 10_000 }, (_, i): Row => [`s${i}`, 'root', i * 100, i * 100 + 50])];
  const begun = performance.now();
  const t = trace(...rows);
  const path = criticalPath(t.roots[0]);
  expect(path.length).toBe(20_000);
  expect(bySpan(path, t.length / 1000).get(hexOf('root'))?.length).toBeLessThan(2);
  expect(performance.now() - begun).toBeLessThan(2000);
});

test('own time, words of times, where logs are', () => {
  const t = trace(['a', '', 0, 100], ['b', 'a', 10, 40], ['c', 'a', 30, 60], ['d', 'a', 90, 200]);
  expect(ownTime(t.roots[0] as never)).toBe(40);
  expect([0, 830, 1240, 2_500_000, 480_000_000, 1_500_000_000, 90_000_000_000].map(spanTime)).toEqual(['0 ns', '830 ns', '1.24 µs', '2.5 ms', '480 ms', '1.5 s', '1.5 min']);
  const at = (resource: Record<string, string>) => logsOf({ resource } as never);
  expect(at({ 'k8s.namespace.name': 'n', 'k8s.pod.name': 'p' })).toBe('{namespace="n", pod="p"}');
  expect(at({ 'host.name': 'web-7c9d8b6f5-x2x9q' })).toBe('{pod="web-7c9d8b6f5-x2x9q"}');
  expect(at({ 'host.name': 'laptop', 'service.name': 'shop' })).toBe('{service_name="shop"}');
  expect(at({})).toBeUndefined();
});
