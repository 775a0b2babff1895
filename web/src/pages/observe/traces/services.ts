// Services without a query: how much they are asked, how much of it fails, how long it takes,
// from the metrics that are derived from spans.

import { prometheus, type Instant } from '../../../api/prometheus';
import { number } from '../../../chart/frame';
import { expand } from '../macros';
import type { Span } from '../range';
import type { Suggestion } from '../start';

export interface Figures { name: string; kind?: string; rate: number; failed: number; median: number; slow: number }

const CALLS = 'traces_spanmetrics_calls_total';
const LATENCY = 'traces_spanmetrics_latency_bucket';
// What others ask of a service; what it does inside and asks of others is left out.
const ASKED = 'span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"';
const FAILED = 'status_code="STATUS_CODE_ERROR"';

function questions(matchers: string, by: string): Record<'rate' | 'failed' | 'median' | 'slow', string> {
  const within = '[$__range]';
  return {
    rate: `sum by (${by}) (rate(${CALLS}{${matchers}}${within}))`,
    failed: `sum by (${by}) (rate(${CALLS}{${matchers}, ${FAILED}}${within})) / sum by (${by}) (rate(${CALLS}{${matchers}}${within}))`,
    median: `histogram_quantile(0.5, sum by (${by}, le) (rate(${LATENCY}{${matchers}}${within})))`,
    slow: `histogram_quantile(0.95, sum by (${by}, le) (rate(${LATENCY}{${matchers}}${within})))`,
  };
}

/** Rows of answers of the four questions, the busiest first. */
export function rows(by: string, answers: Record<'rate' | 'failed' | 'median' | 'slow', Instant[]>): Figures[] {
  const value = (all: Instant[], name: string, kind: string) => {
    const found = all.find((i) => (i.metric[by] ?? '') === name && (i.metric.span_kind ?? '') === kind);
    return found?.value ? number(found.value[1]) : NaN;
  };
  return answers.rate.map(({ metric }): Figures => {
    const [name, kind] = [metric[by] ?? '', metric.span_kind ?? ''];
    const failed = value(answers.failed, name, kind);
    return { name, ...(kind ? { kind } : {}), rate: value(answers.rate, name, kind), failed: Number.isFinite(failed) ? failed : 0, median: value(answers.median, name, kind), slow: value(answers.slow, name, kind) };
  // One that was asked too seldom for a rate is there all the same.
  }).filter((f) => f.name && f.rate >= 0).sort((a, b) => b.rate - a.rate || (a.name < b.name ? -1 : 1));
}

async function asked(matchers: string, by: string, kind: boolean, span: Span, step: number, signal: AbortSignal): Promise<Figures[]> {
  const all = questions(matchers, kind ? `${by}, span_kind` : by);
  const one = async (q: string) => {
    const answer = await prometheus.query(expand(q, { span, step }), span.to / 1000, signal);
    return answer.data.resultType === 'vector' ? answer.data.result : [];
  };
  const [rate, failed, median, slow] = await Promise.all([one(all.rate), one(all.failed), one(all.median), one(all.slow)]);
  return rows(by, { rate, failed, median, slow });
}

export const services = (span: Span, step: number, signal: AbortSignal) => asked(ASKED, 'service', false, span, step, signal);
export const operations = (service: string, span: Span, step: number, signal: AbortSignal) => asked(`service=${JSON.stringify(service)}`, 'span_name', true, span, step, signal);

/** Charts of a service: rate, errors, duration. */
export function charts(service: string): Suggestion[] {
  const mine = `service=${JSON.stringify(service)}, ${ASKED}`;
  const quantile = (q: number) => `histogram_quantile(${q}, sum by (le) (rate(${LATENCY}{${mine}}[$__rate_interval])))`;
  return [
    { title: 'Requests per second', queries: [`sum by (span_name) (rate(${CALLS}{${mine}}[$__rate_interval]))`], legends: ['{{span_name}}'], unit: 'reqps', kind: 'stacked' },
    { title: 'Share of failed requests', queries: [`(sum(rate(${CALLS}{${mine}, ${FAILED}}[$__rate_interval])) or vector(0)) / sum(rate(${CALLS}{${mine}}[$__rate_interval]))`], legends: ['failed'], unit: 'percentunit', kind: 'area' },
    { title: 'Duration of requests', queries: [quantile(0.5), quantile(0.95), quantile(0.99)], legends: ['half are faster', '95 % are faster', '99 % are faster'], unit: 's', kind: 'line' },
  ];
}
