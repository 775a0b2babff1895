// A matrix as columns over one grid of times: what is missing is NaN and drawn as a gap.

import type { Labels, Run, Sample } from '../api/prometheus';
import { fill, key, looks, nameOf, shared, type Look } from './colours';

export interface Line {
  /** Stands for the label set, for colours and for hiding. */
  key: string;
  name: string;
  labels: Labels;
  values: Float64Array;
  look: Look;
  unit?: string | undefined;
}

export interface Frame {
  /** Milliseconds, evenly spaced. */
  times: Float64Array;
  lines: Line[];
  /** Labels that all lines share. */
  common: Labels;
}

export interface Source { runs: Run[]; legend?: string; unit?: string; /** Tells lines of several queries apart. */ ref?: string }

const EMPTY: Frame = { times: new Float64Array(), lines: [], common: {} };

/** Puts answers of range queries with the same grid together. Times and step in seconds. */
export function frameOf(sources: Source[], start: number, end: number, step: number): Frame {
  const length = Math.floor((end - start) / step + 1e-6) + 1;
  if (!(length > 0) || !Number.isFinite(length)) return EMPTY;
  const times = Float64Array.from({ length }, (_, i) => (start + i * step) * 1000);
  const common = shared(sources.flatMap((s) => s.runs.map((r) => r.metric)));
  const made = sources.flatMap((source) => source.runs.map((run) => ({
    key: `${source.ref ?? ''}${key(run.metric)}`,
    name: source.legend ? fill(source.legend, run.metric) || nameOf(run.metric, common) : nameOf(run.metric, common),
    labels: run.metric, unit: source.unit,
    values: spread(run, start, step, length),
  })));
  const given = looks(made.map((m) => m.key));
  return { times, common, lines: made.map((m, i) => ({ ...m, look: given[i] ?? { hue: 0, dash: 0 } })) };
}

function spread(run: Run, start: number, step: number, length: number): Float64Array {
  const values = new Float64Array(length).fill(NaN);
  // Native histograms are drawn by what they observed on average.
  const all: Sample[] = run.values ?? (run.histograms ?? []).map(([t, h]): Sample => [t, String(Number(h.sum) / Number(h.count))]);
  for (const [t, v] of all) {
    const i = Math.round((t - start) / step);
    if (i >= 0 && i < length) values[i] = number(v);
  }
  return values;
}

export const number = (text: string): number => (text === '+Inf' || text === 'Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

export interface Summary { last: number; min: number; max: number; mean: number; sum: number; count: number }

/** What a legend says about a line; gaps and infinities do not count. */
export function summarize(values: Float64Array): Summary {
  const out = { last: NaN, min: Infinity, max: -Infinity, mean: NaN, sum: 0, count: 0 };
  for (const v of values) {
    if (!Number.isFinite(v)) continue;
    out.last = v;
    out.sum += v;
    out.count += 1;
    if (v < out.min) out.min = v;
    if (v > out.max) out.max = v;
  }
  if (out.count === 0) return { ...out, min: NaN, max: NaN, sum: NaN };
  return { ...out, mean: out.sum / out.count };
}

/** Lines on top of each other; a gap adds nothing. Negative values go down from zero. */
export function stack(lines: Float64Array[]): { from: Float64Array; to: Float64Array }[] {
  const length = lines[0]?.length ?? 0;
  const up = new Float64Array(length);
  const down = new Float64Array(length);
  return lines.map((values) => {
    const from = new Float64Array(length);
    const to = new Float64Array(length);
    for (let i = 0; i < length; i++) {
      const v = values[i] ?? NaN;
      const base = v < 0 ? down : up;
      from[i] = base[i] ?? 0;
      if (Number.isFinite(v)) base[i] = (base[i] ?? 0) + v;
      to[i] = Number.isFinite(v) ? (base[i] ?? 0) : NaN;
    }
    return { from, to };
  });
}

/**
 * Indices to draw where there are more points than pixels: of each column the first, the lowest,
 * the highest and the last, and its gaps; the picture is the same as of all points.
 */
export function thin(values: Float64Array, columns: number): number[] | undefined {
  const length = values.length;
  if (columns < 1 || length <= columns * 4) return undefined;
  const out: number[] = [];
  for (let c = 0; c < columns; c++) {
    const from = Math.floor((c * length) / columns);
    const until = Math.floor(((c + 1) * length) / columns);
    let low = -1;
    let high = -1;
    let gap = -1;
    for (let i = from; i < until; i++) {
      const v = values[i] ?? NaN;
      if (!Number.isFinite(v)) gap = i;
      else {
        if (low < 0 || v < (values[low] ?? 0)) low = i;
        if (high < 0 || v > (values[high] ?? 0)) high = i;
      }
    }
    const chosen = new Set([from, low, high, gap, until - 1].filter((i) => i >= 0));
    out.push(...[...chosen].sort((a, b) => a - b));
  }
  return out;
}

/** The index of the time nearest to `at`. */
export function nearest(times: Float64Array, at: number): number {
  const first = times[0];
  const step = (times[1] ?? 0) - (first ?? 0);
  if (first === undefined) return -1;
  if (!(step > 0)) return 0;
  return Math.min(times.length - 1, Math.max(0, Math.round((at - first) / step)));
}

/** A sentence for those who do not see the picture. */
export function sentence(frame: Frame, say: (v: number, line?: Line) => string, clock: (ms: number) => string): string {
  const first = frame.times[0];
  const last = frame.times.at(-1);
  if (first === undefined || last === undefined || frame.lines.length === 0) return 'No data in this range.';
  let top: { line: Line; s: Summary } | undefined;
  for (const line of frame.lines) {
    const s = summarize(line.values);
    if (s.count && (!top || s.max > top.s.max)) top = { line, s };
  }
  const many = `${frame.lines.length} ${frame.lines.length === 1 ? 'series' : 'series'} from ${clock(first)} to ${clock(last)}`;
  if (!top) return `${many}, without a value.`;
  const at = frame.times[top.line.values.indexOf(top.s.max)] ?? first;
  return `${many}. Highest: ${say(top.s.max, top.line)} (${top.line.name}) at ${clock(at)}; its last value is ${say(top.s.last, top.line)}.`;
}
