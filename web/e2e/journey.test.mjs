// From the first push through promotion to prd, a bad release stopped by a gate, a bad
// deployment rolled back, what a release does seen in metrics, logs and traces, one that answers
// with errors named by its commit: through git, the CLI and a real browser.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, open } from './browser.mjs';
import { root, Server, until, WorkingCopy } from './server.mjs';

let server, copy, page, browser, errors;
let first;

const objects = async (plural) => (await server.get(`/k8s/apis/towpath.dev/v1alpha1/namespaces/demo/${plural}`)).items;
const environment = async (stage) => (await objects('environments')).find((e) => e.spec.stage === stage);
const runsHealthily = (stage, sha) =>
  until(`${sha.slice(0, 7)} healthy in ${stage}`, async () => {
    const status = (await environment(stage)).status;
    return status?.sha === sha && status.health === 'Healthy' && status.sync === 'Synced';
  }, 300_000);

function edit(file, change) {
  const path = join(copy.dir, file);
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

before(async () => {
  server = await Server.start('[telemetry]\nscrape-interval = "5s"\n');
  await server.towpath('apply', '-f', join(root, 'examples/hello/towpath.yaml'));
  await server.towpath('build', join(root, 'examples/images/postgres'), '--tag', 'postgres:15', '--if-missing');
  await server.towpath('build', join(root, 'examples/images/redis'), '--tag', 'redis:7', '--if-missing');
  copy = new WorkingCopy(server);
  ({ browser, page, errors } = await open(server));
});

after(async () => {
  await browser?.close();
  server?.stop();
});

test('the empty state says what to do', async () => {
  await page.getByText('All quiet').waitFor();
  await accessible(page, 'Now, empty');
});

test('the first push runs in dev', async () => {
  first = copy.commit('The sample service');
  await server.towpath('push', '-C', copy.dir, '--repo', 'hello', '--to', 'dev', '--wait');
  await runsHealthily('dev', first);
  const answer = await until('hello answers', async () => {
    const response = await fetch('http://127.0.0.1:30253/');
    return response.ok && response.text();
  });
  assert.match(answer, /You are visit number \d+/);
});

test('the commit shows its journey and its logs', async () => {
  await page.getByRole('link', { name: 'Commits' }).click();
  await page.getByRole('heading', { name: 'Commits of demo' }).waitFor();
  await accessible(page, 'Commits');
  await page.getByRole('link', { name: first.slice(0, 7) }).click();
  await page.getByRole('heading', { name: 'The sample service' }).waitFor();
  await page.getByRole('list', { name: 'Journey' }).getByText('Healthy').first().waitFor();
  await page.getByRole('link', { name: /^Checks/ }).click();
  await page.getByRole('button', { name: /Unit tests/ }).click();
  await page.getByRole('log').getByText('test result: ok').first().waitFor();
  await accessible(page, 'Commit journey');
  mkdirSync(join(root, 'target'), { recursive: true });
  await page.screenshot({ path: join(root, 'target/journey.png') });
});

test('metrics, logs and traces of the new release are in Explore', async () => {
  const commit = page.url();
  for (let i = 0; i < 5; i++) await fetch('http://127.0.0.1:30253/');
  // Its requests, joined to the commit that its pods run.
  const query = `sum by (commit) (rate(app_requests_total{namespace="hello-dev", endpoint="/"}[1m]) * on (namespace, pod) group_left (commit) towpath_release_info{commit="${first}"})`;
  await until('its requests are measured', async () => (await server.get(`/prometheus/api/v1/query?query=${encodeURIComponent(query)}`)).data.result.length > 0);
  const counted = 'rate(traces_spanmetrics_calls_total{service="hello"}[1h])';
  await until('its spans are counted', async () => (await server.get(`/prometheus/api/v1/query?query=${encodeURIComponent(counted)}`)).data.result.length > 0);
  await page.goto(`${server.url}/observe/explore?ns=hello-dev&w=hello&refresh=5s`);
  await page.getByRole('slider', { name: 'Requests per second, time' }).waitFor();
  await page.getByRole('region', { name: 'Services' }).getByRole('button', { name: 'hello', exact: true }).waitFor();
  await accessible(page, 'Explore, the release');
  // From its lines to a trace, from its span back to its lines.
  await page.goto(`${server.url}/observe/explore?mode=logs&log=${encodeURIComponent('{namespace="hello-dev", app="hello"} |= "\\"path\\":\\"/\\""')}`);
  await page.getByRole('region', { name: 'Lines' }).getByRole('button').first().click();
  await page.getByRole('row', { name: /^commit/ }).getByRole('cell', { name: first, exact: true }).waitFor();
  await page.getByRole('button', { name: /^Trace [0-9a-f]{16}/ }).click();
  await page.getByRole('heading', { name: 'hello: GET /' }).waitFor();
  await page.getByRole('row', { name: /INCR visits/ }).click();
  const span = page.getByRole('region', { name: /^Span/ });
  await span.getByRole('link', { name: /^hello-dev\/hello-/ }).waitFor();
  await span.getByRole('region', { name: 'Lines of the span' }).getByText('"path":"/"').waitFor();
  await accessible(page, 'Trace beside logs');
  await page.screenshot({ path: join(root, 'target/journey-trace.png') });
  await page.goto(commit);
});

test('it is promoted to stg and, approved by a person, to prd', async () => {
  await page.getByRole('button', { name: 'Promote to stg' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Promote to stg' }).click();
  await runsHealthily('stg', first);
  await page.getByRole('button', { name: 'Promote to prd' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel(/to confirm/).fill('prd');
  await dialog.getByRole('button', { name: 'Promote to prd' }).click();
  await page.getByRole('link', { name: 'Now' }).click();
  await page.getByRole('button', { name: 'Approve' }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'Approve' }).click();
  await runsHealthily('prd', first);
  await page.getByRole('link', { name: 'Environments' }).click();
  await page.getByRole('row', { name: /hello/ }).getByText('Healthy').nth(2).waitFor();
  await accessible(page, 'Environments');
});

test('a bad commit is stopped by a gate and says why', async () => {
  // Assembled so that this file itself holds nothing that looks like a credential.
  const bait = ['AKIA', 'Q3EGRT5XWZJ7KLMN'].join('');
  writeFileSync(join(copy.dir, 'settings.env'), `AWS_ACCESS_KEY_ID=${bait}\n`);
  const bad = copy.commit('Add settings');
  assert.equal(server.code('push', '-C', copy.dir, '--repo', 'hello', '--wait'), 1);
  const run = (await objects('runs')).find((r) => r.spec.sha === bad);
  assert.equal(run.status.phase, 'Failed');
  const gate = run.status.gates.find((g) => g.gate === 'secrets');
  assert.equal(gate.passed, false);
  assert.equal(gate.findings[0].file, 'settings.env');
  assert.equal((await objects('releases')).some((r) => r.spec.sha === bad), false);
  await page.goto(`${server.url}/p/demo/c/${bad}`);
  await page.getByText('settings.env').first().waitFor();
  assert.equal((await environment('dev')).status.sha, first);
  await accessible(page, 'Commit stopped by a gate');
  copy.git('rm', '--quiet', 'settings.env');
});

test('a bad deployment is shown with evidence and rolled back by a commit', async () => {
  edit('Dockerfile', (text) => text.replace('ENTRYPOINT ["/usr/local/bin/hello"]', 'ENTRYPOINT ["/bin/sh", "-c", "echo cannot start: no flux; exit 3"]'));
  const bad = copy.commit('A new entry point');
  await server.towpath('push', '-C', copy.dir, '--repo', 'hello', '--wait');
  await until('the failure is seen in dev', async () => {
    const found = (await objects('promotions')).find((p) => p.spec.release.endsWith(bad.slice(0, 12)));
    return found?.status?.phase === 'Failed' && found.status.evidence.join(' ').includes('no flux');
  }, 300_000);
  await page.goto(`${server.url}/p/demo/c/${bad}?s=dev`);
  await page.getByText('no flux').first().waitFor();
  await page.getByRole('button', { name: 'Roll back dev' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Reason').fill('does not start');
  await dialog.getByRole('button', { name: 'Roll back dev' }).click();
  await runsHealthily('dev', first);
  const held = (await objects('releases')).find((r) => r.spec.sha === bad);
  assert.match(held.spec.hold.reason, /does not start/);
  assert.equal((await environment('dev')).status.history[0].kind, 'rollback');
  // The held release stays out.
  assert.equal(server.code('promote', bad.slice(0, 8), 'dev', '--wait'), 1);
});

test('manual changes are undone', async () => {
  const path = `${server.url}/k8s/apis/apps/v1/namespaces/hello-dev/deployments/hello`;
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/merge-patch+json' };
  const body = JSON.stringify({ spec: { template: { spec: { terminationGracePeriodSeconds: 7 } } } });
  assert.ok((await fetch(path, { method: 'PATCH', headers, body })).ok);
  await until('self-heal', async () => {
    const live = await (await fetch(path, { headers })).json();
    return live.spec.template.spec.terminationGracePeriodSeconds !== 7;
  }, 30_000);
});

test('any object can be looked at', async () => {
  await page.goto(`${server.url}/r?kind=pods&ns=hello-dev`);
  await page.getByRole('link', { name: /^hello-/ }).first().waitFor();
  await accessible(page, 'Resources');
  await page.getByRole('link', { name: /^hello-/ }).first().click();
  await page.getByRole('region', { name: 'YAML' }).getByText('kind: Pod').waitFor();
  await accessible(page, 'Resource');
  await page.getByRole('button', { name: 'Logs' }).click();
  await page.getByRole('log').getByText('listening').first().waitFor();
  await page.getByRole('button', { name: 'Events' }).click();
  await page.getByRole('columnheader', { name: 'Reason' }).waitFor();
});

test('eight tabs stay live and the keyboard reaches everything', async () => {
  const tabs = await Promise.all(Array.from({ length: 8 }, () => page.context().newPage()));
  await Promise.all(tabs.map((tab) => tab.goto(`${server.url}/p/demo`)));
  await Promise.all(tabs.map((tab) => tab.getByRole('link', { name: first.slice(0, 7) }).first().waitFor()));
  await Promise.all(tabs.map((tab) => tab.close()));
  await page.goto(server.url);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  await page.getByRole('heading', { name: 'Environments of demo' }).waitFor();
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await page.keyboard.press('Escape');
  await page.setViewportSize({ width: 320, height: 800 });
  const wide = await page.evaluate('document.documentElement.scrollWidth');
  await page.setViewportSize({ width: 1360, height: 900 });
  assert.ok(wide <= 320, `the page is ${wide} px wide at 320 px`);
});

test('a release that answers with errors is named by its commit in a case, and rolled back from there', async () => {
  const rule = {
    apiVersion: 'monitoring.coreos.com/v1', kind: 'PrometheusRule', metadata: { name: 'hello' },
    spec: { groups: [{ name: 'hello', interval: '5s', rules: [{
      alert: 'HelloAnswersWithErrors', labels: { severity: 'critical', deployment: 'hello' }, annotations: { summary: '{{ $value | humanizePercentage }} of the requests to hello fail' },
      expr: 'sum by (namespace) (rate(app_requests_total{endpoint="/", status=~"5.."}[1m])) / sum by (namespace) (rate(app_requests_total{endpoint="/"}[1m])) > 0.2',
    }] }] },
  };
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
  const posted = await fetch(`${server.url}/k8s/apis/monitoring.coreos.com/v1/namespaces/hello-dev/prometheusrules`, { method: 'POST', headers, body: JSON.stringify(rule) });
  assert.ok(posted.ok, await posted.text());
  copy.git('checkout', first, '--', '.');
  edit('src/lib.rs', (text) => text.replace('    Ok(format!("{} You', '    if visits % 2 == 0 {\n        return Err(Failure("greet", "no words are left".into()));\n    }\n    Ok(format!("{} You'));
  const bad = copy.commit('Spare every second greeting');
  await server.towpath('push', '-C', copy.dir, '--repo', 'hello', '--to', 'dev', '--wait');
  await runsHealthily('dev', bad);
  const traffic = setInterval(() => fetch('http://127.0.0.1:30253/').catch(() => undefined), 200);
  try {
    const found = await until('a case names the commit', async () => (await server.get('/api/v1/cases?state=open')).cases.find((c) => c.cause?.commit === bad), 240_000);
    assert.equal(found.subject.environment, 'hello-dev');
    await page.goto(server.url);
    await page.getByRole('link', { name: found.title }).first().click();
    const why = page.getByRole('region', { name: 'Why' });
    await why.getByRole('heading', { name: new RegExp(`^${bad.slice(0, 7)} Spare every second greeting`) }).waitFor();
    await accessible(page, 'Incident');
    await page.screenshot({ path: join(root, 'target/journey-incident.png'), fullPage: true });
    await page.getByRole('button', { name: 'Roll back dev' }).click();
    const dialog = page.getByRole('dialog', { name: 'Roll back dev' });
    await dialog.getByText(`back to ${first.slice(0, 7)}`).waitFor();
    await dialog.getByLabel('Reason').fill('every second greeting fails');
    await dialog.getByRole('button', { name: 'Roll back dev' }).click();
    await runsHealthily('dev', first);
  } finally {
    clearInterval(traffic);
  }
});

test('the pages raised no errors', () => assert.deepEqual(errors, []));
