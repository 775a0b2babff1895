// What a panel shows, asked for when it comes into view and again when anything it uses changes.

import { loki, nanos } from '../api/loki';
import { prometheus, type Instant } from '../api/prometheus';
import { frameOf, type Frame, type Source } from '../chart/frame';
import { problem, runsOf } from '../pages/observe/asked.svelte';
import { linesOf, type LogLine } from '../pages/observe/logs';
import { aligned, lengthMs, stepFor } from '../pages/observe/range';
import type { Steps } from '../pages/observe/macros';
import type { Panel, Target } from './model';
import { interpolate, type Values } from './variables';

export interface Shown { frame: Frame; instants: { ref: string; legend: string; results: Instant[] }[]; lines: LogLine[]; errors: string[]; absent: boolean; notes: string[] }

const LINES = 200;

/** The step of a panel: about one point for every two pixels, not finer than it asks for. */
export function stepsOf(panel: Panel, span: Steps['span']): Steps {
  const least = lengthMs(panel.minStep.replace(/^>/, ''));
  return { span, step: stepFor(span, panel.kind === 'heatmap' ? 60 : panel.draw === 'bars' ? 90 : Math.max(60, Math.round((panel.w / 24) * 480)), least ? Math.max(1, least / 1000) : 5) };
}

async function load(panel: Panel, steps: Steps, values: Values, signal: AbortSignal): Promise<Shown> {
  const { start, end } = aligned(steps.span, steps.step);
  const out: Shown = { frame: frameOf([], start, end, steps.step), instants: [], lines: [], errors: [], absent: false, notes: [] };
  const sources: Source[] = [];
  const one = async (t: Target, i: number) => {
    const expr = interpolate(t.expr, values, steps);
    const legend = interpolate(t.legend, values, steps, 'text');
    try {
      if (t.signal === 'logs' && panel.kind === 'logs') {
        const answer = await loki.range(expr, nanos(steps.span.from), nanos(steps.span.to), LINES, 'backward', undefined, signal);
        if (answer.resultType === 'streams') out.lines.push(...linesOf(answer.result));
      } else if (t.signal === 'logs') {
        const answer = await loki.range(expr, nanos(start * 1000), nanos(end * 1000), LINES, 'backward', steps.step, signal);
        if (answer.resultType === 'matrix') sources[i] = { runs: answer.result, ref: t.ref, legend };
      } else if (t.instant || panel.kind === 'table') {
        const answer = await prometheus.query(expr, steps.span.to / 1000, signal);
        out.notes.push(...answer.warnings, ...answer.infos);
        const { data } = answer;
        out.instants[i] = { ref: t.ref, legend, results: data.resultType === 'vector' ? data.result : data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : [] };
      } else {
        const answer = await prometheus.range(expr, start, end, steps.step, signal);
        out.notes.push(...answer.warnings, ...answer.infos);
        sources[i] = { runs: runsOf(answer.data), ref: t.ref, legend };
      }
    } catch (error) {
      if (signal.aborted) return;
      const found = problem(error);
      if (found.absent) out.absent = true;
      else out.errors.push(`${panel.targets.length > 1 ? `${t.ref}: ` : ''}${found.message}`);
    }
  };
  await Promise.all(panel.targets.map(one));
  out.frame = frameOf(sources.filter(Boolean), start, end, steps.step);
  out.instants = out.instants.filter(Boolean);
  out.notes = [...new Set(out.notes)];
  return out;
}

export function panelData(input: () => { panel: Panel; steps: Steps; values: Values; seen: boolean }): { readonly shown: Shown | undefined; readonly loading: boolean } {
  let shown = $state.raw<Shown | undefined>();
  let loading = $state(false);
  $effect(() => {
    const { panel, steps, values, seen } = input();
    if (!seen || panel.targets.length === 0) return undefined;
    const control = new AbortController();
    loading = true;
    void load(panel, steps, values, control.signal).then((found) => {
      if (control.signal.aborted) return;
      shown = found;
      loading = false;
    });
    return () => control.abort();
  });
  return {
    get shown() { return shown; },
    get loading() { return loading; },
  };
}
