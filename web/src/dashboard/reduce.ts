// From series to what panels show: one number each, a tone, a table, buckets of a heat map.

import type { Instant, Labels } from '../api/prometheus';
import { fill, nameOf, shared } from '../chart/colours';
import { number, type Frame } from '../chart/frame';
import { format } from '../chart/units';
import type { Calc, Mapping, Override, Panel, Step, Tone } from './model';

export interface Figure { name: string; labels: Labels; value: number; spark?: Float64Array; unit: string; decimals?: number | undefined }

/** One number of many. */
export function calculate(values: ArrayLike<number>, calc: Calc): number {
  const all = Array.from(values);
  const some = all.filter(Number.isFinite);
  const sum = () => some.reduce((a, b) => a + b, 0);
  switch (calc) {
    case 'last': return all.at(-1) ?? NaN;
    case 'lastNotNull': return some.at(-1) ?? NaN;
    case 'first': return some[0] ?? NaN;
    case 'mean': return some.length ? sum() / some.length : NaN;
    case 'min': return some.length ? Math.min(...some) : NaN;
    case 'max': return some.length ? Math.max(...some) : NaN;
    case 'sum': return some.length ? sum() : NaN;
    case 'count': return some.length;
    case 'range': return some.length ? Math.max(...some) - Math.min(...some) : NaN;
    case 'diff': return some.length ? (some.at(-1) ?? 0) - (some[0] ?? 0) : NaN;
  }
}

export function overrideFor(overrides: Override[], name: string, ref = ''): Override {
  let out: Override = {};
  for (const o of overrides) if (o.name === name || o.pattern?.test(name) || (o.ref !== undefined && o.ref === ref)) out = { ...out, ...o };
  return out;
}

/** The tone of a value by the thresholds that it has passed. */
export function toneFor(value: number, steps: Step[], percentage = false, min = 0, max = 100): Tone {
  if (!Number.isFinite(value)) return 'plain';
  const at = percentage ? ((value - min) / (max - min || 1)) * 100 : value;
  return steps.filter((s) => at >= s.at).toSorted((a, b) => a.at - b.at).at(-1)?.tone ?? 'plain';
}

/** A value in the panel's words. */
export function say(value: number, panel: Pick<Panel, 'mappings' | 'unit' | 'decimals'>, own: { unit?: string | undefined; decimals?: number | undefined } = {}): { text: string; tone?: Tone } {
  const raw = Number.isNaN(value) ? 'null' : String(value);
  const found = panel.mappings.find((m: Mapping) => m.match(value, raw));
  const text = found?.text ?? (Number.isNaN(value) ? 'No data' : format(value, own.unit ?? panel.unit, own.decimals ?? panel.decimals));
  return { text, ...(found?.tone ? { tone: found.tone } : {}) };
}

/** Numbers of a frame's lines. */
export function figuresOf(frame: Frame, panel: Panel): Figure[] {
  return frame.lines.map((line) => ({ name: line.name, labels: line.labels, value: calculate(line.values, panel.calc), spark: line.values, unit: line.unit ?? panel.unit }));
}

/** Numbers of an instant answer. */
export function figuresAt(results: Instant[], legend: string, unit: string): Figure[] {
  const common = shared(results.map((r) => r.metric));
  return results.map((r) => ({ name: legend ? fill(legend, r.metric) : nameOf(r.metric, common), labels: r.metric, value: number(r.value?.[1] ?? 'NaN'), unit }));
}

export interface Grid { columns: string[]; rows: { cells: Record<string, string | number> }[] }

/** Instant answers side by side: rows with the same labels are one, each query has a column. */
export function gridOf(answers: { ref: string; results: Instant[] }[], panel: Panel): Grid {
  const rows = new Map<string, Record<string, string | number>>();
  const names = new Set<string>();
  const several = answers.length > 1;
  for (const { ref, results } of answers) {
    const column = several ? `Value #${ref}` : 'Value';
    for (const r of results) {
      const labels = Object.entries(r.metric).filter(([n]) => n !== '__name__').sort();
      const key = JSON.stringify(labels);
      const row = rows.get(key) ?? Object.fromEntries(labels);
      for (const [n] of labels) names.add(n);
      row[column] = number(r.value?.[1] ?? 'NaN');
      rows.set(key, row);
    }
  }
  const { rename, without, order } = panel.columns;
  const columns = [...[...names].sort(), ...answers.map(({ ref }) => (several ? `Value #${ref}` : 'Value'))]
    .filter((c) => !without.includes(c) && !overrideFor(panel.overrides, rename[c] ?? c).hidden)
    .sort((a, b) => (order[a] ?? 1000) - (order[b] ?? 1000));
  const title = (c: string) => overrideFor(panel.overrides, rename[c] ?? c).label ?? rename[c] ?? c;
  return { columns: columns.map(title), rows: [...rows.values()].map((row) => ({ cells: Object.fromEntries(columns.map((c) => [title(c), row[c] ?? ''])) })) };
}

export interface Heat { times: Float64Array; buckets: string[]; /** Per bucket, what fell into it at each time. */ cells: Float64Array[]; most: number }

/** Cumulative `le` buckets as counts for each of them; other series are rows as they are. */
export function heatOf(frame: Frame, unit: string): Heat {
  const bounds = frame.lines.map((l) => (l.labels.le === undefined ? NaN : number(l.labels.le)));
  const cumulative = bounds.length > 0 && bounds.every((b) => !Number.isNaN(b));
  const order = frame.lines.map((_, i) => i).sort((a, b) => (cumulative ? (bounds[a] ?? 0) - (bounds[b] ?? 0) : (frame.lines[a]?.name ?? '').localeCompare(frame.lines[b]?.name ?? '', 'en', { numeric: true })));
  let most = 0;
  const cells = order.map((at, n) => {
    const values = frame.lines[at]?.values ?? new Float64Array();
    const below = cumulative && n > 0 ? frame.lines[order[n - 1] ?? 0]?.values : undefined;
    return values.map((v, i) => {
      const own = Math.max(0, (Number.isFinite(v) ? v : 0) - (below && Number.isFinite(below[i]) ? (below[i] ?? 0) : 0));
      if (own > most) most = own;
      return own;
    });
  });
  return { times: frame.times, cells, most, buckets: order.map((at) => (cumulative ? `≤ ${format(bounds[at] ?? NaN, unit)}` : (frame.lines[at]?.name ?? ''))) };
}

export type Inline = { kind: 'text' | 'code' | 'strong' | 'em'; text: string } | { kind: 'link'; text: string; href: string };
export type Block = { kind: 'h'; level: number; inline: Inline[] } | { kind: 'p'; inline: Inline[] } | { kind: 'ul'; items: Inline[][] } | { kind: 'pre'; text: string };

/** As much of Markdown as notes on dashboards use; no HTML gets through. */
export function markdown(source: string): Block[] {
  const out: Block[] = [];
  for (const part of source.replace(/\r/g, '').split(/(```[\s\S]*?```)/)) {
    if (part.startsWith('```')) {
      out.push({ kind: 'pre', text: part.replace(/^```\w*\n?/, '').replace(/\n?```$/, '') });
      continue;
    }
    for (const block of part.split(/\n\s*\n/)) {
      let rest: string[] = [];
      const flush = () => {
        if (rest.join('').trim()) out.push({ kind: 'p', inline: inline(rest.join(' ')) });
        rest = [];
      };
      for (const line of block.split('\n')) {
        const head = /^(#{1,6})\s+(.*)$/.exec(line);
        const item = /^\s*(?:[-*+]|\d+\.)\s+(.*)$/.exec(line);
        if (head) {
          flush();
          out.push({ kind: 'h', level: head[1]?.length ?? 1, inline: inline(head[2] ?? '') });
        } else if (item) {
          flush();
          const before = out.at(-1);
          if (before?.kind === 'ul') before.items.push(inline(item[1] ?? ''));
          else out.push({ kind: 'ul', items: [inline(item[1] ?? '')] });
        } else rest.push(line.trim());
      }
      flush();
    }
  }
  return out;
}

function inline(text: string): Inline[] {
  const out: Inline[] = [];
  let at = 0;
  for (const m of text.matchAll(/`([^`]+)`|\*\*([^*]+)\*\*|(?<![\w*])[*_]([^*_]+)[*_](?!\w)|\[([^\]]+)\]\(([^)\s]+)\)/g)) {
    if (m.index > at) out.push({ kind: 'text', text: text.slice(at, m.index) });
    if (m[1] !== undefined) out.push({ kind: 'code', text: m[1] });
    else if (m[2] !== undefined) out.push({ kind: 'strong', text: m[2] });
    else if (m[3] !== undefined) out.push({ kind: 'em', text: m[3] });
    else if (/^(https?:\/\/|\/(?!\/))/.test(m[5] ?? '')) out.push({ kind: 'link', text: m[4] ?? '', href: m[5] ?? '' });
    else out.push({ kind: 'text', text: m[4] ?? '' });
    at = m.index + m[0].length;
  }
  if (at < text.length) out.push({ kind: 'text', text: text.slice(at) });
  return out;
}

/** HTML as the words in it. */
export const wordsOf = (html: string) => html.replace(/<(script|style)[\s\S]*?<\/\1>/gi, '').replace(/<(br|\/p|\/div|\/h\d|\/li)\b[^>]*>/gi, '\n\n').replace(/<[^>]*>/g, '').replace(/&(lt|gt|amp|quot|nbsp|#39);/g, (_, n: string) => ({ lt: '<', gt: '>', amp: '&', quot: '"', nbsp: ' ', '#39': "'" })[n] ?? '');
