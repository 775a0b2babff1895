// The HTTP API of Tempo (`/tempo/api`): searches by TraceQL, traces by their id, names and values
// of attributes. Times are nanoseconds as text; ids of spans come in base 64.

import { ask, SignalError, type Place } from './prometheus';

export interface AnyValue { stringValue?: string; boolValue?: boolean; intValue?: string | number; doubleValue?: number | string; bytesValue?: string; arrayValue?: { values?: AnyValue[] }; kvlistValue?: { values?: KeyValue[] } }
export interface KeyValue { key: string; value: AnyValue }
export interface FoundSpan { spanID: string; name?: string; startTimeUnixNano: string; durationNanos: string; attributes?: KeyValue[] }
export interface FoundTrace {
  traceID: string; rootServiceName: string; rootTraceName: string; startTimeUnixNano: string; durationMs?: number;
  spanSets?: { spans: FoundSpan[]; matched: number }[]; serviceStats?: Record<string, { spanCount: number; errorCount?: number }>;
}
export interface WireEvent { timeUnixNano: string; name?: string; attributes?: KeyValue[] }
export interface WireLink { traceId: string; spanId: string; attributes?: KeyValue[] }
export interface WireSpan {
  traceId: string; spanId: string; parentSpanId?: string; name?: string; kind?: string; startTimeUnixNano: string; endTimeUnixNano: string;
  attributes?: KeyValue[]; events?: WireEvent[]; links?: WireLink[]; status?: { code?: string; message?: string };
}
export interface ResourceSpans { resource?: { attributes?: KeyValue[] }; scopeSpans?: { scope?: { name?: string }; spans?: WireSpan[] }[] }

/** Bytes in base 64 as hexadecimal. */
export function hex(base64: string): string {
  let out = '';
  for (const c of atob(base64)) out += c.charCodeAt(0).toString(16).padStart(2, '0');
  return out;
}

/** The bytes `5..7` of a query that a refusal names, as characters of the browser's strings. */
export function placeOf(message: string, query: string): Place | undefined {
  const found = /at (\d+)\.\.(\d+):/.exec(message);
  if (!found || !query) return undefined;
  const bytes = new TextEncoder().encode(query);
  const upTo = (n: number) => new TextDecoder().decode(bytes.slice(0, n)).length;
  const from = Math.min(upTo(Number(found[1])), query.length - 1);
  return { from, to: Math.max(from + 1, upTo(Number(found[2]))) };
}

/** A value as people read it. */
export function plain(value: AnyValue | undefined): string {
  if (!value) return '';
  if (value.arrayValue) return `[${(value.arrayValue.values ?? []).map(plain).join(', ')}]`;
  if (value.kvlistValue) return `{${(value.kvlistValue.values ?? []).map((p) => `${p.key}: ${plain(p.value)}`).join(', ')}}`;
  const one = value.stringValue ?? value.intValue ?? value.doubleValue ?? value.boolValue ?? value.bytesValue;
  return one === undefined ? '' : String(one);
}

export class Tempo {
  constructor(readonly base = '/tempo') {}

  /** Traces with spans that a query finds, the newest first; times in milliseconds. */
  async search(q: string, from: number, to: number, limit: number, signal?: AbortSignal): Promise<FoundTrace[]> {
    try {
      const value = (await ask(`${this.base}/api/search`, { q, start: Math.floor(from / 1000), end: Math.ceil(to / 1000), limit, spss: 10 }, signal, false)) as { traces?: FoundTrace[] | null };
      return value.traces ?? [];
    } catch (error) {
      // The place is told in the text, which is plain here.
      if (error instanceof SignalError && error.status === 400) throw new SignalError(400, 'bad_data', error.message.replace(/^invalid TraceQL query: /, '').replace(/^parse error at \d+\.\.\d+: /, ''), placeOf(error.message, q));
      throw error;
    }
  }

  /** The parts of a trace; undefined where there is none of this id. */
  async trace(id: string, signal?: AbortSignal): Promise<ResourceSpans[] | undefined> {
    try {
      const value = (await ask(`${this.base}/api/v2/traces/${encodeURIComponent(id)}`, {}, signal, false)) as { trace?: { resourceSpans?: ResourceSpans[] } };
      return value.trace?.resourceSpans ?? [];
    } catch (error) {
      if (error instanceof SignalError && error.status === 404 && /trace/i.test(error.message)) return undefined;
      throw error;
    }
  }

  /** Names of attributes by scope, intrinsics among them. */
  async tags(signal?: AbortSignal): Promise<{ name: string; tags: string[] }[]> {
    return ((await ask(`${this.base}/api/v2/search/tags`, {}, signal, false)) as { scopes?: { name: string; tags: string[] }[] }).scopes ?? [];
  }

  async values(tag: string, q?: string, signal?: AbortSignal): Promise<{ type: string; value: string }[]> {
    return ((await ask(`${this.base}/api/v2/search/tag/${encodeURIComponent(tag)}/values`, { q, limit: 200 }, signal, false)) as { tagValues?: { type: string; value: string }[] | null }).tagValues ?? [];
  }
}

export const tempo = new Tempo();
