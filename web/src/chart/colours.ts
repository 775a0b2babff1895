// How series are told apart: six hues, then dashes. A label set keeps its look wherever it is
// drawn. The hues were searched for the largest smallest distance (dE76) over normal, protan,
// deutan and tritan vision with a contrast of at least 3 on both surfaces; the tests hold them to
// it. Red and green are left to states.

export const HUES = {
  light: ['#1188ff', '#bb7755', '#661188', '#3300ee', '#881144', '#9977aa'],
  dark: ['#88ffff', '#ffcc88', '#aa66ff', '#0088aa', '#bb6600', '#ccff00'],
} as const;

export const DASHES: number[][] = [[], [7, 3], [2, 3], [10, 3, 2, 3]];
export const LOOKS = HUES.light.length * DASHES.length;

export interface Look { hue: number; dash: number }

/** A label set as one text, whatever the order of its labels. */
export const key = (labels: Record<string, string>) => Object.keys(labels).sort().map((name) => `${name}\u0000${labels[name]}`).join('\u0001');

function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h ^= h >>> 15;
  return Math.imul(h, 0x2c1b3c6d) >>> 0;
}

/**
 * A look for each key. Each has its own place; who comes to a taken one moves on to the next free
 * hue, then to dashes. So a series changes its look only when one with the same place appears.
 */
export function looks(keys: string[]): Look[] {
  const hues = HUES.light.length;
  const taken = new Set<number>();
  const given = new Map<string, Look>();
  // The order of the answer must not matter.
  for (const k of [...new Set(keys)].sort()) {
    const wanted = hash(k) % hues;
    let place = -1;
    for (let dash = 0; dash < DASHES.length && place < 0; dash++)
      for (let i = 0; i < hues && place < 0; i++) {
        const at = dash * hues + ((wanted + i) % hues);
        if (!taken.has(at)) place = at;
      }
    // More series than looks: they are told apart by the legend alone.
    if (place < 0) place = hash(k) % LOOKS;
    taken.add(place);
    given.set(k, { hue: place % hues, dash: Math.floor(place / hues) });
  }
  return keys.map((k) => given.get(k) ?? { hue: 0, dash: 0 });
}

/** Labels that all series share, which a legend need not repeat. */
export function shared(all: Record<string, string>[]): Record<string, string> {
  const first = all[0];
  if (!first || all.length < 2) return {};
  return Object.fromEntries(Object.entries(first).filter(([name, value]) => all.every((labels) => labels[name] === value)));
}

/** The name of a series: `metric{label="value"}` without what is said elsewhere. */
export function nameOf(labels: Record<string, string>, without: Record<string, string> = {}): string {
  const metric = without.__name__ === undefined ? (labels.__name__ ?? '') : '';
  const rest = Object.entries(labels).filter(([name]) => name !== '__name__' && without[name] === undefined).sort(([a], [b]) => (a < b ? -1 : 1));
  if (!rest.length) return metric || labels.__name__ || 'value';
  return `${metric}{${rest.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(', ')}}`;
}

/** A legend's pattern, `{{pod}} in {{namespace}}`, filled in. */
export const fill = (pattern: string, labels: Record<string, string>) => pattern.replace(/\{\{\s*([^}\s]+)\s*\}\}/g, (_, name: string) => labels[name] ?? '');
