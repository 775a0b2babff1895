// Completion of PromQL from what the server has. Names are asked for once and kept a while.

import { prometheus, type Meaning } from '../../api/prometheus';
import { AGGREGATIONS, FUNCTIONS, typing } from './promql';

export interface Suggested { text: string; insert: string; kind?: string; help?: string; /** Where the caret goes, counted from the end. */ back?: number; /** Whether more is asked for at once. */ again?: boolean }
export interface Completion { from: number; items: Suggested[] }

const SHOWN = 40;
const KEPT_MS = 60_000;

/** The best first: what begins with the text, then what has it at the start of a word, then inside. */
export function ranked<T extends { text: string }>(items: T[], typed: string, shown = SHOWN): T[] {
  const wanted = typed.toLowerCase();
  if (!wanted) return items.slice(0, shown);
  const score = (text: string) => {
    const at = text.toLowerCase().indexOf(wanted);
    return at < 0 ? 9 : at === 0 ? 0 : /[_:.]/.test(text[at - 1] ?? '') ? 1 : 2;
  };
  return items.map((item) => ({ item, s: score(item.text) })).filter((x) => x.s < 9).sort((a, b) => a.s - b.s || a.item.text.length - b.item.text.length).slice(0, shown).map((x) => x.item);
}

interface Kept<T> { at: number; value: Promise<T> }
const kept = new Map<string, Kept<unknown>>();

/** An answer that is asked for at most once a minute; a failed one is asked for again. */
export function once<T>(name: string, ask: () => Promise<T>): Promise<T> {
  const known = kept.get(name) as Kept<T> | undefined;
  if (known && Date.now() - known.at < KEPT_MS) return known.value;
  if (kept.size > 300) kept.clear();
  const value = ask();
  kept.set(name, { at: Date.now(), value });
  value.catch(() => kept.delete(name));
  return value;
}

const MOST = 10_000;
export const metricNames = () => once('names', async () => (await prometheus.values('__name__', { limit: MOST })).data);
export const meanings = () => once('metadata', async () => (await prometheus.metadata()).data).catch((): Record<string, Meaning[]> => ({}));

/** What a metric means; parts of histograms mean what the whole does. */
export function meaning(all: Record<string, Meaning[]>, name: string): Meaning | undefined {
  return all[name]?.[0] ?? all[name.replace(/_(bucket|count|sum|total)$/, '')]?.[0];
}

const bare = (name: string) => /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name);

/** What may stand at the caret; an empty prefix lists nothing where everything would fit. */
export async function complete(text: string, at: number): Promise<Completion | undefined> {
  const now = typing(text, at);
  if (now.kind === 'none') return undefined;
  if (now.kind === 'label') {
    const names = await once(`labels ${now.selector}`, async () => (await prometheus.labels(now.selector ? { match: [now.selector], limit: MOST } : { limit: MOST })).data);
    const inBraces = /[{,]\s*$/.test(text.slice(0, now.from)) && text.lastIndexOf('{', now.from) > text.lastIndexOf('(', now.from);
    const items = names.filter((n) => n !== '__name__').map((n): Suggested => (inBraces ? { text: n, insert: `${bare(n) ? n : JSON.stringify(n)}=""`, back: 1, again: true } : { text: n, insert: bare(n) ? n : JSON.stringify(n) }));
    return { from: now.from, items: ranked(items, now.prefix) };
  }
  if (now.kind === 'value') {
    const values = await once(`values ${now.label} ${now.selector}`, async () => (await prometheus.values(now.label, now.selector ? { match: [now.selector], limit: MOST } : { limit: MOST })).data);
    return { from: now.from, items: ranked(values.map((v): Suggested => ({ text: v, insert: JSON.stringify(v).slice(1, -1) })), now.prefix) };
  }
  if (!now.prefix) return undefined;
  const [names, known] = await Promise.all([metricNames().catch(() => []), meanings()]);
  const all: Suggested[] = [
    ...names.map((n): Suggested => ({ text: n, insert: /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(n) ? n : `{${JSON.stringify(n)}}`, kind: meaning(known, n)?.type ?? '', help: meaning(known, n)?.help ?? '' })),
    ...Object.entries(FUNCTIONS).map(([n, [parameters, help]]): Suggested => ({ text: n, insert: `${n}()`, back: 1, kind: `(${parameters})`, help })),
    ...Object.entries(AGGREGATIONS).map(([n, help]): Suggested => ({ text: n, insert: `${n}()`, back: 1, kind: 'aggregation', help })),
    ...['by', 'without', 'on', 'ignoring', 'offset', 'unless', 'group_left', 'group_right'].map((n): Suggested => ({ text: n, insert: n, kind: 'keyword' })),
  ];
  // A word that is complete needs no help.
  if (all.some((s) => s.text === now.prefix && s.insert === now.prefix)) return undefined;
  return { from: now.from, items: ranked(all, now.prefix) };
}
