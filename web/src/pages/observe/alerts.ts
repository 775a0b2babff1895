// Alerts as they are shown: what rules find and what was received of it, with silences.

import type { Matcher, ReceivedAlert, Silence } from '../../api/alertmanager';
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
