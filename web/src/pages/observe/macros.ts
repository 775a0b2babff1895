// What dashboards write for the step and the range: `$__rate_interval`, `$__interval`, `$__range`.

import { lengthText, type Span } from './range';

export interface Steps { step: number; span: Span; /** Seconds between scrapes; rates need four of them. */ scrape?: number }

export const SCRAPE_S = 15;

export const rateInterval = ({ step, scrape = SCRAPE_S }: Steps) => Math.max(step + scrape, 4 * scrape);

export function macros(steps: Steps): Record<string, string> {
  const range = Math.max(1, Math.round((steps.span.to - steps.span.from) / 1000));
  return {
    __interval: lengthText(steps.step * 1000), __interval_ms: String(Math.round(steps.step * 1000)),
    __rate_interval: lengthText(rateInterval(steps) * 1000),
    __range: `${range}s`, __range_s: String(range), __range_ms: String(range * 1000),
    __from: String(Math.round(steps.span.from)), __to: String(Math.round(steps.span.to)),
  };
}

/** Fills in the macros alone; other variables stay as they are. */
export function expand(text: string, steps: Steps): string {
  const known = macros(steps);
  return text.replace(/\$\{(__\w+)\}|\$(__\w+)/g, (whole, braced?: string, plain?: string) => known[braced ?? plain ?? ''] ?? whole);
}
