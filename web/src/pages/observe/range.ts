// Ranges of time as they stand in URLs: `now-1h` or milliseconds, `now/d` cut to the day.
// Zooming keeps a way back.

import { stamp } from '../../ui/words';

export interface Range { from: string; to: string }
export interface Span { from: number; to: number }

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, M: 2_592_000_000, y: 31_536_000_000 };

export const PRESETS = [
  { from: 'now-5m', name: 'Last 5 minutes' }, { from: 'now-15m', name: 'Last 15 minutes' }, { from: 'now-30m', name: 'Last 30 minutes' },
  { from: 'now-1h', name: 'Last hour' }, { from: 'now-3h', name: 'Last 3 hours' }, { from: 'now-6h', name: 'Last 6 hours' },
  { from: 'now-12h', name: 'Last 12 hours' }, { from: 'now-24h', name: 'Last 24 hours' }, { from: 'now-2d', name: 'Last 2 days' },
  { from: 'now-7d', name: 'Last 7 days' }, { from: 'now-30d', name: 'Last 30 days' },
] as const;

export const DEFAULT: Range = { from: 'now-1h', to: 'now' };

/** A length as PromQL writes it (`1h30m`) in milliseconds. */
export function lengthMs(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w|M|y)/g)];
  if (!parts.length || parts.map((p) => p[0]).join('') !== text) return undefined;
  return parts.reduce((sum, p) => sum + Number(p[1]) * (UNITS[p[2] ?? ''] ?? 0), 0);
}

/** A length in PromQL's words, exact: `90000` is `1m30s`. */
export function lengthText(ms: number): string {
  let rest = Math.max(1, Math.round(ms));
  let out = '';
  for (const unit of ['d', 'h', 'm', 's', 'ms']) {
    const size = UNITS[unit] ?? 1;
    const n = Math.floor(rest / size);
    if (n) out += `${n}${unit}`;
    rest -= n * size;
  }
  return out;
}

function floor(at: number, unit: string, up: boolean): number {
  const date = new Date(at);
  if (unit === 'M') date.setDate(1);
  if (unit === 'y') date.setMonth(0, 1);
  if (unit === 'w') date.setDate(date.getDate() - ((date.getDay() + 6) % 7));
  if (['d', 'w', 'M', 'y'].includes(unit)) date.setHours(0, 0, 0, 0);
  else return Math.floor(at / (UNITS[unit] ?? 1)) * (UNITS[unit] ?? 1) + (up ? (UNITS[unit] ?? 1) - 1 : 0);
  if (!up) return date.getTime();
  if (unit === 'd') date.setDate(date.getDate() + 1);
  if (unit === 'w') date.setDate(date.getDate() + 7);
  if (unit === 'M') date.setMonth(date.getMonth() + 1);
  if (unit === 'y') date.setFullYear(date.getFullYear() + 1);
  return date.getTime() - 1;
}

/** One end of a range in milliseconds; undefined where the text says nothing. */
export function edge(text: string, now: number, end = false): number | undefined {
  const trimmed = text.trim();
  if (/^\d{12,}$/.test(trimmed)) return Number(trimmed);
  const relative = /^now(?:([+-])(\d+)(ms|s|m|h|d|w|M|y))?(?:\/(s|m|h|d|w|M|y))?$/.exec(trimmed);
  if (relative) {
    const [, sign, n, unit = '', cut] = relative;
    const at = sign ? now + (sign === '-' ? -1 : 1) * Number(n) * (UNITS[unit] ?? 0) : now;
    return cut ? floor(at, cut, end) : at;
  }
  if (!/^\d{4}-\d\d-\d\d/.test(trimmed)) return undefined;
  const at = Date.parse(trimmed.replace(' ', 'T').replace(/ UTC$/, 'Z'));
  return Number.isNaN(at) ? undefined : at;
}

/** A range at a moment; what cannot be read or is upside down becomes the last hour. */
export function resolve(range: Range, now: number): Span {
  const from = edge(range.from, now);
  const to = edge(range.to, now, true);
  if (from === undefined || to === undefined || from >= to) return { from: now - 3_600_000, to: now };
  return { from, to };
}

export const relative = (range: Range) => range.from.startsWith('now') || range.to.startsWith('now');

/** The same range as others will see it tomorrow. */
export function fixed(range: Range, now: number): Range {
  const { from, to } = resolve(range, now);
  return { from: String(Math.round(from)), to: String(Math.round(to)) };
}

export const rangeOf = (query: URLSearchParams): Range => ({ from: query.get('from') || DEFAULT.from, to: query.get('to') || DEFAULT.to });

export function describe(range: Range, utc: boolean): string {
  const preset = range.to === 'now' ? PRESETS.find((p) => p.from === range.from) : undefined;
  if (preset) return preset.name;
  const read = (text: string, end: boolean) => {
    const at = text.startsWith('now') ? undefined : edge(text, 0, end);
    return at === undefined ? text : stamp(at, utc);
  };
  return `${read(range.from, false)} to ${read(range.to, true)}`;
}

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

/** A step in seconds that gives about `points` points and is a round number. */
export function stepFor(span: Span, points: number, least = 5): number {
  const wanted = (span.to - span.from) / 1000 / Math.max(1, points);
  return STEPS_S.find((s) => s >= wanted && s >= least) ?? Math.ceil(wanted / 604_800) * 604_800;
}

/** Both ends on multiples of the step, so that the same points are asked for again. */
export function aligned(span: Span, step: number): { start: number; end: number } {
  return { start: Math.floor(span.from / 1000 / step) * step, end: Math.floor(span.to / 1000 / step) * step };
}

/** The range moved by half of its length. */
export function moved(span: Span, direction: 1 | -1): Range {
  const by = ((span.to - span.from) / 2) * direction;
  return { from: String(Math.round(span.from + by)), to: String(Math.round(span.to + by)) };
}

/** Twice as long around the same middle, but not into the future. */
export function widened(span: Span, now: number): Range {
  const half = (span.to - span.from) / 2;
  const to = Math.min(span.to + half, Math.max(now, span.to));
  return { from: String(Math.round(to - half * 4)), to: String(Math.round(to)) };
}

const KEPT = 50;

/** The ranges before a zoom, the newest last. */
export class ZoomHistory {
  private kept: Range[] = [];
  push(range: Range) {
    const last = this.kept.at(-1);
    if (last?.from === range.from && last.to === range.to) return;
    this.kept = [...this.kept, range].slice(-KEPT);
  }
  pop(): Range | undefined {
    return this.kept.pop();
  }
  get depth(): number {
    return this.kept.length;
  }
}
