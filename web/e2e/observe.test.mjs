// Explore, dashboards and alerts in every state: accessible in both themes, at 320 px, by keyboard
// alone, without the servers of signals; at the end with what the real server measures.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, accessibleAsIs, enter, launch } from './browser.mjs';
import { objects, Spine } from './fixture.mjs';
import { Server, until } from './server.mjs';
import { Signals, TRACE } from './signals.mjs';

let server, browser, spine, signals, page, context, errors;

const goto = (path) => page.goto(server.url + path);
const explore = (queries, more = '') => `/observe/explore?${queries.map((q) => `q=${encodeURIComponent(q)}`).join('&')}${more}`;
const slider = (nth = 0) => page.getByRole('slider').nth(nth);

const BOARD = {
  title: 'Hello', description: 'How the service does', time: { from: 'now-30m', to: 'now' },
  templating: { list: [{ name: 'job', type: 'query', query: 'label_values(up, job)', multi: true, includeAll: true, current: { value: '$__all' } }, { name: 'size', type: 'custom', query: '1m,5m', current: { value: '5m' } }] },
  panels: [
    { id: 1, type: 'stat', title: 'Up', gridPos: { x: 0, y: 0, w: 6, h: 4 }, targets: [{ refId: 'A', expr: 'sum(up{job=~"$job"})' }], fieldConfig: { defaults: { thresholds: { steps: [{ color: 'green', value: null }, { color: 'red', value: 1 }] } } } },
    { id: 2, type: 'gauge', title: 'Share', gridPos: { x: 6, y: 0, w: 6, h: 5 }, targets: [{ refId: 'A', expr: 'avg(up)' }], fieldConfig: { defaults: { unit: 'percent', max: 100 } } },
    { id: 3, type: 'bargauge', title: 'By pod', gridPos: { x: 12, y: 0, w: 6, h: 6 }, targets: [{ refId: 'A', expr: 'topk(3, pod_sizes)', instant: true, legendFormat: '{{pod}}' }] },
    { id: 4, type: 'text', title: 'Note', gridPos: { x: 18, y: 0, w: 6, h: 6 }, options: { content: '# About\nSee [the docs](https://example.org/docs) <b>now</b>' } },
    { id: 5, type: 'row', title: 'Charts', collapsed: false, gridPos: { x: 0, y: 6, w: 24, h: 1 } },
    { id: 6, type: 'timeseries', title: 'Requests', gridPos: { x: 0, y: 7, w: 12, h: 10 }, targets: [{ refId: 'A', expr: 'sum by (code) (rate(http_requests_total{job=~"$job"}[$size]))', legendFormat: '{{code}}' }], fieldConfig: { defaults: { unit: 'reqps', custom: { fillOpacity: 10, stacking: { mode: 'normal' } } } } },
    { id: 7, type: 'heatmap', title: 'Latency', gridPos: { x: 12, y: 7, w: 12, h: 10 }, targets: [{ refId: 'A', expr: 'sum by (le) (increase(http_request_duration_seconds_bucket[$__rate_interval]))' }], fieldConfig: { defaults: { unit: 's' } } },
    { id: 8, type: 'table', title: 'Targets', gridPos: { x: 0, y: 17, w: 12, h: 6 }, targets: [{ refId: 'A', expr: 'up', instant: true, format: 'table' }] },
    { id: 9, type: 'logs', title: 'Lines', gridPos: { x: 12, y: 17, w: 12, h: 6 }, datasource: { type: 'loki' }, targets: [{ refId: 'A', expr: '{namespace="hello-dev"}' }] },
    { id: 10, type: 'geomap', title: 'Where', gridPos: { x: 0, y: 23, w: 12, h: 6 } },
    { id: 11, type: 'row', title: 'Job $job', repeat: 'job', gridPos: { x: 0, y: 29, w: 24, h: 1 } },
    { id: 12, type: 'timeseries', title: 'Targets of $job', gridPos: { x: 0, y: 30, w: 12, h: 8 }, targets: [{ refId: 'A', expr: 'up{job="$job"}' }] },
  ],
};

before(async () => {
  server = await Server.start();
  browser = await launch();
  spine = new Spine(objects());
  signals = new Signals();
  ({ page, context, errors } = await enter(browser, server, async (made) => {
    await spine.install(made);
    await signals.install(made);
  }));
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
  const post = (path, body) => fetch(server.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  // A dashboard as a chart of others would bring it, and one that is broken.
  await post('/k8s/api/v1/namespaces/default/configmaps', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'boards', labels: { grafana_dashboard: '1' } }, data: { 'hello.json': JSON.stringify(BOARD), 'broken.json': '{' } });
  await post('/k8s/apis/apps/v1/namespaces/default/deployments', { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'hello' }, spec: { replicas: 0, selector: { matchLabels: { app: 'hello' } }, template: { metadata: { labels: { app: 'hello' } }, spec: { containers: [{ name: 'hello', image: 'hello' }] } } } });
});

after(async () => {
  await browser?.close();
  server?.stop();
});

// Screen, what must be seen on it.
const screens = [
  ['Explore, start', '/observe/explore', 'Whether the target was reached'],
  ['Explore, a workload', '/observe/explore?ns=default&w=hello', 'Share of failed requests'],
  ['Explore, no such metric', '/observe/explore?find=nowhere', 'No metric is called like'],
  ['Explore, chart', explore(['up']), 'All:'],
  ['Explore, exemplars and stacks', explore(['sum by (le) (rate(http_request_duration_seconds_bucket[5m]))'], '&kind=stacked'), '{le="0.5"}'],
  ['Explore, several queries', explore(['up', 'rate(up[5m])'], '&kind=step'), 'might not be a counter'],
  ['Explore, table', explore(['up'], '&view=table'), '2 results at'],
  ['Explore, nothing found', explore(['nothing_there']), 'No series in this range'],
  ['Explore, many series', explore(['many_series']), 'showing 100 of 250 series'],
  ['Explore, split', explore(['up'], '&r.mode=logs&r.log=%7Bnamespace%3D%22hello-dev%22%7D'), 'request 3 was answered'],
  ['Logs, no query', '/observe/explore?mode=logs', 'choose where to look'],
  ['Logs', '/observe/explore?mode=logs&log=%7Bnamespace%3D%22hello-dev%22%7D', 'request 3 was answered'],
  ['Logs, none', '/observe/explore?mode=logs&log=%7Bnothing%3D%22x%22%7D', 'No line matches in this range'],
  ['Logs, counted', `/observe/explore?mode=logs&log=${encodeURIComponent('sum(rate({namespace="hello-dev"}[5m]))')}`, '{level="error"}'],
  ['Explore, services', '/observe/explore', '3.1 %'],
  ['Traces, no query', '/observe/explore?mode=traces', 'begin with a service'],
  ['Traces, a service', '/observe/explore?mode=traces&svc=shop', 'Operations'],
  ['Traces, found', `/observe/explore?mode=traces&tq=${encodeURIComponent('{ status = error }')}`, '2 failed'],
  ['Traces, none', `/observe/explore?mode=traces&tq=${encodeURIComponent('{ name = "nothing" }')}`, 'No trace matches in this range'],
  ['Trace', `/observe/explore?mode=traces&trace=${TRACE}`, 'The time went into'],
  ['Trace, a span', `/observe/explore?mode=traces&trace=${TRACE}&span=0000000000000006`, 'on the critical path'],
  ['Trace, gone', `/observe/explore?mode=traces&trace=${'12'.repeat(16)}`, 'It may have been kept for its time and gone'],
  ['Trace beside a chart', explore(['up'], `&r.mode=traces&r.trace=${TRACE}`), 'The time went into'],
  ['Dashboards', '/observe/dashboards', 'How the service does'],
  ['Dashboard', '/observe/dashboards/default/boards/hello.json', '1 part of this dashboard cannot be shown'],
  ['Dashboard, broken', '/observe/dashboards/default/boards/broken.json', 'It is not JSON'],
  ['Dashboard, gone', '/observe/dashboards/default/boards/gone.json', 'There is no such dashboard'],
  ['Dashboard, shipped', '/observe/dashboards/shipped/cluster', 'Pods running'],
  ['Alerts', '/observe/alerts', 'TooSlow on hello-1'],
  ['Rules', '/observe/alerts?tab=rules', 'many-to-many matching'],
  ['Silences', '/observe/alerts?tab=silences', 'the disk is being replaced'],
  ['Routes', '/observe/alerts?tab=routes', 'severity="critical"'],
  ['History of notifications', '/observe/alerts?tab=history', 'the answer was 503'],
  ['History, filtered', '/observe/alerts?tab=history&only=Failed', 'showing 1 of 5'],
  ['Alerts, nothing matches', '/observe/alerts?q=nowhere', 'No alert matches the filter'],
];

for (const [name, path, text] of screens) {
  test(`${name}: accessible, fits 320 px`, async () => {
    await goto(path);
    await page.getByText(text).first().waitFor({ state: 'visible', timeout: 15_000 });
    await accessible(page, name);
    assert.equal(await page.locator('h1').count(), 1, 'one h1');
    assert.match(await page.title(), / · Towpath$/);
    await page.setViewportSize({ width: 320, height: 800 });
    await page.waitForTimeout(150);
    const wide = await page.evaluate('document.documentElement.scrollWidth');
    await accessibleAsIs(page, `${name} at 320 px`, { 'color-contrast': { enabled: false } });
    await page.setViewportSize({ width: 1360, height: 900 });
    assert.ok(wide <= 320, `${name} is ${wide} px wide at 320 px`);
  });
}

test('a chart is read, zoomed and left with the keyboard alone', async () => {
  await goto(explore(['up'], '&from=now-1h&to=now'));
  await slider().waitFor();
  await slider().focus();
  await page.keyboard.press('End');
  const told = () => slider().getAttribute('aria-valuetext');
  const last = await told();
  assert.match(last, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: .*instance="a:1".* \d/);
  await page.keyboard.press('ArrowLeft');
  assert.notEqual(await told(), last);
  for (let i = 0; i < 30; i++) await page.keyboard.press('Shift+ArrowLeft');
  await page.keyboard.press('Enter');
  await until('the range is exact', () => /from=\d{13}/.test(page.url()), 5000);
  await page.getByRole('button', { name: 'Undo zoom' }).click();
  await until('the range is as before', () => /from=now-1h/.test(page.url()), 5000);
  // The same values as a table.
  await page.getByRole('button', { name: /Show as table/ }).click();
  await page.getByRole('region', { name: 'Values of Chart' }).waitFor();
  await accessible(page, 'Chart as a table');
});

test('dragging zooms, the legend isolates and hides', async () => {
  await goto(explore(['up'], '&from=now-1h&to=now'));
  await page.getByRole('button', { name: '{instance="b:2"}', exact: true }).click();
  await page.getByText('showing 1 of 2 series').waitFor();
  await page.getByRole('button', { name: 'Show all' }).click();
  const box = await slider().boundingBox();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 80);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 90, { steps: 4 });
  await page.mouse.up();
  await until('the range is exact', () => /from=\d{13}/.test(page.url()), 5000);
  await page.goBack().catch(() => undefined);
});

test('a deployment stands on the chart and links to its commit', async () => {
  await goto(explore(['up'], '&from=now-1h&to=now'));
  const mark = page.getByRole('list', { name: 'Changes in this time' }).getByRole('link', { name: 'hello 4f2c91e' });
  await mark.waitFor();
  assert.match(await mark.getAttribute('href'), /^\/p\/demo\/c\/4f2c91e/);
});

test('an error stands at its place, completion offers what there is', async () => {
  signals.refused.set('sum(up))', { status: 400, error: 'invalid parameter "query": 1:8: parse error: unexpected right parenthesis \')\'' });
  await goto(explore(['sum(up))']));
  await page.getByRole('alert').getByText('unexpected right parenthesis').waitFor();
  assert.equal(await page.locator('.wrong').first().textContent(), ')');
  await accessible(page, 'Explore, error');
  const field = page.getByLabel('Query 1');
  await field.fill('');
  await field.pressSequentially('http_re');
  await page.getByRole('option', { name: /http_requests_total/ }).waitFor();
  await accessibleAsIs(page, 'Completion');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.equal(await field.inputValue(), 'http_requests_total');
  await field.pressSequentially('{co');
  await page.getByRole('option', { name: 'code' }).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await field.inputValue(), 'http_requests_total{code=""');
  // Its values are offered at once.
  await page.getByRole('option', { name: 'one' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('End');
  await field.pressSequentially('}');
  await page.keyboard.press('Enter');
  await until('it was asked', () => signals.asked.some((a) => a.includes('query_range') && a.includes('code%3D')), 5000);
});

test('from a point to its logs, a line opens, its labels filter, the tail follows', async () => {
  await goto(explore(['topk(2, pod_sizes)']));
  await slider().focus();
  for (const key of ['End', 'ArrowLeft', 'Enter']) await page.keyboard.press(key);
  await page.getByRole('button', { name: 'Logs of this time' }).click();
  await page.getByText('request 3 was answered').waitFor();
  await until('the logs are in the URL', () => /r\.log=\{namespace="hello-dev",\+pod="hello-/.test(decodeURIComponent(page.url())), 5000);
  await page.getByText('request 2 was answered').first().click();
  await page.getByRole('button', { name: 'What came before and after' }).click();
  await page.getByRole('region', { name: 'Context' }).waitFor();
  await accessible(page, 'A line with its context');
  await page.getByRole('button', { name: 'Without pod=hello-1' }).click();
  await until('the query has it', async () => (await page.getByLabel('Log query').inputValue()).includes('pod!="hello-1"'), 5000);
  await page.getByRole('button', { name: 'Follow live' }).click();
  await until('it is followed', () => signals.tails.size > 0, 5000);
  signals.write('a line that has just been written');
  await page.getByText('a line that has just been written').waitFor();
  await page.getByRole('button', { name: 'Stop following' }).click();
});

test('from a point by its exemplar to the trace, to a span, to its log lines, by keyboard', async () => {
  await goto(explore(['sum by (le) (rate(http_request_duration_seconds_bucket[5m]))'], '&from=now-1h&to=now'));
  await page.getByText('One exemplar with its trace').waitFor();
  await slider().focus();
  await page.keyboard.press('End');
  // The exemplar lies a quarter of an hour back.
  const way = page.getByRole('button', { name: /^Trace of ◇ 30/ });
  for (let i = 0; i < 200; i++) {
    await page.keyboard.press('ArrowLeft');
    if ((await page.locator('.tip').textContent())?.includes('◇')) break;
  }
  await page.keyboard.press('Enter');
  await way.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'gateway: POST /checkout' }).waitFor();
  await until('the trace stands beside the chart', () => page.url().includes(`r.trace=${TRACE}`) && page.url().includes('q=sum'), 5000);
  const spans = page.getByRole('treegrid', { name: 'Spans, right pane' });
  await spans.focus();
  const active = () => spans.evaluate((e) => document.getElementById(e.getAttribute('aria-activedescendant'))?.getAttribute('aria-label'));
  assert.match(await active(), /^gateway, POST \/checkout, 480 ms.*on the critical path/);
  for (const key of ['ArrowDown', 'ArrowDown', 'ArrowLeft']) await page.keyboard.press(key);
  // Folded, what it called is not shown.
  await page.getByRole('row', { name: /SELECT basket/ }).waitFor({ state: 'detached' });
  await page.keyboard.press('ArrowRight');
  for (const key of ['ArrowDown', 'ArrowDown', 'ArrowDown', 'Enter']) await page.keyboard.press(key);
  const panel = page.getByRole('region', { name: 'Span, right pane' });
  await panel.getByText('card service: connection refused').first().waitFor();
  await until('the span is in the URL', () => /r\.span=0000000000000006/.test(page.url()), 5000);
  await panel.getByRole('region', { name: 'Lines of the span' }).getByText(TRACE).waitFor();
  await panel.getByRole('button', { name: 'Logs of this trace' }).focus();
  await page.keyboard.press('Enter');
  // The trace moves to the left, its lines stand on the right.
  await page.getByRole('region', { name: 'Lines, right pane' }).getByText('connection refused').waitFor();
  await until('the trace moved in the URL', () => new URL(page.url()).searchParams.get('trace') === TRACE, 5000);
  const asked = new URL(page.url()).searchParams;
  assert.match(asked.get('r.log'), new RegExp(`pod="payment-7c9d8b6f5-x2x9q"} \\|= "${TRACE}"`));
  await page.goBack();
  await page.getByRole('slider').first().waitFor();
});

test('a line leads to its trace', async () => {
  await goto(`/observe/explore?mode=logs&log=${encodeURIComponent(`{pod="payment"} |= "${TRACE}"`)}`);
  await page.getByRole('button', { name: /connection refused/ }).click();
  await page.getByRole('button', { name: `Trace ${TRACE.slice(0, 16)}` }).click();
  await page.getByRole('heading', { name: 'gateway: POST /checkout' }).waitFor();
});

test('services lead to their slow and failed traces; a query is written, completed and refused', async () => {
  await goto('/observe/explore');
  await page.getByRole('button', { name: 'Failed of payment' }).click();
  await page.getByRole('button', { name: /gateway POST \/checkout/ }).waitFor();
  const field = page.getByLabel('Trace query');
  assert.equal(await field.inputValue(), '{ resource.service.name = "payment" && status = error }');
  await page.getByRole('checkbox', { name: 'failed only' }).uncheck();
  await page.getByLabel('Operation').selectOption('GET /orders');
  await until('the query has it', () => new URL(page.url()).searchParams.get('tq') === '{ resource.service.name = "payment" && name = "GET /orders" }', 5000);
  await field.fill('');
  await field.pressSequentially('{ resource.ser');
  await page.getByRole('option', { name: /resource\.service\.name/ }).waitFor();
  await page.keyboard.press('Tab');
  await page.getByRole('listbox', { name: 'Suggestions' }).getByRole('option', { name: 'shop' }).waitFor();
  await page.keyboard.press('Escape');
  await field.fill('{ wrong = 1 }');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('wrong is no attribute').waitFor();
  assert.equal(await page.locator('.wrong').first().textContent(), 'wrong');
  await accessible(page, 'Traces, error');
  await field.fill(TRACE);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'gateway: POST /checkout' }).waitFor();
});

test('variables of a dashboard are in its queries and in its URL', async () => {
  await goto('/observe/dashboards/default/boards/hello.json');
  await page.getByRole('heading', { name: 'Requests' }).waitFor();
  // A row for every value.
  for (const name of ['Targets of web', 'Targets of db']) await page.getByRole('heading', { name }).waitFor();
  signals.asked = [];
  await page.getByText('job: All').click();
  await page.getByRole('checkbox', { name: 'db' }).check();
  await until('it is asked with the value', () => signals.asked.some((a) => a.includes('query_range') && decodeURIComponent(a).includes('job=~"db"')), 5000);
  await until('the value is in the URL', () => /var-job=db/.test(page.url()), 5000);
  await page.getByRole('heading', { name: 'Targets of web' }).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Charts' }).click();
  await page.getByRole('heading', { name: 'Requests' }).waitFor({ state: 'detached' });
});

test('importing says what cannot be taken before anything is kept', async () => {
  await goto('/observe/dashboards');
  await page.getByRole('button', { name: 'Import' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('or its text').fill('{');
  await dialog.getByText('It is not JSON').waitFor();
  await dialog.getByLabel('or its text').fill(JSON.stringify({ ...BOARD, title: 'Imported' }));
  await dialog.getByText('type geomap is not known').waitFor();
  await accessible(page, 'Import').catch(() => accessibleAsIs(page, 'Import'));
  await dialog.getByRole('combobox', { name: 'Namespace' }).selectOption('default');
  await dialog.getByRole('button', { name: 'Keep it' }).click();
  await page.getByRole('heading', { name: 'Imported', level: 1 }).waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('heading', { name: 'Dashboards', level: 1 }).waitFor();
  // Its row has a link to the object, too.
  await page.getByRole('link', { name: 'Imported', exact: true }).waitFor({ state: 'detached' });
});

test('a silence says what it covers, is made and ended', async () => {
  await goto('/observe/alerts');
  await page.getByRole('button', { name: 'Silence TooSlow' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Covers 1 alert').waitFor();
  await accessibleAsIs(page, 'Silence');
  await dialog.getByLabel('Why').fill('we are on it');
  await dialog.getByRole('button', { name: 'Silence', exact: true }).click();
  await page.getByRole('button', { name: 'Silences' }).click();
  await page.getByText('we are on it').waitFor();
  assert.equal(signals.silences.at(-1).createdBy.length > 0, true);
  await page.getByRole('button', { name: 'End' }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'End' }).click();
  await page.getByText('Expired').waitFor();
});

test('an alert shows at once when the history tells of it, without a refresh', async () => {
  await goto('/observe/alerts');
  await page.getByText('TooSlow on hello-1').waitFor();
  await until('it is followed', () => signals.tails.size > 0, 5000);
  const before = signals.asked.filter((a) => a.includes('/api/v1/rules')).length;
  signals.write(JSON.stringify({ event: 'fires', alertname: 'Sudden', labels: { pod: 'hello-2' } }), Date.now(), { job: 'towpath/notifications' });
  await until('alerts are asked for again', () => signals.asked.filter((a) => a.includes('/api/v1/rules')).length > before, 5000);
  await page.getByRole('button', { name: 'History', exact: true }).click();
  await page.getByRole('row', { name: /Firing Sudden/ }).waitFor();
});

test('routes say who is told of what; another Alertmanager is shown as it is written', async () => {
  await goto('/observe/alerts?tab=routes');
  await page.getByRole('row', { name: /severity="critical".* goes on pager alertname, namespace 10s/ }).waitFor();
  await page.getByRole('row', { name: /nobody none none, it is never told/ }).waitFor();
  await page.getByRole('row', { name: /pager.*the answer was 503/ }).waitFor();
  signals.yaml = 'route:\n  receiver: everyone\n';
  await goto('/observe/alerts?tab=routes');
  await page.getByRole('region', { name: 'Configuration' }).getByText('receiver: everyone').waitFor();
  await accessible(page, 'Routes of another Alertmanager');
  delete signals.yaml;
});

test('without the servers of signals every screen says so, and nothing else breaks', async () => {
  signals.absent = new Set(['prometheus', 'loki', 'tempo', 'alertmanager']);
  for (const [path, text] of [['/observe/explore', 'Metrics are not served'], [explore(['up']), 'Metrics are not served'], ['/observe/explore?mode=logs', 'Logs are not served'], [`/observe/explore?mode=traces&trace=${TRACE}`, 'Traces are not served'], ['/observe/dashboards/default/boards/hello.json', 'are not served by this server yet'], ['/observe/alerts', 'Notifications and silences are not served']]) {
    await goto(path);
    await page.getByText(text).first().waitFor();
    await accessible(page, `${path} without signals`);
  }
  signals.absent.clear();
});

test('keys and the palette lead to each of them', async () => {
  await goto('/');
  await page.getByRole('heading', { name: 'Now', level: 1 }).waitFor();
  for (const [key, name] of [['x', 'Explore'], ['d', 'Dashboards'], ['l', 'Alerts']]) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await page.getByRole('heading', { name, level: 1 }).waitFor();
  }
  await page.keyboard.press('Control+k');
  await page.getByLabel('Go, act, recent').fill('dashboards');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Dashboards', level: 1 }).waitFor();
});

test('forced colours keep the text of the editor and the chart', async () => {
  await page.emulateMedia({ forcedColors: 'active', reducedMotion: 'reduce' });
  await goto(explore(['up']));
  await slider().waitFor();
  await accessibleAsIs(page, 'Explore with forced colours');
  await page.emulateMedia({ forcedColors: 'none', reducedMotion: 'no-preference' });
});

test('the pages raised no errors under the strict CSP', () => {
  // Refusals and absences are what the tests ask for.
  assert.deepEqual(errors.filter((e) => !/WebSocket|status of 40[04]/.test(e)), []);
});

test('with a real server: its own metrics in Explore and on a dashboard', async (t) => {
  const headers = { authorization: `Bearer ${server.token}` };
  const answer = await fetch(`${server.url}/prometheus/api/v1/query?query=1`, { headers });
  if (!answer.ok) {
    if (process.env.TOWPATH_TEST_FULL) assert.fail(`this server does not serve metrics: ${answer.status}`);
    t.skip(`this server does not serve metrics: ${answer.status}`);
    return;
  }
  await until('something is measured', async () => (await server.get('/prometheus/api/v1/query?query=count(%7B__name__%3D~%22.%2B%22%7D)')).data.result.length > 0, 120_000);
  const real = await enter(browser, server);
  const tab = real.page;
  await tab.goto(`${server.url}/observe/explore`);
  const first = tab.getByRole('region', { name: 'Metrics by name' }).locator('tbody button').first();
  await first.waitFor({ timeout: 30_000 });
  await accessible(tab, 'Explore, real');
  await tab.goto(`${server.url}${explore(['count({__name__=~".+"})'], '&from=now-15m&to=now')}`);
  await tab.getByRole('slider').waitFor({ timeout: 30_000 });
  await accessible(tab, 'Chart, real');
  await tab.goto(`${server.url}${explore(['sum(up))'])}`);
  await tab.getByRole('alert').waitFor();
  assert.equal(await tab.locator('.wrong').first().textContent(), ')');
  await tab.goto(`${server.url}/observe/dashboards/shipped/node`);
  await tab.getByRole('heading', { name: 'Load over cores' }).waitFor();
  await accessible(tab, 'Node dashboard, real');
  assert.deepEqual(real.errors.filter((e) => !/status of 40[04]/.test(e)), []);
  await real.context.close();
});
