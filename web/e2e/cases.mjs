// Cases in every state that a screen can show, of the shape that crates/telemetry/src/cases/case.rs
// describes.
import { sha } from './fixture.mjs';

const release = (key) => `hello-${sha[key].slice(0, 12)}`;

export function cases(now = Date.now()) {
  const at = (minutes) => now - minutes * 60_000;
  const hello = { kind: 'Deployment', namespace: 'hello-dev', name: 'hello' };
  const subject = { ...hello, environment: 'hello-dev', project: 'demo' };
  const change = { id: 'ch1', at: at(22), kind: 'deploy', object: hello, by: 'ada', commit: sha.degraded, release: release('degraded'), promotion: `demo/hello-dev-deploy-${sha.degraded.slice(0, 6)}`, words: 'image of hello: 3f9a7c → 81be20' };
  const config = { id: 'ch2', at: at(31), kind: 'config', object: { kind: 'ConfigMap', namespace: 'hello-dev', name: 'app-config' }, by: 'grace', words: 'GREETING was changed' };
  const alert = (name, severity, more = {}) => ({ name, severity, labels: { alertname: name, severity, namespace: 'hello-dev', deployment: 'hello' }, annotations: { summary: `${name}: 31 % of requests to hello fail`, runbook_url: 'https://example.org/runbook' }, startsAt: at(20), endsAt: null, query: 'sum(rate(http_requests_total{code=~"5.."}[5m])) > 0.05', value: 0.31, ...more });
  const base = { moreAlerts: 0, also: [], causes: [], findings: [], changes: [], news: [], looked: [], interventions: [], actions: [], similar: [], timeline: [], unseen: [] };
  return [
    {
      ...base, id: 'c-3f9k2m0q7x1a', title: 'ErrorRateHigh: Deployment hello-dev/hello', severity: 'critical', state: 'open', openedAt: at(20), closedAt: null, updatedAt: at(0.2), subject,
      also: [{ kind: 'Deployment', namespace: 'hello-dev', name: 'front' }], summary: `31 % of the requests to hello fail, since two minutes after ${sha.degraded.slice(0, 7)} by ada began to run.`,
      alerts: [alert('ErrorRateHigh', 'critical'), alert('PodRestarts', 'warning', { endsAt: at(6), value: 4 })], moreAlerts: 2,
      causes: [
        {
          kind: 'change', object: hello, words: 'image of hello: 3f9a7c → 81be20', change, score: 0.82, verdict: 'suspected',
          evidence: [{ words: 'the share of errors rose 95 seconds after its first pod was ready', query: { language: 'promql', text: 'sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m]))' } }, { words: 'all failing requests were answered by its pods', query: { language: 'logql', text: '{namespace="hello-dev"} |= "no such table"' } }, { words: 'container hello ended 5 times', query: { language: 'kubectl', text: '-n hello-dev describe pod hello-7c9d8b6f5-x2x9q' } }],
          dissent: ['1 other change was made within ten minutes of it'],
        },
        { kind: 'trouble', object: { kind: 'Pod', namespace: 'hello-dev', name: 'postgres-0' }, words: 'postgres-0 is not ready since 04:12', finding: { kind: 'unready', about: { kind: 'Pod', namespace: 'hello-dev', name: 'postgres-0' }, workload: { kind: 'StatefulSet', namespace: 'hello-dev', name: 'postgres' }, since: at(18), words: 'postgres-0 is not ready' }, score: 0.31, verdict: 'refuted', evidence: [{ words: 'hello asks it for rows', query: null }], dissent: [] },
      ],
      findings: [{ kind: 'crashLoop', about: { kind: 'Pod', namespace: 'hello-dev', name: 'hello-7c9d8b6f5-x2x9q' }, workload: hello, container: 'hello', since: at(19), count: 2, othersWell: false, words: 'container hello exits with code 3, 5 times in 12 minutes', steps: [] }],
      changes: [{ change, score: 0.82 }, { change: config, score: 0.2 }],
      news: [{ kind: 'logTemplate', text: 'no such table <*>', count: 1041, at: at(20), query: { language: 'logql', text: '{namespace="hello-dev"} |= "no such table"' } }],
      looked: [{ step: { look: 'logs' }, title: 'last lines of hello in Pod hello-dev/hello-7c9d8b6f5-x2x9q', output: 'listening\nerror: no such table: greetings\ncannot start: no flux' }, { step: { look: 'events' }, title: 'events of Pod hello-dev/hello-7c9d8b6f5-x2x9q', output: '' }],
      actions: [{ kind: 'rollback', words: 'the share of errors falls under 1 % within two minutes of the old pods being ready', command: 'towpath rollback dev' }, { kind: 'look', words: 'Read the lines of the failing container', command: 'towpath logs hello --env dev --errors' }],
      similar: [{ id: 'c-old', title: 'ErrorRateHigh: Deployment hello-dev/hello', openedAt: at(9000), closedAt: at(8990), cause: 'image of hello', confirmed: true }],
      timeline: [{ at: at(31), kind: 'change', words: 'GREETING was changed', object: config.object }, { at: at(22), kind: 'change', words: 'image of hello: 3f9a7c → 81be20', object: hello }, { at: at(20), kind: 'opened', words: 'opened by ErrorRateHigh' }, { at: at(20), kind: 'alertFired', words: 'ErrorRateHigh' }, { at: at(19), kind: 'finding', words: 'container hello exits with code 3' }, { at: at(18.5), kind: 'cause', words: `most likely ${sha.degraded.slice(0, 7)}, 82 %` }, { at: at(6), kind: 'alertResolved', words: 'PodRestarts' }],
      unseen: ['events of node n2: no answer within 5 s'],
    },
    { ...base, id: 'c-nobody', title: 'LatencyHigh: Deployment hello-prd/hello', severity: 'warning', state: 'open', openedAt: at(5), closedAt: null, updatedAt: at(1), subject: { kind: 'Deployment', namespace: 'hello-prd', name: 'hello', environment: 'hello-prd', project: 'demo' }, summary: 'Half of the requests take longer than a second. Nothing was changed in the time before.', alerts: [alert('LatencyHigh', 'warning', { query: '' })], timeline: [{ at: at(5), kind: 'opened', words: 'opened by LatencyHigh' }] },
    {
      ...base, id: 'c-old', title: 'ErrorRateHigh: Deployment hello-stg/hello', severity: 'critical', state: 'closed', openedAt: at(74), closedAt: at(45), updatedAt: at(45), subject: { kind: 'Deployment', namespace: 'hello-stg', name: 'hello', environment: 'hello-stg', project: 'demo' }, summary: 'The greeting was empty for 3 % of visitors.',
      alerts: [alert('ErrorRateHigh', 'critical', { startsAt: at(74), endsAt: at(48) })],
      causes: [{ kind: 'change', object: { kind: 'Deployment', namespace: 'hello-stg', name: 'hello' }, words: 'image of hello: 81be20 → 5c11aa', change: { id: 'ch3', at: at(76), kind: 'deploy', object: { kind: 'Deployment', namespace: 'hello-stg', name: 'hello' }, by: 'ada', commit: sha.back, release: release('back'), promotion: 'demo/hello-stg-promote', words: 'image of hello' }, score: 0.91, verdict: 'confirmed', evidence: [{ words: 'errors ended when it was rolled back', query: null }], dissent: [] }],
      interventions: [{ kind: 'rollback', at: at(50), by: 'ada', change: 'ch4', object: {}, words: `rolled back to ${sha.waiting.slice(0, 7)}: greeting is empty for 3 % of visitors`, outcome: 'confirmed', outcomeAt: at(46) }],
      timeline: [{ at: at(76), kind: 'change', words: 'image of hello' }, { at: at(74), kind: 'opened', words: 'opened by ErrorRateHigh' }, { at: at(50), kind: 'intervention', words: 'rolled back' }, { at: at(46), kind: 'outcome', words: 'the rollback helped' }, { at: at(45), kind: 'closed', words: 'all quiet for 15 minutes' }],
    },
  ];
}

/** Answers a context's questions for cases. */
export class Cases {
  constructor(all = cases()) {
    this.all = all;
    /** Status that every question is answered with instead. */
    this.refused = 0;
  }

  line({ id, title, severity, state, openedAt, closedAt, updatedAt, subject, summary, alerts, moreAlerts, causes }) {
    const first = causes[0];
    const { by = '', commit = '', release: named = '' } = first?.change ?? {};
    return { id, title, severity, state, openedAt, closedAt, updatedAt, subject, summary, firing: alerts.filter((a) => !a.endsAt).length, alerts: alerts.length + moreAlerts, cause: first ? { words: first.words, score: first.score, verdict: first.verdict, by, commit, release: named } : null };
  }

  async install(context) {
    await context.route((url) => /^\/api\/v1\/cases(\/|$)/.test(url.pathname), (route) => {
      if (this.refused) return route.fulfill({ status: this.refused, json: { code: this.refused, message: this.refused === 404 ? 'no such path' : 'the ledger cannot be read: the disk is full' } });
      const url = new URL(route.request().url());
      const id = decodeURIComponent(url.pathname.split('/')[4] ?? '');
      const state = url.searchParams.get('state');
      if (!id) return route.fulfill({ json: { cases: this.all.filter((c) => !state || c.state === state).map((c) => this.line(c)) } });
      const found = this.all.find((c) => c.id === id);
      return route.fulfill(found ? { json: found } : { status: 404, json: { code: 404, message: `there is no case ${id}` } });
    });
  }
}
