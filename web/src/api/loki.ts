// The HTTP API of Loki (`/loki/api/v1`): ranges of lines, labels, and the tail over a WebSocket.
// Times are nanoseconds as text: they do not fit into a number.

import { ask, SignalError, type Labels, type Run } from './prometheus';

export type Entry = [string, string, Labels?];
export interface Stream { stream: Labels; values: Entry[] }
export type LogResult = { resultType: 'streams'; result: Stream[] } | { resultType: 'matrix'; result: Run[] } | { resultType: 'vector'; result: unknown[] };
export type Direction = 'forward' | 'backward';

export const nanos = (ms: number) => `${Math.round(ms)}000000`;
export const millis = (ns: string) => Number(ns.slice(0, -6) || '0') + Number(`0.${ns.slice(-6).padStart(6, '0')}`);

export class Loki {
  constructor(readonly base = '/loki') {}

  // Grafana asks with GET alone, so servers need not take forms here.
  private async get<T>(path: string, parameters: Record<string, string | number | undefined>, signal?: AbortSignal): Promise<T> {
    const value = (await ask(`${this.base}/api/v1/${path}`, parameters, signal, false)) as { status?: string; data?: T };
    if (value.data === undefined) throw new SignalError(200, 'format', 'The answer has no data.');
    return value.data;
  }

  range(query: string, start: string, end: string, limit: number, direction: Direction = 'backward', step?: number, signal?: AbortSignal): Promise<LogResult> {
    return this.get('query_range', { query, start, end, limit, direction, step: step === undefined ? undefined : `${step}s` }, signal);
  }

  async labels(start?: string, end?: string, signal?: AbortSignal): Promise<string[]> {
    return (await this.get<string[] | null>('labels', { start, end }, signal)) ?? [];
  }

  async values(label: string, query?: string, start?: string, end?: string, signal?: AbortSignal): Promise<string[]> {
    return (await this.get<string[] | null>(`label/${encodeURIComponent(label)}/values`, { query, start, end }, signal)) ?? [];
  }

  /** Where the tail of a query is followed. */
  tailUrl(query: string, start: string, limit = 200): string {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    return `${scheme}://${location.host}${this.base}/api/v1/tail?${new URLSearchParams({ query, start, limit: String(limit) })}`;
  }
}

export const loki = new Loki();

const WAIT_MS_MAX = 10_000;

/** Follows the lines of a query; goes on after the last one when the connection breaks. */
export function tail(url: (start: string) => string, start: string, take: (streams: Stream[], dropped: number) => void, state: (s: 'live' | 'lost') => void, make = (u: string) => new WebSocket(u)): () => void {
  let stopped = false;
  let from = start;
  let failures = 0;
  let socket: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const open = () => {
    socket = make(url(from));
    socket.onopen = () => {
      failures = 0;
      state('live');
    };
    socket.onmessage = (event) => {
      const message = JSON.parse(String(event.data)) as { streams?: Stream[] | null; dropped_entries?: unknown[] | null };
      const streams = message.streams ?? [];
      for (const s of streams) for (const [ns] of s.values) if (ns.length > from.length || (ns.length === from.length && ns >= from)) from = String(BigInt(ns) + 1n);
      take(streams, message.dropped_entries?.length ?? 0);
    };
    socket.onclose = () => {
      if (stopped) return;
      state('lost');
      timer = setTimeout(open, Math.min(WAIT_MS_MAX, 500 * 2 ** failures++));
    };
  };
  open();
  return () => {
    stopped = true;
    clearTimeout(timer);
    socket?.close();
  };
}
