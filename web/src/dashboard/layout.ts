// Where panels go: repeated ones beside each other, none over another.

import type { Panel } from './model';

export interface Spot { x: number; y: number; w: number; h: number }

const ACROSS_MAX = 4;

/** The spots of a panel that is drawn `n` times. */
export function repeats(panel: Spot, n: number): Spot[] {
  const across = Math.min(ACROSS_MAX, Math.max(1, n));
  const w = Math.floor(24 / across);
  return Array.from({ length: n }, (_, i) => ({ x: (i % across) * w, w, h: panel.h, y: panel.y + Math.floor(i / across) * panel.h }));
}

/** Moves what would cover another down, in the order of reading. */
export function settled<T extends { panel: Panel }>(all: T[]): T[] {
  const done: T[] = [];
  for (const one of all.map((p, i) => ({ p, i })).sort((a, b) => a.p.panel.y - b.p.panel.y || a.i - b.i).map(({ p }) => p)) {
    let { y } = one.panel;
    const { x, w, h } = one.panel;
    for (let moved = true; moved; ) {
      const over = done.find(({ panel: o }) => x < o.x + o.w && o.x < x + w && y < o.y + o.h && o.y < y + h);
      moved = over !== undefined;
      if (over) y = over.panel.y + over.panel.h;
    }
    done.push({ ...one, panel: { ...one.panel, y } });
  }
  return done;
}
