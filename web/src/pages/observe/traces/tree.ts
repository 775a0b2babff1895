// A trace as it is drawn: spans under their parents in the order of time, and the critical path,
// the chain of spans that the end of the trace waited for.

import { hex, plain, type KeyValue, type ResourceSpans } from '../../../api/tempo';
import type { Labels } from '../../../api/prometheus';

export interface SpanEvent { at: number; name: string; attributes: [string, string][] }
export interface SpanLink { trace: string; span: string }
export interface Node {
  id: string; parent: string; name: string; service: string; kind: string; failed: boolean; message: string;
  /** Nanoseconds since the beginning of the trace. */
  from: number; to: number;
  attributes: [string, string][]; resource: Labels; scope: string; events: SpanEvent[]; links: SpanLink[];
  children: Node[]; depth: number;
  /** Whether its parent is named but is not there. */
  orphan: boolean;
}
export interface Trace {
  id: string;
  /** Nanoseconds since the epoch. */
  base: bigint;
  length: number; roots: Node[]; byId: Map<string, Node>; count: number; services: string[]; errors: number; depth: number;
}
/** A stretch of time in which a span was what all waited for. */
export interface Stretch { span: string; from: number; to: number }

const pairs = (all: KeyValue[] | undefined): [string, string][] => (all ?? []).map((p) => [p.key, plain(p.value)]);

export function traceOf(id: string, parts: ResourceSpans[]): Trace {
  const wire = parts.flatMap((part) => {
    const resource = Object.fromEntries(pairs(part.resource?.attributes));
    return (part.scopeSpans ?? []).flatMap((scope) => (scope.spans ?? []).map((span) => ({ span, resource, scope: scope.scope?.name ?? '' })));
  });
  let base = wire[0] ? BigInt(wire[0].span.startTimeUnixNano) : 0n;
  for (const { span } of wire) if (BigInt(span.startTimeUnixNano) < base) base = BigInt(span.startTimeUnixNano);
  const since = (ns: string) => Number(BigInt(ns) - base);
  const nodes = new Map<string, Node>();
  for (const { span, resource, scope } of wire) {
    const from = since(span.startTimeUnixNano);
    const node: Node = {
      id: hex(span.spanId), parent: span.parentSpanId ? hex(span.parentSpanId) : '', name: span.name || 'unnamed', service: resource['service.name'] || 'unknown service',
      kind: (span.kind ?? '').replace('SPAN_KIND_', '').toLowerCase(), failed: span.status?.code === 'STATUS_CODE_ERROR', message: span.status?.message ?? '', from, to: Math.max(from, since(span.endTimeUnixNano)),
      attributes: pairs(span.attributes), resource, scope,
      events: (span.events ?? []).map((e) => ({ at: since(e.timeUnixNano), name: e.name ?? '', attributes: pairs(e.attributes) })),
      links: (span.links ?? []).map((l) => ({ trace: hex(l.traceId), span: hex(l.spanId) })), children: [], depth: 0, orphan: false,
    };
    // The same span may have been sent twice.
    if (!nodes.has(node.id)) nodes.set(node.id, node);
  }
  const roots: Node[] = [];
  for (const node of nodes.values()) {
    const parent = node.parent === node.id ? undefined : nodes.get(node.parent);
    if (parent) parent.children.push(node);
    else {
      node.orphan = /[^0]/.test(node.parent) && node.parent !== node.id;
      roots.push(node);
    }
  }
  let depth = 0;
  const seen = new Set<Node>();
  const order = (list: Node[], at: number) => {
    list.sort((a, b) => a.from - b.from || b.to - a.to);
    for (const node of list) {
      seen.add(node);
      node.depth = at;
      depth = Math.max(depth, at + 1);
      order(node.children, at + 1);
    }
  };
  order(roots, 0);
  // Parents in a ring have no root: the first of each ring is made one.
  for (const node of nodes.values()) {
    if (seen.has(node)) continue;
    const parent = nodes.get(node.parent);
    if (parent) parent.children = parent.children.filter((c) => c !== node);
    roots.push(node);
    order([node], 0);
  }
  roots.sort((a, b) => Number(a.orphan) - Number(b.orphan) || a.from - b.from);
  let length = 0;
  for (const node of nodes.values()) length = Math.max(length, node.to);
  return { id, base, length, roots, byId: nodes, count: nodes.size, services: [...new Set([...nodes.values()].map((n) => n.service))].sort(), errors: [...nodes.values()].filter((n) => n.failed).length, depth };
}

/** The stretches of the critical path below a root, in the order of time. */
export function criticalPath(root: Node | undefined): Stretch[] {
  const out: Stretch[] = [];
  const walk = (node: Node, from: number, until: number) => {
    let at = until;
    // From the end back: whoever ended last before is what was waited for.
    for (const child of node.children.toSorted((a, b) => b.to - a.to)) {
      const begins = Math.max(child.from, from);
      // One that outlives its parent counts until the parent's end; one that overlaps the next in
      // the chain was not what that one waited for.
      const ends = at === until ? Math.min(child.to, until) : child.to;
      if (begins >= ends || ends > at) continue;
      if (ends < at) out.push({ span: node.id, from: ends, to: at });
      walk(child, begins, ends);
      at = begins;
    }
    if (at > from) out.push({ span: node.id, from, to: at });
  };
  if (root) walk(root, root.from, root.to);
  return out.reverse();
}

/** The spans that are shown, parents before children; those below folded ones are not. */
export function visible(roots: Node[], folded: Set<string>): Node[] {
  const out: Node[] = [];
  const add = (list: Node[]) => {
    for (const node of list) {
      out.push(node);
      if (!folded.has(node.id)) add(node.children);
    }
  };
  add(roots);
  return out;
}

/** Stretches by their spans; those that lie closer together than `gap` are one, as a screen shows them. */
export function bySpan(path: Stretch[], gap: number): Map<string, Stretch[]> {
  const out = new Map<string, Stretch[]>();
  for (const s of path) {
    const own = out.get(s.span);
    const last = own?.at(-1);
    if (!own) out.set(s.span, [{ ...s }]);
    else if (last && s.from - last.to < gap) last.to = s.to;
    else own.push({ ...s });
  }
  return out;
}

/** Time of a span in which none of its children ran. */
export function ownTime(node: Node): number {
  let own = node.to - node.from;
  let at = node.from;
  for (const child of node.children) {
    const from = Math.max(at, child.from);
    const to = Math.min(child.to, node.to);
    if (to > from) {
      own -= to - from;
      at = to;
    }
  }
  return own;
}

/** `1.24 ms`, `830 µs`, `2.5 s`. */
export function spanTime(ns: number): string {
  const units: [number, string][] = [[60e9, 'min'], [1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']];
  const [size, unit] = units.find(([s]) => ns >= s) ?? [1, 'ns'];
  const n = ns / size;
  return `${n >= 100 || size === 1 ? Math.round(n) : Number(n.toPrecision(3))} ${unit}`;
}

/** Nanoseconds since the epoch of a moment of the trace, as text. */
export const nanosAt = (trace: Trace, at: number) => String(trace.base + BigInt(Math.round(at)));
export const millisAt = (trace: Trace, at: number) => Number((trace.base + BigInt(Math.round(at))) / 1_000_000n);

/** The pod that a span came from, as far as its resource says. */
export function podOf({ resource }: Node): { namespace: string; pod: string } {
  // A pod's host name is its own name.
  const pod = resource['k8s.pod.name'] ?? (/-[a-z0-9]{5}$|-\d+$/.test(resource['host.name'] ?? '') ? (resource['host.name'] ?? '') : '');
  return { namespace: resource['k8s.namespace.name'] ?? '', pod };
}

/** The streams of logs that a span's process writes; undefined where nothing tells. */
export function logsOf(node: Node): string | undefined {
  const { namespace, pod } = podOf(node);
  const text = (name: string, value: string) => `${name}=${JSON.stringify(value)}`;
  if (pod) return `{${[namespace ? text('namespace', namespace) : '', text('pod', pod)].filter(Boolean).join(', ')}}`;
  const service = node.resource['service.name'];
  if (service) return `{${[namespace ? text('namespace', namespace) : '', text('service_name', service)].filter(Boolean).join(', ')}}`;
  return namespace ? `{${text('namespace', namespace)}}` : undefined;
}
