// What Explore shows, as its URL says it: one or two panes over one range of time.

import type { Kind } from '../../chart/draw';

export type Mode = 'start' | 'metrics' | 'logs' | 'traces';
export interface Pane { mode: Mode; queries: string[]; view: 'chart' | 'table'; kind: Kind; log: string; namespace: string; workload: string; search: string; /** Service whose operations are shown. */ service: string; /** A query of TraceQL. */ traceql: string; /** The trace that is open, its span that is. */ trace: string; span: string }
export type Side = '' | 'r.';

const KINDS: Kind[] = ['line', 'area', 'stacked', 'bars', 'step', 'points'];
const one = <T extends string>(value: string | null, of: readonly T[]): T => of.find((o) => o === value) ?? (of[0] as T);

export function paneOf(query: URLSearchParams, side: Side): Pane {
  const get = (name: string) => query.get(`${side}${name}`) ?? '';
  const queries = query.getAll(`${side}q`);
  return {
    mode: queries.length && !get('mode') ? 'metrics' : one(get('mode'), ['start', 'metrics', 'logs', 'traces'] as const),
    queries, view: one(get('view'), ['chart', 'table'] as const), kind: one(get('kind'), KINDS), log: get('log'), namespace: get('ns'), workload: get('w'), search: get('find'), service: get('svc'), traceql: get('tq'), trace: get('trace'), span: get('span'),
  };
}

/** Explore with a trace open. */
export function traceUrl(trace: string, span = ''): string {
  return `/observe/explore?${new URLSearchParams({ mode: 'traces', trace, ...(span ? { span } : {}) })}`;
}

export const isSplit = (query: URLSearchParams) => [...query.keys()].some((k) => k.startsWith('r.'));

/** The query of the URL with a pane changed; what is as usual is left out. */
export function withPane(query: URLSearchParams, side: Side, change: Partial<Pane>): URLSearchParams {
  const next = { ...paneOf(query, side), ...change };
  const out = new URLSearchParams([...query].filter(([name]) => (side ? !name.startsWith(side) : name.startsWith('r.') || name === 'from' || name === 'to')));
  const set = (name: string, value: string, usual = '') => value !== usual && out.set(`${side}${name}`, value);
  // The mode also says that there is a second pane.
  set('mode', next.mode, side ? '' : 'start');
  for (const q of next.queries) out.append(`${side}q`, q);
  set('view', next.view, 'chart');
  set('kind', next.kind, 'line');
  set('log', next.log);
  set('ns', next.namespace);
  set('w', next.workload);
  set('find', next.search);
  set('svc', next.service);
  set('tq', next.traceql);
  set('trace', next.trace);
  set('span', next.span);
  return out;
}

/** What a pane leads to opens beside it: from the right one, the right one takes the left place. */
export function beside(query: URLSearchParams, side: Side, what: Partial<Pane>): URLSearchParams {
  const left = side ? withPane(query, '', paneOf(query, side)) : query;
  const fresh = new URLSearchParams([...left].filter(([name]) => !name.startsWith('r.')));
  return withPane(fresh, 'r.', what);
}

export function withoutSplit(query: URLSearchParams): URLSearchParams {
  return new URLSearchParams([...query].filter(([name]) => !name.startsWith('r.')));
}

/** Explore with a query, from anywhere else. */
export function exploreUrl(queries: string[], range: { from: string; to: string }): string {
  const out = new URLSearchParams({ from: range.from, to: range.to });
  for (const q of queries) out.append('q', q);
  return `/observe/explore?${out}`;
}

export const logsUrl = (log: string, range: { from: string; to: string }) => `/observe/explore?${new URLSearchParams({ from: range.from, to: range.to, mode: 'logs', log })}`;

export const tracesUrl = (traceql: string, range: { from: string; to: string }) => `/observe/explore?${new URLSearchParams({ from: range.from, to: range.to, mode: 'traces', tq: traceql })}`;

const KEPT = 60;
type Kept = 'metrics' | 'logs' | 'traces';
export interface Asked { mode: Kept; query: string; at: number }

export function history(): Asked[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem('queries') ?? '[]');
    return Array.isArray(kept) ? (kept as Asked[]).filter((a) => typeof a?.query === 'string' && ['metrics', 'logs', 'traces'].includes(a.mode)) : [];
  } catch {
    return [];
  }
}

/** Puts a question first in the history of this browser. */
export function keep(mode: Kept, query: string, at = Date.now()) {
  if (!query.trim()) return;
  localStorage.setItem('queries', JSON.stringify([{ mode, query, at }, ...history().filter((a) => a.query !== query || a.mode !== mode)].slice(0, KEPT)));
}
