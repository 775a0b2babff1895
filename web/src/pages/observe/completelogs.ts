// Completion of LogQL: labels and values of streams, stages after a bar.

import { loki } from '../../api/loki';
import { once, ranked, type Completion, type Suggested } from './complete';
import { typing } from './promql';

const STAGES: [string, string][] = [
  ['json', 'fields of JSON lines'], ['logfmt', 'fields of key=value lines'], ['regexp ""', 'fields by a regular expression'], ['pattern ""', 'fields by a pattern'], ['unpack', 'lines that were packed'],
  ['line_format ""', 'another text for the line'], ['label_format ', 'other labels'], ['drop ', 'without labels'], ['keep ', 'only these labels'], ['decolorize', 'without colours of terminals'], ['unwrap ', 'a field as the value'],
];

export async function completeLogs(text: string, at: number): Promise<Completion | undefined> {
  const stage = /\|\s*([a-z_]*)$/.exec(text.slice(0, at));
  if (stage) return { from: at - (stage[1]?.length ?? 0), items: ranked(STAGES.map(([name, help]): Suggested => ({ text: name.replace(/ ?"?"?$/, ''), insert: name, help, ...(name.endsWith('"') ? { back: 1 } : {}) })), stage[1] ?? '') };
  const now = typing(text, at);
  if (now.kind === 'label') {
    const names = await once('log labels', () => loki.labels());
    return { from: now.from, items: ranked(names.map((n): Suggested => ({ text: n, insert: `${n}=""`, back: 1, again: true })), now.prefix) };
  }
  if (now.kind === 'value') {
    const values = await once(`log values ${now.label} ${now.selector}`, () => loki.values(now.label, now.selector || undefined));
    return { from: now.from, items: ranked(values.map((v): Suggested => ({ text: v, insert: JSON.stringify(v).slice(1, -1) })), now.prefix) };
  }
  return undefined;
}
