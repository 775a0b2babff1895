// Numbers with their units, by the names that dashboards use (`bytes`, `percentunit`, `reqps`).
// An axis gets one prefix for all of its ticks, so that they can be compared.

interface Scaled { base: number; prefixes: string[]; suffix: string; small?: string[] }

const SI = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
const IEC = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const SMALL = ['m', 'µ', 'n', 'p'];

const SCALED: Record<string, Scaled> = {
  short: { base: 1000, prefixes: ['', ' k', ' M', ' G', ' T', ' P', ' E'], suffix: '' },
  si: { base: 1000, prefixes: SI, suffix: '', small: SMALL },
  bytes: { base: 1024, prefixes: IEC, suffix: 'B' }, decbytes: { base: 1000, prefixes: SI, suffix: 'B' },
  kbytes: { base: 1024, prefixes: IEC.slice(1), suffix: 'B' }, mbytes: { base: 1024, prefixes: IEC.slice(2), suffix: 'B' }, gbytes: { base: 1024, prefixes: IEC.slice(3), suffix: 'B' },
  bits: { base: 1024, prefixes: IEC, suffix: 'b' }, decbits: { base: 1000, prefixes: SI, suffix: 'b' },
  Bps: { base: 1000, prefixes: SI, suffix: 'B/s' }, binBps: { base: 1024, prefixes: IEC, suffix: 'B/s' }, KBs: { base: 1000, prefixes: SI.slice(1), suffix: 'B/s' }, MBs: { base: 1000, prefixes: SI.slice(2), suffix: 'B/s' },
  bps: { base: 1000, prefixes: SI, suffix: 'b/s' }, binbps: { base: 1024, prefixes: IEC, suffix: 'b/s' },
  hertz: { base: 1000, prefixes: SI, suffix: 'Hz' }, rotrpm: { base: 1000, prefixes: [''], suffix: 'rpm' },
  volt: { base: 1000, prefixes: SI, suffix: 'V', small: SMALL }, amp: { base: 1000, prefixes: SI, suffix: 'A', small: SMALL }, watt: { base: 1000, prefixes: SI, suffix: 'W', small: SMALL }, joule: { base: 1000, prefixes: SI, suffix: 'J' },
};

const RATES: Record<string, string> = {
  reqps: 'req/s', rps: 'req/s', ops: 'ops/s', cps: '/s', wps: 'writes/s', rds: 'reads/s', iops: 'io/s', eps: 'events/s', mps: 'msg/s', pps: 'packets/s', recps: 'rec/s', rowsps: 'rows/s',
  reqpm: 'req/min', opm: 'ops/min', cpm: '/min', rpm: 'reads/min', wpm: 'writes/min',
};
for (const [unit, suffix] of Object.entries(RATES)) SCALED[unit] = { base: 1000, prefixes: SI, suffix };

const SUFFIXED: Record<string, string> = { celsius: '°C', fahrenheit: '°F', kelvin: 'K', degree: '°', rotation: 'rpm', humidity: '%H', dB: 'dB', cores: 'cores', none: '', locale: '', string: '', '': '' };
const TIMES: Record<string, number> = { ns: 1e-9, µs: 1e-6, us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86_400, dtdurations: 1, dtdurationms: 1e-3, clocks: 1, clockms: 1e-3 };

/** Whether a unit is one that is known here. */
export const knows = (unit: string) => unit in SCALED || unit in SUFFIXED || unit in TIMES || ['percent', 'percentunit', 'bool', 'bool_yes_no', 'bool_on_off', 'dateTimeAsIso', 'dateTimeFromNow', 'dateTimeAsLocal', 'hex'].includes(unit) || /^(suffix|prefix|si|bytes):/.test(unit);

export const inBinary = (unit: string) => SCALED[unit]?.base === 1024;
export const inTime = (unit: string) => unit in TIMES;

/** Seconds times this are what the unit counts. */
export const secondsIn = (unit: string) => TIMES[unit] ?? 1;

/** Three digits that matter, without needless zeros; or as many decimals as asked for. */
export function digits(value: number, decimals?: number): string {
  if (decimals !== undefined) return trimmed(value.toFixed(Math.min(20, Math.max(0, decimals))), true);
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1e-6 || size >= 1e15) return value.toExponential(2);
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(size)));
  return trimmed(value.toFixed(places), false);
}

function trimmed(text: string, keep: boolean): string {
  const cut = keep || !text.includes('.') ? text : text.replace(/\.?0+$/, '');
  return cut === '-0' ? '0' : cut;
}

function scaled(value: number, { base, prefixes, suffix, small }: Scaled, decimals: number | undefined, by: number): string {
  const size = Math.abs(by);
  let power = size >= 1 ? Math.min(prefixes.length - 1, Math.floor(Math.log(size) / Math.log(base) + 1e-9)) : 0;
  // 999.95 k would read as 1000 k.
  if (size >= 1 && power < prefixes.length - 1 && Number(digits(size / base ** power, decimals ?? undefined)) >= base) power += 1;
  let prefix = prefixes[power] ?? '';
  let factor = base ** power;
  if (small && size > 0 && size < 1) {
    const down = Math.min(small.length, Math.ceil(-Math.log10(size) / 3 - 1e-9));
    prefix = small[down - 1] ?? '';
    factor = 1000 ** -down;
  }
  const unit = `${prefix}${suffix}`;
  return `${digits(value / factor, decimals)}${unit && !unit.startsWith(' ') && !unit.startsWith('/') ? ' ' : ''}${unit}`;
}

const LENGTHS: [number, string][] = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs'], [1e-9, 'ns']];

function time(seconds: number, decimals: number | undefined, by: number): string {
  const size = Math.abs(by);
  if (size === 0) return '0 s';
  const [factor, name] = LENGTHS.find(([f]) => size >= f * (1 - 1e-9)) ?? [1e-9, 'ns'];
  return `${digits(seconds / factor, decimals)} ${name}`;
}

/** `1d 3h 12m` for how long something lasts. */
function lasting(seconds: number): string {
  let rest = Math.round(Math.abs(seconds));
  if (rest === 0) return time(seconds, undefined, seconds);
  const parts: string[] = [];
  for (const [size, name] of [[86_400, 'd'], [3600, 'h'], [60, 'm'], [1, 's']] as const) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n) parts.push(`${n} ${name}`);
  }
  return `${seconds < 0 ? '-' : ''}${parts.slice(0, 3).join(' ')}`;
}

/** A value in words. `by` chooses the prefix, for an axis whose ticks share one. */
export function format(value: number, unit = 'short', decimals?: number, by = value): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  if (unit === 'percent') return `${digits(value, decimals)} %`;
  if (unit === 'percentunit') return `${digits(value * 100, decimals)} %`;
  if (unit === 'bool' || unit === 'bool_yes_no' || unit === 'bool_on_off') return unit === 'bool' ? (value ? 'True' : 'False') : unit === 'bool_on_off' ? (value ? 'On' : 'Off') : value ? 'Yes' : 'No';
  if (unit === 'hex') return `0x${Math.round(value).toString(16)}`;
  if (unit.startsWith('dateTime')) return new Date(value).toISOString().slice(0, 19).replace('T', ' ');
  if (unit === 'dtdurations' || unit === 'dtdurationms' || unit === 'clocks' || unit === 'clockms') return lasting(value * secondsIn(unit));
  if (unit in TIMES) return time(value * secondsIn(unit), decimals, by * secondsIn(unit));
  if (unit === 'locale') return value.toLocaleString('en');
  const own = /^(suffix|prefix|si|bytes):(.*)$/.exec(unit);
  if (own?.[1] === 'prefix') return `${own[2]}${digits(value, decimals)}`;
  if (own?.[1] === 'si') return scaled(value, { base: 1000, prefixes: SI, suffix: own[2] ?? '' }, decimals, by);
  if (own) return `${digits(value, decimals)} ${own[2]}`.trim();
  const known = SCALED[unit];
  if (known) return scaled(value, known, decimals, by);
  const suffix = SUFFIXED[unit] ?? unit;
  return `${digits(value, decimals)}${suffix && !suffix.startsWith('°') ? ' ' : ''}${suffix}`;
}

/** The unit that the name of a metric or an expression over it suggests. */
export function unitOf(expression: string): string {
  const name = expression.match(/[a-zA-Z_:][a-zA-Z0-9_:]*(?=\s*[{[)]|\s*$|\s+[-+*/<>=])/g)?.find((n) => /_(bytes|seconds|ratio|percent|celsius)/.test(n)) ?? '';
  const rate = /\b(rate|irate|deriv)\s*\(/.test(expression);
  if (/\b(count|count_values|absent)\s*\(|\bcount\s+by\b/.test(expression)) return 'short';
  if (/histogram_quantile/.test(expression) && /_seconds/.test(name)) return 's';
  if (/_bytes/.test(name)) return rate ? 'binBps' : 'bytes';
  if (/_seconds_bucket|_seconds_count/.test(name)) return 'short';
  // Seconds per second: shares of a core; two of them divided are no time either.
  if (/_seconds/.test(name)) return rate ? (/\/[^/]*_count\b/.test(expression) ? 's' : 'short') : /\btime\(\)|timestamp|_time_seconds/.test(expression) && !/-/.test(expression) ? 'short' : 's';
  if (/_ratio/.test(name)) return 'percentunit';
  if (/_percent/.test(name)) return 'percent';
  if (/_celsius/.test(name)) return 'celsius';
  return 'short';
}
