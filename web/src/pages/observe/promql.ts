// As much of PromQL as an editor needs: tokens for colours, what is being typed for completion.
// The server's parser judges; this one never refuses anything.

export type TokenKind = 'space' | 'comment' | 'string' | 'number' | 'function' | 'keyword' | 'name' | 'label' | 'variable' | 'punct';
export interface Token { kind: TokenKind; from: number; to: number; text: string }

/** Name, arguments, what it does. */
export const FUNCTIONS: Record<string, [string, string]> = {
  rate: ['range', 'per-second increase of a counter over the range'], irate: ['range', 'per-second increase between the last two samples'], increase: ['range', 'increase of a counter over the range'],
  delta: ['range', 'difference of a gauge over the range'], idelta: ['range', 'difference between the last two samples'], deriv: ['range', 'per-second slope of a gauge'], predict_linear: ['range, seconds', 'value of a gauge in the future, by its slope'],
  resets: ['range', 'how often a counter was reset'], changes: ['range', 'how often the value changed'], holt_winters: ['range, sf, tf', 'smoothed value'], double_exponential_smoothing: ['range, sf, tf', 'smoothed value'],
  histogram_quantile: ['φ, buckets', 'quantile of a histogram'], histogram_avg: ['histogram', 'average of what was observed'], histogram_count: ['histogram', 'number of observations'], histogram_sum: ['histogram', 'sum of observations'], histogram_fraction: ['lower, upper, histogram', 'share of observations between two values'], histogram_stddev: ['histogram', 'standard deviation'], histogram_stdvar: ['histogram', 'variance'],
  avg_over_time: ['range', 'average over time'], min_over_time: ['range', 'smallest value over time'], max_over_time: ['range', 'largest value over time'], sum_over_time: ['range', 'sum over time'], count_over_time: ['range', 'number of samples'], quantile_over_time: ['φ, range', 'quantile over time'], stddev_over_time: ['range', 'standard deviation over time'], stdvar_over_time: ['range', 'variance over time'], last_over_time: ['range', 'last value'], first_over_time: ['range', 'first value'], present_over_time: ['range', '1 where there was a sample'], absent_over_time: ['range', '1 where there was none'], mad_over_time: ['range', 'median absolute deviation'], ts_of_max_over_time: ['range', 'time of the largest value'], ts_of_min_over_time: ['range', 'time of the smallest value'], ts_of_last_over_time: ['range', 'time of the last sample'],
  absent: ['vector', '1 where there is no series'], abs: ['vector', 'absolute value'], ceil: ['vector', 'rounded up'], floor: ['vector', 'rounded down'], round: ['vector, to', 'rounded'], clamp: ['vector, min, max', 'kept between two values'], clamp_min: ['vector, min', 'at least'], clamp_max: ['vector, max', 'at most'],
  exp: ['vector', 'e to the power'], ln: ['vector', 'natural logarithm'], log2: ['vector', 'logarithm to base 2'], log10: ['vector', 'logarithm to base 10'], sqrt: ['vector', 'square root'], sgn: ['vector', 'sign'],
  label_replace: ['vector, new, value, old, regex', 'sets a label from another'], label_join: ['vector, new, separator, labels…', 'joins labels'], info: ['vector, selector', 'adds labels of info metrics'],
  sort: ['vector', 'by value'], sort_desc: ['vector', 'by value, largest first'], sort_by_label: ['vector, labels…', 'by labels'], sort_by_label_desc: ['vector, labels…', 'by labels, last first'],
  scalar: ['vector', 'the one value as a number'], vector: ['scalar', 'a number as a vector'], time: ['', 'now in seconds'], timestamp: ['vector', 'time of the samples'], pi: ['', '3.14159…'],
  minute: ['vector', 'of the hour'], hour: ['vector', 'of the day'], day_of_week: ['vector', '0 is Sunday'], day_of_month: ['vector', 'from 1'], day_of_year: ['vector', 'from 1'], days_in_month: ['vector', '28 to 31'], month: ['vector', 'from 1'], year: ['vector', 'of the time'],
  sin: ['vector', 'sine'], cos: ['vector', 'cosine'], tan: ['vector', 'tangent'], asin: ['vector', 'arc sine'], acos: ['vector', 'arc cosine'], atan: ['vector', 'arc tangent'], sinh: ['vector', ''], cosh: ['vector', ''], tanh: ['vector', ''], asinh: ['vector', ''], acosh: ['vector', ''], atanh: ['vector', ''], deg: ['vector', 'radians to degrees'], rad: ['vector', 'degrees to radians'],
};
export const AGGREGATIONS: Record<string, string> = {
  sum: 'adds up', avg: 'average', min: 'smallest', max: 'largest', count: 'how many', topk: 'the k largest', bottomk: 'the k smallest', quantile: 'quantile over series', stddev: 'standard deviation', stdvar: 'variance', group: '1 for each group', count_values: 'how many have each value', limitk: 'any k series', limit_ratio: 'a share of the series',
};
const GROUPING = ['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'];
const KEYWORDS = new Set([...GROUPING, 'and', 'or', 'unless', 'atan2', 'bool', 'offset', 'start', 'end', 'inf', 'nan', 'fill', 'fill_left', 'fill_right', 'smoothed', 'anchored', 'step', 'range']);

const SHAPES: [TokenKind, RegExp][] = [
  ['space', /\s+/y], ['comment', /#[^\n]*/y],
  ['string', /"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|`[^`]*`?/y],
  ['variable', /\$\{[^}]*\}?|\$\w+|\[\[\w+\]\]/y],
  ['number', /0[xX][0-9a-fA-F]+|(?:\d+(?:ms|[smhdwy]))+\b|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y],
  ['name', /[a-zA-Z_:][a-zA-Z0-9_:]*/y], ['punct', /=~|!~|!=|==|<=|>=|[\s\S]/y],
];

export function tokens(query: string): Token[] {
  const out: Token[] = [];
  let at = 0;
  let braces = 0;
  let group = false;
  while (at < query.length) {
    for (const [shape, pattern] of SHAPES) {
      pattern.lastIndex = at;
      const found = pattern.exec(query);
      if (!found) continue;
      const text = found[0];
      let kind = shape;
      if (kind === 'name') {
        const low = text.toLowerCase();
        const call = /^\s*\(/.test(query.slice(at + text.length));
        if (braces || group) kind = 'label';
        else if ((low in FUNCTIONS && call) || (low in AGGREGATIONS && /^\s*(\(|by\b|without\b)/i.test(query.slice(at + text.length)))) kind = 'function';
        else if (KEYWORDS.has(low)) kind = 'keyword';
      }
      if (text === '{') braces += 1;
      if (text === '}') braces = Math.max(0, braces - 1);
      if (text === ')') group = false;
      if (text === '(') {
        const before = out.findLast((t) => t.kind !== 'space');
        group = before?.kind === 'keyword' && GROUPING.includes(before.text.toLowerCase());
      }
      out.push({ kind, from: at, to: at + text.length, text });
      at += text.length;
      break;
    }
  }
  return out;
}

export type Typing =
  | { kind: 'metric'; from: number; prefix: string }
  | { kind: 'label'; from: number; prefix: string; /** The selector so far, to ask which labels it has. */ selector: string }
  | { kind: 'value'; from: number; prefix: string; label: string; selector: string }
  | { kind: 'none' };

/** What is being typed at a place of the query. */
export function typing(query: string, at: number): Typing {
  const before = tokens(query.slice(0, at)).filter((t) => t.kind !== 'space');
  const last = before.at(-1);
  if (!last) return at === 0 ? { kind: 'metric', from: 0, prefix: '' } : { kind: 'none' };
  if (last.kind === 'comment' || last.kind === 'variable') return { kind: 'none' };
  const word = last.to === at && (last.kind === 'name' || last.kind === 'label' || last.kind === 'function' || last.kind === 'keyword');
  const prefix = word ? last.text : '';
  const from = word ? last.from : at;
  const open = opening(before);
  if (open?.text === '{') {
    const inside = before.slice(before.indexOf(open) + 1);
    const selector = selectorOf(before, open);
    const string = last.kind === 'string' && last.to === at && unfinished(last.text) ? last : undefined;
    const operator = inside.at(string ? -2 : -1)?.text ?? '';
    if (string && ['=', '!=', '=~', '!~'].includes(operator)) return { kind: 'value', from: string.from + 1, prefix: string.text.slice(1), label: unquoted(inside.at(-3)?.text ?? ''), selector };
    if (['{', ','].includes(before.at(word ? -2 : -1)?.text ?? '')) return { kind: 'label', from, prefix, selector };
    return { kind: 'none' };
  }
  if (open?.text === '[' || last.kind === 'string' || last.kind === 'number') return { kind: 'none' };
  if (open?.text === '(') {
    const keyword = before[before.indexOf(open) - 1];
    if (keyword?.kind === 'keyword' && GROUPING.includes(keyword.text.toLowerCase())) return { kind: 'label', from, prefix, selector: anySelector(query) };
  }
  if (!word && last.to === at && /^[)\]}]$/.test(last.text)) return { kind: 'none' };
  return { kind: 'metric', from, prefix };
}

const unfinished = (text: string) => text.length === 1 || text.at(-1) !== text[0] || text.at(-2) === '\\';
const unquoted = (text: string) => (/^["'`]/.test(text) ? text.slice(1, -1) : text);

/** The bracket that is open at the end. */
function opening(all: Token[]): Token | undefined {
  let depth = 0;
  for (const token of all.toReversed()) {
    if (token.kind !== 'punct') continue;
    if (/^[)\]}]$/.test(token.text)) depth += 1;
    else if (/^[([{]$/.test(token.text)) {
      if (depth === 0) return token;
      depth -= 1;
    }
  }
  return undefined;
}

/** The metric and the finished matchers before the one that is typed. */
function selectorOf(all: Token[], open: Token): string {
  const at = all.indexOf(open);
  const name = all[at - 1];
  const metric = name?.kind === 'name' && name.to === open.from ? name.text : '';
  const matchers: string[] = [];
  const inside = all.slice(at + 1);
  for (let i = 0; i + 2 < inside.length; i++) {
    const [label, operator, value] = inside.slice(i, i + 3);
    if (label?.kind === 'label' && ['=', '!=', '=~', '!~'].includes(operator?.text ?? '') && value?.kind === 'string' && !unfinished(value.text)) matchers.push(`${label.text}${operator?.text}${value.text}`);
  }
  return metric || matchers.length ? `${metric}${matchers.length ? `{${matchers.join(',')}}` : ''}` : '';
}

/** A selector of the query whose labels a grouping may name. */
function anySelector(query: string): string {
  const found = tokens(query).find((t) => t.kind === 'name');
  return found ? found.text : '';
}

/** A first query for a metric: what one wants to see of its kind. */
export function firstQuery(name: string, type: string): string {
  const quoted = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name) ? name : `{${JSON.stringify(name)}}`;
  if (type === 'histogram' && !name.endsWith('_bucket')) return `histogram_quantile(0.95, sum by (le) (rate(${name}_bucket[$__rate_interval])))`;
  if (/_bucket$/.test(name)) return `histogram_quantile(0.95, sum by (le) (rate(${quoted}[$__rate_interval])))`;
  if (type === 'counter' || /_(total|count|sum)$/.test(name)) return `rate(${quoted}[$__rate_interval])`;
  return quoted;
}

/** Adds an equality to the first selector that a metric has, for filtering by a click. */
export function withMatcher(query: string, metric: string, label: string, value: string, operator: '=' | '!=' = '='): string {
  const matcher = `${label}${operator}${JSON.stringify(value)}`;
  const all = tokens(query);
  const at = all.findIndex((t) => t.kind === 'name' && (!metric || t.text === metric));
  const name = all[at];
  if (!name) return query;
  const next = all[at + 1];
  if (next?.text !== '{') return `${query.slice(0, name.to)}{${matcher}}${query.slice(name.to)}`;
  const empty = all[at + 2]?.text === '}';
  return `${query.slice(0, next.to)}${matcher}${empty ? '' : ', '}${query.slice(next.to)}`;
}
