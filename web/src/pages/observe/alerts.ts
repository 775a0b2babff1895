// Alerts as they are shown: what rules find and what was received of it, with silences.

import type { Matcher, ReceivedAlert, Route, Silence } from '../../api/alertmanager';
import type { LogLine } from './logs';
import type { Labels, Rule, RuleGroup } from '../../api/prometheus';

export interface Shown { key: string; name: string; word: 'Firing' | 'Pending' | 'Silenced' | 'Inhibited' | 'Muted'; severity: string; labels: Labels; summary: string; since: string; query: string; value: string; receivers: string[]; silences: string[]; runbook: string }

const key = (labels: Labels) => JSON.stringify(Object.entries(labels).sort());
const ORDER = ['Firing', 'Pending', 'Muted', 'Inhibited', 'Silenced'];
const SEVERITIES = ['critical', 'page', 'error', 'high', 'warning', 'medium', 'info', 'low', 'none'];
const rank = (s: string) => (SEVERITIES.indexOf(s) < 0 ? SEVERITIES.length : SEVERITIES.indexOf(s));
const said = (a: Labels) => a.summary ?? a.message ?? a.description ?? '';

/** Every alert once: what Alertmanager says of it, with query and value from its rule. */
export function shownOf(groups: RuleGroup[], received: ReceivedAlert[] | undefined): Shown[] {
  const out = new Map<string, Shown>();
  for (const rule of groups.flatMap((g) => g.rules)) {
    for (const a of rule.alerts ?? []) {
      if (a.state !== 'firing' && a.state !== 'pending') continue;
      out.set(key(a.labels), { key: key(a.labels), name: a.labels.alertname ?? rule.name, word: a.state === 'firing' ? 'Firing' : 'Pending', severity: a.labels.severity ?? '', labels: a.labels, summary: said(a.annotations), since: a.activeAt ?? '', query: rule.query, value: a.value, receivers: [], silences: [], runbook: a.annotations.runbook_url ?? '' });
    }
  }
  for (const a of received ?? []) {
    const before = out.get(key(a.labels));
    const { status } = a;
    const word = status.silencedBy.length ? 'Silenced' : status.inhibitedBy.length ? 'Inhibited' : status.mutedBy?.length ? 'Muted' : 'Firing';
    out.set(key(a.labels), {
      key: key(a.labels), name: a.labels.alertname ?? 'alert', word, severity: a.labels.severity ?? '', labels: a.labels, summary: said(a.annotations) || (before?.summary ?? ''), since: before?.since || a.startsAt,
      query: before?.query ?? '', value: before?.value ?? '', receivers: (a.receivers ?? []).map((r) => r.name), silences: status.silencedBy, runbook: a.annotations.runbook_url ?? '',
    });
  }
  return [...out.values()].sort((a, b) => ORDER.indexOf(a.word) - ORDER.indexOf(b.word) || rank(a.severity) - rank(b.severity) || a.name.localeCompare(b.name) || b.since.localeCompare(a.since));
}

/** The state of a rule in a word. */
export function wordOf(rule: Rule): string {
  if (rule.health === 'err') return 'Error';
  if (rule.type === 'recording') return rule.health === 'ok' ? 'Recording' : 'Unknown';
  if (rule.state === 'firing') return 'Firing';
  if (rule.state === 'pending') return 'Pending';
  return rule.health === 'unknown' ? 'Unknown' : 'Inactive';
}

export const sign = (m: Matcher) => (m.isEqual === false ? (m.isRegex ? '!~' : '!=') : m.isRegex ? '=~' : '=');
export const written = (m: Matcher) => `${m.name}${sign(m)}${JSON.stringify(m.value)}`;

/** Whether matchers cover a label set; patterns are anchored. One that cannot be read covers none. */
export function covers(matchers: Matcher[], labels: Labels): boolean {
  return matchers.every((m) => {
    const value = labels[m.name] ?? '';
    let equal = value === m.value;
    if (m.isRegex) {
      try {
        equal = new RegExp(`^(?:${m.value})$`, 's').test(value);
      } catch {
        return false;
      }
    }
    return equal === (m.isEqual ?? true);
  });
}

/** Matchers of one alert, each label by its value. */
export const matchersFrom = (labels: Labels): Matcher[] => Object.entries(labels).sort(([a], [b]) => (a === 'alertname' ? -1 : b === 'alertname' ? 1 : a < b ? -1 : 1)).map(([name, value]) => ({ name, value, isRegex: false, isEqual: true }));

/** Silences that count first, what is over last. */
export function bySoonest(all: Silence[]): Silence[] {
  const order = { active: 0, pending: 1, expired: 2 };
  return all.toSorted((a, b) => order[a.status.state] - order[b.status.state] || (a.status.state === 'expired' ? b.endsAt.localeCompare(a.endsAt) : a.endsAt.localeCompare(b.endsAt)));
}

/** One route as a row: how deep it stands, whom it tells, for what. */
export interface Leg { depth: number; receiver: string; matches: string; groupBy: string; wait: string; interval: string; repeat: string; goesOn: boolean; times: string }

/** The routes of a configuration, which is JSON here; undefined where it is another's YAML. */
export function legsOf(original: string): Leg[] | undefined {
  let route: Route | undefined;
  try {
    route = (JSON.parse(original) as { route?: Route }).route;
  } catch { /* YAML, which is shown as it is. */ }
  if (!route) return undefined;
  const out: Leg[] = [];
  // What a route does not say it has from the one above it.
  const walk = (r: Route, depth: number, above: Route) => {
    const whole: Route = { ...above, ...r };
    const matches = [...(r.matchers ?? []), ...Object.entries(r.match ?? {}).map(([n, v]) => `${n}=${JSON.stringify(v)}`), ...Object.entries(r.match_re ?? {}).map(([n, v]) => `${n}=~${JSON.stringify(v)}`)].join(', ');
    out.push({
      depth, receiver: whole.receiver ?? '', matches, groupBy: (whole.group_by ?? []).join(', '), wait: whole.group_wait ?? '', interval: whole.group_interval ?? '', repeat: whole.repeat_interval ?? '', goesOn: r.continue ?? false,
      times: [...(r.mute_time_intervals ?? []).map((t) => `not ${t}`), ...(r.active_time_intervals ?? []).map((t) => `only ${t}`)].join(', '),
    });
    for (const child of r.routes ?? []) walk(child, depth + 1, { ...whole, routes: [] });
  };
  walk(route, 0, {});
  return out;
}

/** The streams that the history of alerts and notifications is written to. */
export const HISTORY = '{job="towpath/notifications"}';

export interface Notified { id: string; at: number; word: string; alert: string; receiver: string; why: string; labels: Labels; /** The line as it is kept, laid out. */ whole: string }

const WORDS: Record<string, string> = { fires: 'Firing', resolves: 'Resolved', delivered: 'Sent', failed: 'Failed', suppressed: 'Muted', 'heard again': 'HeardAgain' };
const CAUSES: Record<string, string> = { silence: 'silence', inhibition: 'held back by alert', interval: 'outside of the times of', throttle: 'the limit of', late: 'over for too long for' };

/** A line of the history, which is JSON: what happened to an alert, or an attempt at a message. */
export function notified(line: LogLine): Notified {
  let said: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(line.text);
    if (typeof value === 'object' && value !== null) said = value as Record<string, unknown>;
  } catch { /* It is plain text. */ }
  const text = (name: string) => (typeof said[name] === 'string' ? (said[name] as string) : typeof said[name] === 'number' ? String(said[name]) : '');
  const labels = typeof said.labels === 'object' && said.labels !== null ? (said.labels as Labels) : {};
  const event = text('event');
  const by = (Array.isArray(said.by) ? (said.by as { kind?: string; name?: string }[]) : []).map((c) => `${CAUSES[c.kind ?? ''] ?? c.kind ?? ''} ${c.name ?? ''}`.trim());
  // Of a message: for how many alerts, how often it was tried, how long it took.
  const message = said.count === undefined ? '' : [`${text('count')} ${said.count === 1 ? 'alert' : 'alerts'} ${text('status')}`.trim(), Number(said.attempt) > 1 ? `try ${text('attempt')}` : '', typeof said.seconds === 'number' ? `${said.seconds.toFixed(2)} s` : '', said.test ? 'a test' : ''].filter(Boolean).join(', ');
  return {
    id: line.id, at: line.at, word: WORDS[event] ?? (event || 'Unknown'), alert: text('alertname') || (labels.alertname ?? line.labels.alertname ?? ''), receiver: [text('receiver'), text('integration')].filter(Boolean).join(', '),
    why: [text('why'), by.join(', '), message, event === 'failed' && said.again ? 'it is tried again' : ''].filter(Boolean).join('; '), labels, whole: Object.keys(said).length ? JSON.stringify(said, null, 2) : line.text,
  };
}
