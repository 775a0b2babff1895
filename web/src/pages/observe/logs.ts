// Lines of logs as they are shown: merged by time, with a level; queries that clicks make.

import { millis, type Stream } from '../../api/loki';
import type { Labels } from '../../api/prometheus';
import { tokens } from './promql';

export type Level = 'error' | 'warning' | 'info' | 'debug' | '';
export interface LogLine { ns: string; at: number; text: string; labels: Labels; extra: Labels; level: Level; id: string }

const LEVELS: [RegExp, Level][] = [
  [/^(emerg|alert|crit|fatal|panic|err|severe|e$|f$)/i, 'error'], [/^(warn|w$)/i, 'warning'], [/^(info|notice|i$)/i, 'info'], [/^(debug|trace|verbose|d$|t$)/i, 'debug'],
];
const named = (word: string): Level => LEVELS.find(([p]) => p.test(word))?.[1] ?? '';

/** The level that labels or the line itself name. */
export function levelOf(text: string, labels: Labels): Level {
  for (const name of ['level', 'severity', 'detected_level', 'severity_text', 'lvl', 'loglevel']) {
    const found = named(labels[name] ?? '');
    if (found) return found;
  }
  const head = text.slice(0, 400);
  const said = /["']?\b(?:level|lvl|severity|levelname)["']?\s*[=:]\s*["']?(\w+)/i.exec(head)?.[1];
  if (said) return named(said);
  // klog: `E0131 14:05:09.1`.
  const klog = /^([IWEF])\d{4} /.exec(head)?.[1];
  if (klog) return named(klog);
  const word = /(?:^|[\s[|(<])(FATAL|PANIC|CRITICAL|ERROR|WARNING|WARN|INFO|NOTICE|DEBUG|TRACE)(?=[\s\]|)>:]|$)/.exec(head)?.[1] ?? /^\s*(error|fatal|panic|warning|warn)\b[:!]/i.exec(head)?.[1];
  return word ? named(word) : '';
}

const before = (a: string, b: string) => (a.length === b.length ? (a < b ? -1 : a > b ? 1 : 0) : a.length - b.length);

/** The lines of all streams, the newest first; what came twice is there once. */
export function linesOf(streams: Stream[]): LogLine[] {
  const seen = new Map<string, number>();
  const all = streams.flatMap(({ stream, values }) => {
    const source = JSON.stringify(Object.entries(stream).sort());
    return values.map(([ns, text, extra]): LogLine => {
      // The same text at the same nanosecond may be two lines.
      const plain = `${ns}\u0000${source}\u0000${text}`;
      const n = seen.get(plain) ?? 0;
      seen.set(plain, n + 1);
      const meta = typeof extra === 'object' && extra !== null ? extra : {};
      return { ns, at: millis(ns), text, labels: stream, extra: meta, level: levelOf(text, { ...stream, ...meta }), id: n ? `${plain}\u0000${n}` : plain };
    });
  });
  return all.sort((a, b) => -before(a.ns, b.ns));
}

/** Puts lines together; each is there once, the newest first, at most `most`. */
export function merged(a: LogLine[], b: LogLine[], most: number): LogLine[] {
  const all = new Map([...b, ...a].map((l) => [l.id, l]));
  return [...all.values()].sort((x, y) => -before(x.ns, y.ns)).slice(0, most);
}

/** Puts a matcher into the stream selector; another on the same label gives way to an equality. */
export function withLabel(query: string, label: string, value: string, operator: '=' | '!=' = '='): string {
  const matcher = `${label}${operator}${JSON.stringify(value)}`;
  const all = tokens(query);
  const open = all.findIndex((t) => t.text === '{');
  if (open < 0) return `{${matcher}}${query.trim() ? ` ${query.trim()}` : ''}`;
  const close = all.findIndex((t, i) => i > open && t.text === '}');
  const end = close < 0 ? query.length : (all[close]?.from ?? query.length);
  const inside = query.slice(all[open]?.to ?? 0, end);
  const parts = split(inside).filter((p) => p && !(operator === '=' && new RegExp(`^${label}\\s*(=|!=|=~|!~)`).test(p)) && p !== matcher);
  return `${query.slice(0, all[open]?.to)}${[...parts, matcher].join(', ')}${close < 0 ? '}' : query.slice(end)}`;
}

function split(inside: string): string[] {
  const out: string[] = [''];
  for (const t of tokens(`{${inside}`).slice(1)) {
    if (t.text === ',' && t.kind === 'punct') out.push('');
    else out[out.length - 1] += t.text;
  }
  return out.map((p) => p.trim());
}

/** Keeps lines with a field that a parser found, or that contain a text. */
export const withText = (query: string, text: string, operator: '|=' | '!=' = '|=') => `${query.trimEnd()} ${operator} ${JSON.stringify(text)}`;

const SHARED = ['namespace', 'pod', 'container', 'app', 'service_name'];

/** The logs that belong to a series: by the labels that both have. */
export function selectorFor(labels: Labels): string {
  const parts = SHARED.filter((n) => labels[n]).map((n) => `${n}=${JSON.stringify(labels[n])}`);
  return `{${parts.length ? parts.join(', ') : 'namespace=~".+"'}}`;
}

/** The exact stream of a line. */
export const streamOf = (labels: Labels) => `{${Object.entries(labels).filter(([n]) => /^[a-zA-Z_]\w*$/.test(n)).sort().map(([n, v]) => `${n}=${JSON.stringify(v)}`).join(', ')}}`;

/** Whether a query counts lines rather than listing them. */
export const isMetric = (query: string) => /^\s*(?!\{)[a-z_]+\s*(\(|by\b|without\b)/.test(query);

/** Counts the lines of a query over time, by level where streams have one. */
export const volumeOf = (query: string, step: number) => `sum by (detected_level) (count_over_time(${query.trim()} [${step}s]))`;
