// TraceQL that clicks make, and completion while it is typed.

import { tempo } from '../../../api/tempo';
import { once, ranked, type Completion, type Suggested } from '../complete';

export interface Wanted { service: string; name: string; failed: boolean; longer: string; pod?: string }

const text = (value: string) => JSON.stringify(value);

/** A query for spans of a service, of a name, that failed, that took longer. */
export function wantedQuery({ service, name, failed, longer }: Wanted): string {
  const parts = [service ? `resource.service.name = ${text(service)}` : '', name ? `name = ${text(name)}` : '', failed ? 'status = error' : '', /^\d+(\.\d+)?(ns|us|µs|ms|s|m|h)$/.test(longer) ? `duration > ${longer}` : ''].filter(Boolean);
  return parts.length ? `{ ${parts.join(' && ')} }` : '{ }';
}

/** What such a query asks for, where it is one that the form can show. */
export function wantedOf(query: string): Wanted | undefined {
  const out: Wanted = { service: '', name: '', failed: false, longer: '' };
  const inside = /^\s*\{\s*([\s\S]*?)\s*\}\s*$/.exec(query)?.[1];
  if (inside === undefined) return query.trim() ? undefined : out;
  for (const part of inside.split(/\s*&&\s*/).filter(Boolean)) {
    const value = /=\s*("(?:\\.|[^"\\])*")$/.exec(part)?.[1];
    if (/^resource\.service\.name\s*=\s*"/.test(part) && value) out.service = JSON.parse(value) as string;
    else if (/^name\s*=\s*"/.test(part) && value) out.name = JSON.parse(value) as string;
    else if (/^status\s*=\s*error$/.test(part)) out.failed = true;
    else if (/^duration\s*>\s*\d+(\.\d+)?(ns|us|µs|ms|s|m|h)$/.test(part)) out.longer = part.replace(/^duration\s*>\s*/, '');
    else return undefined;
  }
  return out;
}

const SCOPED = /^(span|resource|event|link|instrumentation)$/;

export type Typing = { kind: 'name'; from: number; prefix: string } | { kind: 'value'; from: number; prefix: string; tag: string; quoted: boolean } | { kind: 'none' };

/** What is being typed at the end of a text. */
export function typing(before: string): Typing {
  const open = before.lastIndexOf('{');
  if (open < 0 || before.indexOf('}', open) >= 0) return { kind: 'none' };
  const inside = before.slice(open + 1);
  const value = /([a-zA-Z_][\w.:/-]*|\.[\w.:/-]+)\s*(=~|!~|!=|>=|<=|=|>|<)\s*("(?:\\.|[^"\\])*|[\w.]*)$/.exec(inside);
  if (value) {
    const typed = value[3] ?? '';
    const quoted = typed.startsWith('"');
    return { kind: 'value', from: before.length - typed.length + (quoted ? 1 : 0), prefix: quoted ? typed.slice(1) : typed, tag: value[1] ?? '', quoted };
  }
  const name = /(?:^|&&|\|\||[(!])\s*([a-zA-Z_.][\w.:/-]*)?$/.exec(inside);
  if (!name) return { kind: 'none' };
  const prefix = name[1] ?? '';
  return { kind: 'name', from: before.length - prefix.length, prefix };
}

// Names beyond these characters are quoted after their scope.
const scoped = (scope: string, name: string) => (/^[\w./-]+$/.test(name) ? `${scope}.${name}` : `${scope}.${text(name)}`);

export async function completeTraces(query: string, at: number): Promise<Completion | undefined> {
  const now = typing(query.slice(0, at));
  if (now.kind === 'none') return query.trim() ? undefined : { from: 0, items: [{ text: '{ … }', insert: '{ }', back: 2, help: 'spans by their attributes', again: true }] };
  if (now.kind === 'name') {
    const scopes = await once('trace tags', () => tempo.tags());
    const names = scopes.flatMap((s) => s.tags.map((tag): Suggested => {
      const full = SCOPED.test(s.name) ? scoped(s.name, tag) : tag;
      return { text: full, insert: `${full} = `, kind: s.name, again: true };
    }));
    return { from: now.from, items: ranked(names, now.prefix) };
  }
  const values = await once(`trace values ${now.tag}`, () => tempo.values(now.tag));
  const items = values.map((v): Suggested => ({ text: v.value, insert: v.type === 'string' ? (now.quoted ? JSON.stringify(v.value).slice(1, -1) : JSON.stringify(v.value)) : v.value, kind: v.type === 'string' ? '' : v.type }));
  return { from: now.from, items: ranked(items, now.prefix) };
}

/** Hexadecimal ids of traces in what applications write. */
const NAMES = /["']?\b(?:trace_?id|traceId|traceID|dd\.trace_id|TraceId)["']?\s*[=:]\s*["']?([0-9a-fA-F]{16,32})\b/;

/** The trace that labels or a line name. */
export function traceIn(labels: Record<string, string>, line = ''): string | undefined {
  for (const name of ['trace_id', 'traceID', 'traceId', 'TraceID', 'traceid']) {
    const value = labels[name];
    if (value && /^[0-9a-fA-F]{1,32}$/.test(value)) return value.toLowerCase();
  }
  const named = NAMES.exec(line)?.[1];
  // `00-<trace>-<span>-01`, as W3C writes it.
  return (named ?? /\b00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\b/.exec(line)?.[1])?.toLowerCase();
}
