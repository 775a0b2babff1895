// The range of time of a screen in its URL: what it is now, how it moves, when it is asked anew.

import { route, setQuery } from '../../router.svelte';
import { fixed, rangeOf, relative, resolve, stepFor, widened, ZoomHistory, type Range, type Span } from './range';

export const REFRESHES = [{ id: '', name: 'Off', ms: 0 }, { id: '5s', name: '5 s', ms: 5000 }, { id: '15s', name: '15 s', ms: 15_000 }, { id: '1m', name: '1 min', ms: 60_000 }, { id: '5m', name: '5 min', ms: 300_000 }] as const;

export interface Time {
  readonly range: Range;
  readonly span: Span;
  readonly zooms: ZoomHistory;
  /** How many zooms can be undone. */
  readonly depth: number;
  readonly refresh: string;
  step(points: number): number;
  set(range: Range): void;
  setRefresh(id: string): void;
  zoom(from: number, to: number): void;
  widen(): void;
  again(): void;
  link(): string;
}

/** For the life of the component that calls it. */
export function useTime(): Time {
  let now = $state(Date.now());
  let depth = $state(0);
  const zooms = new ZoomHistory();
  const from = $derived(rangeOf(route.query).from);
  const to = $derived(rangeOf(route.query).to);
  const refresh = $derived(route.query.get('refresh') ?? '');
  // An absolute range is the same at any time: nothing is asked again for it.
  const span = $derived(resolve({ from, to }, relative({ from, to }) ? now : 0));
  $effect(() => {
    const { ms } = REFRESHES.find((r) => r.id === refresh) ?? REFRESHES[0];
    if (!ms) return undefined;
    const timer = setInterval(() => document.visibilityState === 'visible' && (now = Date.now()), ms);
    return () => clearInterval(timer);
  });
  const set = (range: Range) => {
    now = Date.now();
    setQuery({ from: range.from, to: range.to });
    depth = zooms.depth;
  };
  return {
    get range() { return { from, to }; },
    get span() { return span; },
    get zooms() { return zooms; },
    get depth() { return depth; },
    get refresh() { return refresh; },
    step: (points) => stepFor(span, points),
    set,
    setRefresh: (id) => setQuery({ refresh: id }),
    zoom(a, b) {
      zooms.push({ from, to });
      set({ from: String(Math.round(a)), to: String(Math.round(Math.max(b, a + 1000))) });
    },
    widen() {
      zooms.push({ from, to });
      set(widened(span, Date.now()));
    },
    again() {
      now = Date.now();
    },
    link() {
      const query = new URLSearchParams(route.query);
      const exact = fixed({ from, to }, Date.now());
      query.set('from', exact.from);
      query.set('to', exact.to);
      query.delete('refresh');
      return `${location.origin}${route.path}?${query}`;
    },
  };
}
