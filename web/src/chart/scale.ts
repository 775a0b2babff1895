// Domains, ticks and projections of axes. Pure: no canvas, no document.

export interface Domain { min: number; max: number }

const NICE = [1, 2, 2.5, 5, 10];
const NICE_BINARY = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

function niceStep(rough: number, binary: boolean): number {
  const base = binary && rough >= 1 ? 1024 : 10;
  const magnitude = base ** Math.floor(Math.log(rough) / Math.log(base) + 1e-12);
  const of = base === 1024 ? NICE_BINARY : NICE;
  return (of.find((n) => n * magnitude >= rough * (1 - 1e-9)) ?? base) * magnitude;
}

/** Round values inside the domain, at most about `count`. */
export function ticks({ min, max }: Domain, count: number, binary = false): number[] {
  // Closer together than numbers can tell apart counts as one.
  if (!(max - min > Math.max(Math.abs(min), Math.abs(max)) * 1e-12) || !Number.isFinite(max - min)) return Number.isFinite(min) ? [min] : [];
  const step = niceStep((max - min) / Math.max(1, count), binary);
  const first = Math.ceil(min / step - 1e-9);
  const out: number[] = [];
  for (let i = first; i * step <= max + step * 1e-9 && out.length < 50; i++) out.push(Number((i * step).toPrecision(12)) + 0);
  return out;
}

/** Powers of ten inside the domain, with 2 and 5 between where there is room. */
export function logTicks({ min, max }: Domain, count: number): number[] {
  if (!(min > 0) || !(max > min)) return [];
  const decades = Math.log10(max / min);
  const every = Math.max(1, Math.ceil(decades / Math.max(1, count)));
  const parts = decades * 3 <= count ? [1, 2, 5] : [1];
  const out: number[] = [];
  for (let e = Math.floor(Math.log10(min)); e <= Math.ceil(Math.log10(max)); e++) {
    if (e % every !== 0) continue;
    for (const p of parts) {
      const value = p * 10 ** e;
      if (value >= min * (1 - 1e-9) && value <= max * (1 + 1e-9)) out.push(value);
    }
  }
  return out;
}

/** The smallest domain with round ends that holds the values; zero is in it when it is near. */
export function domainOf(low: number, high: number, fixed: Partial<Domain> = {}, zero = true, binary = false): Domain {
  let min = Number.isFinite(low) ? low : 0;
  let max = Number.isFinite(high) ? high : 1;
  if (zero && min > 0 && (min < max / 2 || min === max)) min = 0;
  if (zero && max < 0 && (max > min / 2 || min === max)) max = 0;
  if (min === max) {
    const pad = Math.abs(min) / 10 || 1;
    max += pad;
    if (min !== 0) min -= pad;
  }
  const step = niceStep((max - min) / 4, binary);
  if (Number.isFinite(step) && step > 0) {
    min = Math.floor(min / step + 1e-9) * step;
    max = Math.ceil(max / step - 1e-9) * step;
  }
  const out = { min: fixed.min ?? min, max: fixed.max ?? max };
  // A fixed end may lie beyond what there is to see.
  if (out.min >= out.max) return fixed.max !== undefined && fixed.min === undefined ? { min: out.max - 1, max: out.max } : { min: out.min, max: out.min + 1 };
  return out;
}

const MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const TIME_STEPS = [1, 2, 5, 10, 15, 30].map((n) => n * MS.s).concat([1, 2, 5, 10, 15, 30].map((n) => n * MS.m), [1, 2, 3, 6, 12].map((n) => n * MS.h), [1, 2, 7].map((n) => n * MS.d));

export interface TimeTick { at: number; text: string; /** Begins a day or a month. */ strong: boolean }

const two = (n: number) => String(n).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Ticks at round times of the reader's zone, at most about `count`. */
export function timeTicks(from: number, to: number, count: number, utc = false): TimeTick[] {
  if (!(to > from)) return [];
  const rough = (to - from) / Math.max(1, count);
  const step = TIME_STEPS.find((s) => s >= rough);
  const shift = (at: number) => (utc ? 0 : new Date(at).getTimezoneOffset() * 60_000);
  const out: TimeTick[] = [];
  const add = (at: number) => {
    const d = new Date(at - shift(at));
    const midnight = d.getUTCHours() + d.getUTCMinutes() + d.getUTCSeconds() === 0;
    const day = `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`;
    const clock = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
    const text = midnight ? day : step !== undefined && step < MS.m ? `${clock}:${two(d.getUTCSeconds())}` : clock;
    out.push({ at, text, strong: midnight });
  };
  if (step === undefined) {
    // Months, and years where there are many.
    const months = Math.max(1, Math.ceil(rough / (30 * MS.d)));
    const d = new Date(from);
    for (let y = d.getFullYear(), m = Math.ceil(d.getMonth() / months) * months; out.length < 40; m += months) {
      const at = utc ? Date.UTC(y, m, 1) : new Date(y, m, 1).getTime();
      if (at > to) break;
      if (at >= from) out.push({ at, text: `${MONTHS[((m % 12) + 12) % 12]} ${new Date(at + MS.d).getFullYear()}`, strong: m % 12 === 0 });
    }
    return out;
  }
  let at = Math.ceil((from - shift(from)) / step) * step + shift(from);
  for (; at <= to && out.length < 50; at += step) add(at - shift(from) + shift(at));
  return out;
}

/** A value's share of the domain, 0 at its start; logarithmic where asked for. */
export function share(value: number, { min, max }: Domain, log = false): number {
  if (log) return value > 0 && min > 0 ? Math.log(value / min) / Math.log(max / min) : 0;
  return (value - min) / (max - min);
}
