import { expect, test } from 'vitest';
import type { ReceivedAlert, Silence } from '../../api/alertmanager';
import type { Rule, RuleGroup } from '../../api/prometheus';
import { bySoonest, covers, legsOf, matchersFrom, notified, shownOf, wordOf, written } from './alerts';

const labels = { alertname: 'Down', severity: 'critical', job: 'a' };
const rule = { type: 'alerting', name: 'Down', query: 'up == 0', state: 'firing', health: 'ok', alerts: [{ labels, annotations: { summary: 'a is down' }, state: 'firing', activeAt: '2026-01-01T00:00:00Z', value: '0e+00' }, { labels: { alertname: 'Slow', severity: 'warning' }, annotations: {}, state: 'pending', value: '1' }] } as Rule;
const groups: RuleGroup[] = [{ name: 'g', file: 'f', interval: 15, rules: [rule] }];
const received = (more: Partial<ReceivedAlert['status']> = {}): ReceivedAlert => ({ labels, annotations: {}, startsAt: '2026-01-01T00:01:00Z', endsAt: '', fingerprint: 'x', receivers: [{ name: 'team' }], status: { state: 'active', silencedBy: [], inhibitedBy: [], ...more } });

test('an alert is there once, with what both sides know', () => {
  expect(shownOf(groups, undefined).map((a) => [a.name, a.word])).toEqual([['Down', 'Firing'], ['Slow', 'Pending']]);
  const [pending, silenced] = shownOf(groups, [received({ silencedBy: ['s'] })]);
  expect(pending?.word).toBe('Pending');
  expect(silenced).toMatchObject({ word: 'Silenced', summary: 'a is down', query: 'up == 0', since: '2026-01-01T00:00:00Z', receivers: ['team'], silences: ['s'] });
  expect(shownOf([], [received()])).toHaveLength(1);
});

test('rules in words', () => {
  expect([rule, { ...rule, state: 'inactive' }, { ...rule, health: 'err' }, { ...rule, state: 'inactive', health: 'unknown' }, { ...rule, type: 'recording' as const }].map(wordOf)).toEqual(['Firing', 'Inactive', 'Error', 'Unknown', 'Recording']);
});

test('matchers cover as Alertmanager says', () => {
  expect(matchersFrom(labels).map(written)).toEqual(['alertname="Down"', 'job="a"', 'severity="critical"']);
  const m = (name: string, value: string, isRegex = false, isEqual = true) => ({ name, value, isRegex, isEqual });
  expect(covers([m('job', 'a|b', true), m('severity', 'warning', false, false)], labels)).toBe(true);
  expect(covers([m('job', 'aa?x', true)], labels)).toBe(false);
  expect(covers([m('job', '(', true)], labels)).toBe(false);
  expect(covers([m('gone', '')], labels)).toBe(true);
});

test('silences that count come first', () => {
  const silence = (id: string, state: Silence['status']['state'], endsAt: string) => ({ id, status: { state }, endsAt }) as Silence;
  expect(bySoonest([silence('1', 'expired', '2'), silence('2', 'active', '9'), silence('3', 'active', '5'), silence('4', 'pending', '1')]).map((s) => s.id)).toEqual(['3', '2', '4', '1']);
});

test('routes have what those above them say', () => {
  const legs = legsOf(JSON.stringify({ route: { receiver: 'a', group_by: ['x'], group_wait: '30s', routes: [{ matchers: ['s="c"'], group_wait: '10s', continue: true, routes: [{ receiver: 'b', match_re: { t: 'u|v' } }] }] } }));
  expect(legs?.map((l) => [l.depth, l.receiver, l.matches, l.groupBy, l.wait, l.goesOn])).toEqual([[0, 'a', '', 'x', '30s', false], [1, 'a', 's="c"', 'x', '10s', true], [2, 'b', 't=~"u|v"', 'x', '10s', false]]);
  expect(legsOf('route:\n  receiver: a')).toBeUndefined();
  expect(legsOf('{}')).toBeUndefined();
});

test('lines of the history are read whatever they lack', () => {
  const line = (text: string, labels = {}) => notified({ id: 'i', ns: '1000000', at: 1, text, labels, extra: {}, level: '' });
  expect(line('{"event":"failed","again":true,"alertname":null,"receiver":"team","integration":"slack[0]","why":"503","count":2,"status":"firing","attempt":3,"seconds":0.5}')).toMatchObject({ word: 'Failed', alert: '', receiver: 'team, slack[0]', why: '503; 2 alerts firing, try 3, 0.50 s; it is tried again' });
  expect(line('{"event":"delivered","again":false,"test":true,"receiver":"team","count":1,"status":"resolved","attempt":1,"seconds":0.013}')).toMatchObject({ word: 'Sent', why: '1 alert resolved, 0.01 s, a test' });
  expect(line('{"event":"resolves","labels":{"alertname":"B"}}', { event: 'transition' })).toMatchObject({ word: 'Resolved', alert: 'B', labels: { alertname: 'B' } });
  expect(line('{"by":[{"kind":"silence","name":"s1"}],"event":"suppressed","receiver":"team"}')).toMatchObject({ word: 'Muted', why: 'silence s1', receiver: 'team' });
  expect(line('{"by":[],"event":"heard again","receiver":"team"}')).toMatchObject({ word: 'HeardAgain', why: '' });
  expect(line('plain words', { alertname: 'C' })).toMatchObject({ word: 'Unknown', alert: 'C', whole: 'plain words' });
});
