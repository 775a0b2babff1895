// Variables: their values from the server, their formats in queries.

import { prometheus, type Labels } from '../api/prometheus';
import { expand, macros, type Steps } from '../pages/observe/macros';
import { regex } from './convert';
import { ALL, type Variable } from './model';

export interface Value { /** What was chosen; `$__all` alone for all. */ chosen: string[]; options: { text: string; value: string }[]; multi: boolean; all: boolean; allValue: string }
export type Values = Map<string, Value>;

const regexEscaped = (v: string) => v.replace(/[\\^$*+?.()|[\]{}/]/g, '\\$&');
// Inside a string of PromQL a backslash is written twice.
const promEscaped = (v: string) => regexEscaped(v).replaceAll('\\', '\\\\');

function selected(value: Value): string[] {
  return value.chosen.includes(ALL) ? value.options.map((o) => o.value) : value.chosen;
}

function formatted(value: Value, format: string): string {
  const all = value.chosen.includes(ALL);
  if (all && value.allValue && format !== 'text') return value.allValue;
  const values = selected(value);
  const words = values.map((v) => value.options.find((o) => o.value === v)?.text ?? v);
  switch (format) {
    case 'raw': return values.join(',');
    case 'csv': return values.join(',');
    case 'pipe': return values.join('|');
    case 'regex': return values.length === 1 ? regexEscaped(values[0] ?? '') : `(${values.map(regexEscaped).join('|')})`;
    case 'glob': return values.length === 1 ? (values[0] ?? '') : `{${values.join(',')}}`;
    case 'json': return JSON.stringify(values.length === 1 && !value.multi ? values[0] : values);
    case 'doublequote': return values.map((v) => `"${v.replaceAll('"', '\\"')}"`).join(',');
    case 'singlequote': return values.map((v) => `'${v.replaceAll("'", "\\'")}'`).join(',');
    case 'sqlstring': return values.map((v) => `'${v.replaceAll("'", "''")}'`).join(',');
    case 'percentencode': return encodeURIComponent(values.join(','));
    case 'text': return all ? 'All' : words.join(' + ');
    default:
      // What may be several is written as a pattern, as queries with =~ expect it.
      if (!value.multi && !value.all) return values[0] ?? '';
      return values.length === 1 ? promEscaped(values[0] ?? '') : `(${values.map(promEscaped).join('|')})`;
  }
}

const SHAPE = /\$\{(\w+)(?:\.[^}:]*)?(?::(\w+))?\}|\$(\w+)|\[\[(\w+)(?::(\w+))?\]\]/g;

/** Fills variables and macros in; what is not known stays as it is. */
export function interpolate(text: string, values: Values, steps: Steps, usual = ''): string {
  const known = macros(steps);
  const filled = text.replace(SHAPE, (whole, braced?: string, format?: string, plain?: string, square?: string, squareFormat?: string) => {
    const name = braced ?? plain ?? square ?? '';
    const value = values.get(name);
    if (value) return formatted(value, format ?? squareFormat ?? usual);
    return known[name] ?? whole;
  });
  // A variable may itself name a macro, as intervals do.
  return expand(filled, steps);
}

/** Names of the variables that a text uses. */
export function uses(text: string): string[] {
  return [...text.matchAll(SHAPE)].map((m) => m[1] ?? m[3] ?? m[4] ?? '');
}

/** Values that a variable's pattern keeps, or the parts of them that it names. */
export function filtered(values: string[], pattern: string): { text: string; value: string }[] {
  const found = pattern ? regex(pattern) : undefined;
  const all = values.flatMap((v): { text: string; value: string }[] => {
    if (!found) return [{ text: v, value: v }];
    const match = found.exec(v);
    if (!match) return [];
    const value = match.groups?.value ?? match.groups?.text ?? match[1] ?? match[0];
    return [{ text: match.groups?.text ?? value, value }];
  });
  return all.filter((o, i) => all.findIndex((p) => p.value === o.value) === i);
}

/** 0 as it comes, 1-2 by text, 3-4 by number, 5-6 without case, 7-8 naturally; even is downwards. */
export function sorted<T extends { text: string }>(options: T[], sort: number): T[] {
  if (sort < 1 || sort > 8) return options;
  const figureOf = (t: string) => Number(/(\d+(?:\.\d+)?)/.exec(t)?.[1] ?? -1);
  const order = (a: T, b: T) => (sort <= 2 ? (a.text < b.text ? -1 : a.text > b.text ? 1 : 0) : sort <= 4 ? figureOf(a.text) - figureOf(b.text) : sort <= 6 ? a.text.toLowerCase().localeCompare(b.text.toLowerCase()) : a.text.localeCompare(b.text, 'en', { numeric: true }));
  const up = options.toSorted(order);
  return sort % 2 ? up : up.reverse();
}

/** `label_values(up{job="a"}, instance)` as what to ask. */
export function question(query: string): { kind: 'label_values'; selector: string; label: string } | { kind: 'label_names'; selector: string } | { kind: 'metrics'; pattern: string } | { kind: 'query_result'; expr: string } | undefined {
  const call = /^\s*(label_values|label_names|metrics|query_result)\s*\(([\s\S]*)\)\s*$/.exec(query);
  const inside = call?.[2]?.trim() ?? '';
  switch (call?.[1]) {
    case 'label_values': {
      const pair = /^(?:([\s\S]+),)?\s*([a-zA-Z_][\w.]*)\s*$/.exec(inside);
      return pair ? { kind: 'label_values', selector: pair[1]?.trim() ?? '', label: pair[2] ?? '' } : undefined;
    }
    case 'label_names': return { kind: 'label_names', selector: inside };
    case 'metrics': return { kind: 'metrics', pattern: inside };
    case 'query_result': return { kind: 'query_result', expr: inside };
    default: return undefined;
  }
}

const MOST = 5000;

/** What a variable offers now, given the variables before it. */
export async function optionsOf(variable: Variable, values: Values, steps: Steps, signal?: AbortSignal): Promise<{ text: string; value: string }[]> {
  if (variable.kind !== 'query') return variable.options;
  const asked = question(interpolate(variable.query, values, steps));
  const window = { start: Math.floor(steps.span.from / 1000), end: Math.ceil(steps.span.to / 1000), limit: MOST, signal };
  let found: string[] = [];
  if (asked?.kind === 'label_values') found = (await prometheus.values(asked.label, { ...window, ...(asked.selector ? { match: [asked.selector] } : {}) })).data;
  else if (asked?.kind === 'label_names') found = (await prometheus.labels({ ...window, ...(asked.selector ? { match: [asked.selector] } : {}) })).data;
  else if (asked?.kind === 'metrics') {
    const pattern = regex(asked.pattern);
    found = (await prometheus.values('__name__', window)).data.filter((n) => !pattern || pattern.test(n));
  } else if (asked?.kind === 'query_result') {
    const { data } = await prometheus.query(asked.expr, steps.span.to / 1000, signal);
    if (data.resultType === 'vector') found = data.result.map((r) => `${shown(r.metric)} ${r.value?.[1] ?? ''} ${(r.value?.[0] ?? 0) * 1000}`);
  }
  return sorted(filtered(found, interpolate(variable.regex, values, steps)), variable.sort);
}

const shown = (labels: Labels) => `${labels.__name__ ?? ''}{${Object.entries(labels).filter(([n]) => n !== '__name__').map(([n, v]) => `${n}="${v}"`).join(',')}}`;

/** What is chosen: from the URL, else as saved, else the first; only what is offered. */
export function chosen(variable: Variable, options: { value: string }[], fromUrl: string[]): string[] {
  const wanted = fromUrl.length ? fromUrl : variable.current;
  if (variable.kind === 'textbox' || variable.kind === 'constant' || variable.kind === 'datasource') return wanted.length ? wanted : [''];
  if (wanted.includes(ALL) && variable.all) return [ALL];
  const offered = wanted.filter((w) => options.some((o) => o.value === w));
  if (offered.length) return variable.multi ? offered : offered.slice(0, 1);
  if (variable.all && !fromUrl.length) return [ALL];
  return options[0] ? [options[0].value] : [];
}
