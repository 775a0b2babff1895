// Range queries of a chart: asked together, taken back when the question changes, the last good
// answer stays while the next one is awaited.

import { prometheus, SignalError, type ExemplarRun, type Run } from '../../api/prometheus';
import { frameOf, number, type Frame, type Source } from '../../chart/frame';
import { expand, type Steps } from './macros';
import { aligned, type Span } from './range';

export interface Question { expr: string; legend?: string | undefined; unit?: string | undefined; /** Seconds; longer than the common step where a panel wants fewer points. */ instant?: boolean }
export interface Exemplified { at: number; value: number; labels: Record<string, string> }

export interface Asked {
  readonly frame: Frame | undefined;
  readonly errors: (SignalError | undefined)[];
  readonly notes: string[];
  readonly loading: boolean;
  readonly exemplars: Exemplified[];
}

// More lines than this are neither drawn nor read.
export const LINES_MAX = 100;

export function problem(error: unknown): SignalError {
  return error instanceof SignalError ? error : new SignalError(0, 'client', error instanceof Error ? error.message : String(error));
}

export function runsOf(result: { resultType: string; result: unknown }): Run[] {
  if (result.resultType === 'matrix') return result.result as Run[];
  throw new SignalError(200, 'format', `The answer is a ${result.resultType}, not a range of values.`);
}

export function asked(input: () => { questions: Question[]; span: Span; step: number; exemplars?: boolean } | undefined): Asked {
  let frame = $state.raw<Frame | undefined>();
  let errors = $state.raw<(SignalError | undefined)[]>([]);
  let notes = $state.raw<string[]>([]);
  let loading = $state(false);
  let exemplars = $state.raw<Exemplified[]>([]);

  async function run(questions: Question[], steps: Steps, signal: AbortSignal, withExemplars: boolean) {
    const { start, end } = aligned(steps.span, steps.step);
    loading = true;
    const failed: (SignalError | undefined)[] = questions.map(() => undefined);
    const said = new Set<string>();
    const sources = await Promise.all(questions.map(async (q, i): Promise<Source> => {
      if (!q.expr.trim()) return { runs: [] };
      try {
        const answer = await prometheus.range(expand(q.expr, steps), start, end, steps.step, signal);
        for (const note of [...answer.warnings, ...answer.infos]) said.add(note);
        return { runs: runsOf(answer.data), ref: questions.length > 1 ? `${i}\u0002` : '', ...(q.legend ? { legend: q.legend } : {}), ...(q.unit ? { unit: q.unit } : {}) };
      } catch (error) {
        if (!signal.aborted) failed[i] = problem(error);
        return { runs: [] };
      }
    }));
    if (signal.aborted) return;
    frame = frameOf(sources, start, end, steps.step);
    errors = failed;
    notes = [...said];
    loading = false;
    exemplars = [];
    if (!withExemplars) return;
    const found = await Promise.all(questions.filter((q, i) => !failed[i] && /_(bucket|total|count)\b/.test(q.expr)).map((q) => prometheus.exemplars(expand(q.expr, steps), start, end, signal).then((a) => a.data, (): ExemplarRun[] => [])));
    // Questions of one chart are often about the same series.
    const once = new Map<string, Exemplified>();
    for (const r of found.flat()) for (const e of r.exemplars) once.set(JSON.stringify([e.timestamp, e.value, e.labels]), { at: e.timestamp * 1000, value: number(e.value), labels: { ...r.seriesLabels, ...e.labels } });
    if (!signal.aborted) exemplars = [...once.values()];
  }

  $effect(() => {
    const wanted = input();
    if (!wanted) return undefined;
    const control = new AbortController();
    void run(wanted.questions, { step: wanted.step, span: wanted.span }, control.signal, wanted.exemplars ?? false);
    return () => control.abort();
  });
  return {
    get frame() { return frame; },
    get errors() { return errors; },
    get notes() { return notes; },
    get loading() { return loading; },
    get exemplars() { return exemplars; },
  };
}
