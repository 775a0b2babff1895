// The HTTP API of Prometheus (`/prometheus/api/v1`), typed: answers with their warnings and
// infos, errors with their place in the expression, every question can be taken back.

export type Labels = Record<string, string>;
export type Sample = [number, string];
/** Buckets are `[boundary rule, lower, upper, count]`. */
export interface NativeHistogram { count: string; sum: string; buckets?: [number, string, string, string][] }
export interface Instant { metric: Labels; value?: Sample; histogram?: [number, NativeHistogram] }
export interface Run { metric: Labels; values?: Sample[]; histograms?: [number, NativeHistogram][] }
export type Result =
  | { resultType: 'vector'; result: Instant[] }
  | { resultType: 'matrix'; result: Run[] }
  | { resultType: 'scalar' | 'string'; result: Sample };
export interface Answer<T> { data: T; warnings: string[]; infos: string[] }
export interface Meaning { type: string; help: string; unit: string }
export interface ExemplarRun { seriesLabels: Labels; exemplars: { labels: Labels; value: string; timestamp: number }[] }
export interface Alert { labels: Labels; annotations: Labels; state: string; activeAt?: string; value: string }
export interface Rule {
  type: 'alerting' | 'recording'; name: string; query: string; state?: string; duration?: number; keepFiringFor?: number; labels?: Labels; annotations?: Labels;
  health: string; lastError?: string; evaluationTime?: number; lastEvaluation?: string; alerts?: Alert[];
}
export interface RuleGroup { name: string; file: string; interval: number; rules: Rule[]; evaluationTime?: number; lastEvaluation?: string }

/** Characters `from` to `to` of an expression (UTF-16, as strings of the browser count). */
export interface Place { from: number; to: number }

/** What a server of signals refused: `status` is HTTP's, 0 where it did not answer at all. */
export class SignalError extends Error {
  constructor(readonly status: number, readonly kind: string, message: string, readonly at: Place | undefined = undefined) {
    super(message);
  }
  /** Nothing answers at this address: the part of the server is missing, not its data. */
  get absent(): boolean {
    return this.status === 404 || this.status === 501;
  }
}

export type Parameters = Record<string, string | number | undefined | string[]>;

function encode(parameters: Parameters): URLSearchParams {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined || value === '') continue;
    for (const one of Array.isArray(value) ? value : [value]) out.append(name, String(one));
  }
  return out;
}

// Longer questions go in a body: proxies cut long addresses.
const ADDRESS_MAX = 1800;

/** One question to a server of signals, as GET or as a form. */
export async function ask(path: string, parameters: Parameters, signal?: AbortSignal, form = true): Promise<unknown> {
  const text = encode(parameters).toString();
  const post = form && text.length > ADDRESS_MAX;
  const init: RequestInit = {
    method: post ? 'POST' : 'GET',
    headers: { accept: 'application/json', ...(post ? { 'content-type': 'application/x-www-form-urlencoded' } : {}) },
    ...(post ? { body: text } : {}), ...(signal ? { signal } : {}),
  };
  let response: Response;
  try {
    response = await fetch(post || !text ? path : `${path}?${text}`, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new SignalError(0, 'network', 'The server does not answer.');
  }
  const body = await response.text();
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    if (response.ok) throw new SignalError(response.status === 200 ? 404 : response.status, 'format', 'The answer is not JSON.');
    throw new SignalError(response.status, 'http', body.trim().slice(0, 300) || response.statusText);
  }
  if (!response.ok) {
    const said = value as { errorType?: string; error?: string; message?: string };
    const message = said.error ?? said.message ?? response.statusText;
    throw new SignalError(response.status, said.errorType ?? 'http', message, place(message, typeof parameters.query === 'string' ? parameters.query : ''));
  }
  return value;
}

const utf8 = new TextEncoder();

/** The place that `2:5: parse error: …` names; servers count lines and bytes of UTF-8 from 1. */
export function place(message: string, query: string): Place | undefined {
  const found = /(?:^|[\s(":])(\d+):(\d+)(?=[:)\s]|$)/.exec(message);
  if (!found || !query) return undefined;
  const lines = query.split('\n');
  const line = Math.min(lines.length, Number(found[1])) - 1;
  const before = lines.slice(0, line).reduce((sum, l) => sum + l.length + 1, 0);
  let bytes = Number(found[2]) - 1;
  let from = 0;
  for (const character of lines[line] ?? '') {
    if (bytes <= 0) break;
    bytes -= utf8.encode(character).length;
    from += character.length;
  }
  from = Math.min(before + from, query.length);
  const rest = /^([\w:.]+|\s+|.)/s.exec(query.slice(from));
  // Past the end: the last character carries the mark.
  if (!rest) return { from: Math.max(0, query.length - 1), to: query.length };
  return { from, to: from + rest[0].length };
}

/** The words of a parse error without the name of the parameter and the place. */
export const spoken = (message: string) => message.replace(/^invalid parameter "\w+": /, '').replace(/^(\d+:\d+): /, '').replace(/^parse error: /, '').trim();

const LEGACY = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** A label name as it stands in a path: names beyond ASCII letters are escaped as `U__…`. */
export function pathName(name: string): string {
  if (LEGACY.test(name)) return name.startsWith('U__') ? `U___${name.slice(2)}` : name;
  let out = 'U__';
  for (const character of name) out += character === '_' ? '__' : /[a-zA-Z0-9]/.test(character) ? character : `_${(character.codePointAt(0) ?? 0).toString(16)}_`;
  return out;
}

interface Window { start?: number | undefined; end?: number | undefined; match?: string[]; limit?: number; signal?: AbortSignal | undefined }

export class Prometheus {
  constructor(readonly base = '/prometheus') {}

  private async get<T>(path: string, parameters: Parameters, signal?: AbortSignal): Promise<Answer<T>> {
    const value = (await ask(`${this.base}/api/v1/${path}`, parameters, signal)) as { status?: string; data?: T; error?: string; errorType?: string; warnings?: string[]; infos?: string[] };
    if (value.status !== 'success' || value.data === undefined) throw new SignalError(200, value.errorType ?? 'format', value.error ?? 'The answer has no data.');
    return { data: value.data, warnings: value.warnings ?? [], infos: value.infos ?? [] };
  }

  /** The value of an expression at one time (seconds). */
  query(query: string, time?: number, signal?: AbortSignal, limit?: number): Promise<Answer<Result>> {
    return this.get('query', { query, time, limit }, signal);
  }

  /** The values of an expression from `start` to `end`, every `step` seconds. */
  range(query: string, start: number, end: number, step: number, signal?: AbortSignal): Promise<Answer<Result>> {
    return this.get('query_range', { query, start, end, step }, signal);
  }

  labels(w: Window = {}): Promise<Answer<string[]>> {
    return this.get('labels', { start: w.start, end: w.end, 'match[]': w.match, limit: w.limit }, w.signal);
  }

  values(label: string, w: Window = {}): Promise<Answer<string[]>> {
    return this.get(`label/${encodeURIComponent(pathName(label))}/values`, { start: w.start, end: w.end, 'match[]': w.match, limit: w.limit }, w.signal);
  }

  series(match: string[], w: Window = {}): Promise<Answer<Labels[]>> {
    return this.get('series', { 'match[]': match, start: w.start, end: w.end, limit: w.limit }, w.signal);
  }

  metadata(signal?: AbortSignal): Promise<Answer<Record<string, Meaning[]>>> {
    return this.get('metadata', { limit_per_metric: 1 }, signal);
  }

  exemplars(query: string, start: number, end: number, signal?: AbortSignal): Promise<Answer<ExemplarRun[]>> {
    return this.get('query_exemplars', { query, start, end }, signal);
  }

  rules(signal?: AbortSignal): Promise<Answer<{ groups: RuleGroup[] }>> {
    return this.get('rules', {}, signal);
  }
}

export const prometheus = new Prometheus();
