// Every screen in every state: accessible in both themes, usable by keyboard alone, at 320 px and
// with forced colours, with a broken connection, without rights, with very much to show.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, accessibleAsIs, enter, launch } from './browser.mjs';
import { Cases } from './cases.mjs';
import { objects, sha, Spine, testLog } from './fixture.mjs';
import { Server, until } from './server.mjs';

let server, browser, spine, incidents, page, errors;

const goto = (path) => page.goto(server.url + path);
const heading = (name) => page.getByRole('heading', { name, level: 1 });
const commit = (key, query = '') => `/p/demo/c/${sha[key]}${query}`;

before(async () => {
  server = await Server.start();
  browser = await launch();
  spine = new Spine(objects());
  incidents = new Cases();
  ({ page, errors } = await enter(browser, server, async (context) => {
    await spine.install(context);
    await incidents.install(context);
  }));
});

after(async () => {
  await browser?.close();
  server?.stop();
});

// Screen, what must be seen on it.
const screens = [
  ['Now', '/', 'Needs you'],
  ['Commits', '/p/demo', 'gate secrets'],
  ['Commits, filtered', '/p/demo?only=held', 'showing 1 of 11'],
  ['Commits, nothing matches', '/p/demo?q=nothing', 'No commit matches the filter.'],
  ['Journey, running', commit('running'), '0 of'],
  ['Journey, failed gate', commit('gate'), 'settings.env:1:19'],
  ['Journey, failed test', commit('tests'), "thread 'greets' panicked"],
  ['Journey, workflow not valid', commit('syntax'), 'did you mean "steps"?'],
  ['Journey, degraded with evidence', commit('degraded'), 'cannot start: no flux'],
  ['Journey, rolled back and held', commit('back'), 'Lift the hold'],
  ['Journey, waiting for approval', commit('waiting'), '1 approval is missing'],
  ['Journey, healthy', commit('healthy'), 'Runs in prd'],
  ['Journey, source', commit('waiting', '?s=source'), 'Visitors from the Netherlands'],
  ['Journey, image', commit('back', '?s=image'), 'sha256:'],
  ['Journey, timeline', commit('healthy', '?s=timeline'), 'tried it in stg'],
  ['Journey, unknown commit', `/p/demo/c/${'f'.repeat(40)}`, 'No run of this commit is known'],
  ['Environments', '/p/demo/envs', 'Waiting for approval'],
  ['Environment, protected', '/p/demo/envs?env=hello-prd', 'Automatic rollback'],
  ['Environment, rolled back', '/p/demo/envs?env=hello-stg', 'Rollback from'],
  ['Environment, drifted', '/p/demo/envs?env=billing-dev', 'git says 2'],
  ['Environment, empty', '/p/demo/envs?env=billing-stg', 'Nothing runs here yet'],
  ['Commits of an empty project', '/p/empty', 'No commits yet'],
  ['Environments of an empty project', '/p/empty/envs', 'No environments yet'],
  ['Resources', '/r?kind=services', 'kubernetes'],
  ['Resources, none', '/r?kind=statefulsets', 'No statefulsets'],
  ['Resources, unknown kind', '/r?kind=nonsense', 'no kind called'],
  ['Resource', '/r/one?path=%2Fapi%2Fv1%2Fnamespaces%2Fdefault%2Fservices%2Fkubernetes', 'kind: Service'],
  ['Resource, events', '/r/one?tab=events&path=%2Fapi%2Fv1%2Fnamespaces%2Fdefault%2Fservices%2Fkubernetes', 'No events'],
  ['Resource, gone', '/r/one?path=%2Fapi%2Fv1%2Fnamespaces%2Fdefault%2Fservices%2Fgone', 'There is no gone any more'],
  ['Incidents', '/i', 'by ada: image of hello'],
  ['Incidents, closed', '/i?state=closed', 'confirmed'],
  ['Incidents, nothing matches', '/i?q=nowhere', 'No incident matches the filter.'],
  ['Incident, a commit is behind it', '/i/c-3f9k2m0q7x1a', 'the share of errors rose 95 seconds after'],
  ['Incident, nothing explains it', '/i/c-nobody', 'so nothing is blamed'],
  ['Incident, closed and confirmed', '/i/c-old', 'rolled back to'],
  ['Incident, gone', '/i/c-gone', 'There is no case c-gone'],
  ['Audit', '/protect/audit', 'the newest first'],
  ['Audit, nothing matches', '/protect/audit?user=nobody', 'No event matches the filter.'],
  ['No such page', '/nowhere', 'This address leads nowhere'],
];

for (const [name, path, text] of screens) {
  test(`${name}: accessible, fits 320 px`, async () => {
    await goto(path);
    const wanted = name === 'Journey, running' ? page.getByRole('log') : page.getByText(text).first();
    await wanted.waitFor({ state: 'visible', timeout: 15_000 });
    await accessible(page, name);
    assert.equal(await page.locator('h1').count(), 1, 'one h1');
    assert.match(await page.title(), / · Towpath$/);
    await page.setViewportSize({ width: 320, height: 800 });
    const wide = await page.evaluate('document.documentElement.scrollWidth');
    const small = await page.evaluate(() => [...document.querySelectorAll('nav a, button, select, input, summary')]
      .filter((e) => e.offsetParent && !e.closest('.log, .visually-hidden') && e.getClientRects().length && (e.getBoundingClientRect().height < 16)).map((e) => e.outerHTML.slice(0, 90)));
    await page.setViewportSize({ width: 1360, height: 900 });
    assert.ok(wide <= 320, `${name} is ${wide} px wide at 320 px`);
    assert.deepEqual(small, []);
  });
}

test('an empty server says what to do first', async () => {
  const whole = spine.data;
  spine.data = { runs: [], releases: [], environments: [], promotions: [], repositories: [] };
  const { all } = incidents;
  incidents.all = [];
  await goto('/');
  await page.getByText('towpath repo create').waitFor();
  await accessible(page, 'Now, empty');
  await goto('/i');
  await page.getByText('Nothing has gone wrong.').waitFor();
  await accessible(page, 'Incidents, empty');
  spine.data = whole;
  incidents.all = all;
});

test('a slow server: what is awaited is said, nothing is called empty', async () => {
  spine.silent = true;
  await goto('/p/demo');
  await page.getByText('Still waiting for commits').waitFor();
  assert.equal(await page.getByText('No commits yet').count(), 0);
  await accessible(page, 'Commits, loading');
  spine.silent = false;
});

test('a partial failure names its source and leaves the rest', async () => {
  spine.refused.set('environments', { status: 500, error: 'the store does not answer' });
  await goto('/p/demo');
  await page.getByRole('alert').getByText('Environments cannot be shown.').waitFor();
  await page.getByText('Say hello in Dutch').waitFor();
  await accessible(page, 'Commits, partial');
  spine.refused.clear();
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.getByRole('alert').waitFor({ state: 'detached' });
});

test('without the right, the missing right is said', async () => {
  spine.refused.set('runs', { status: 403, error: 'runs.towpath.dev is forbidden: User "eve" cannot list resource "runs"' });
  await goto('/p/demo');
  await page.getByText('You may not see runs.').waitFor();
  await page.getByText('An administrator grants it').waitFor();
  await accessible(page, 'Commits, denied');
  spine.refused.clear();
});

test('the journey is done with the keyboard alone', async () => {
  await goto('/');
  await heading('Now').waitFor();
  await page.getByText('Needs you').waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to content');
  // Everything that can be used is reached, in the order of the page, and the focus is seen.
  const seen = [];
  for (let i = 0; i < 15; i++) {
    await page.keyboard.press('Tab');
    seen.push(await page.evaluate(() => {
      const { activeElement: e } = document;
      return { name: e.textContent.trim() || e.getAttribute('aria-label'), outline: getComputedStyle(e).outlineStyle };
    }));
  }
  const names = seen.map((s) => s.name);
  assert.deepEqual(names.slice(0, 5), ['Towpath', 'Now', 'Incidents', 'Commits', 'Environments']);
  assert.ok(names.includes('Approve for prd'), names.join(' | '));
  assert.deepEqual(seen.filter((s) => s.outline === 'none').map((s) => s.name), []);

  await page.keyboard.press('g');
  await page.keyboard.press('c');
  await heading('Commits of demo').waitFor();
  await until('the heading has the focus', () => page.evaluate("document.activeElement.tagName === 'H1'"), 3000);
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  assert.equal(await page.evaluate('document.activeElement.textContent'), sha.gate.slice(0, 7));
  // The row with the focus shows absolute times.
  assert.match(await page.evaluate("document.activeElement.closest('tr').querySelector('time').innerText"), /^\d{4}-\d\d-\d\d /);
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  await heading('Speed up the visit counter').waitFor();
  await page.keyboard.press(']');
  await heading('Add settings').waitFor();
  await page.keyboard.press('[');
  await heading('Speed up the visit counter').waitFor();
  await page.keyboard.press('d');
  await page.getByText('Visitors from the Netherlands').waitFor();
  await page.keyboard.press('l');
  await page.getByRole('log').waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await heading('Resources').waitFor();
  await page.keyboard.press('/');
  assert.equal(await page.evaluate("document.activeElement.matches('[data-filter]')"), true);
  // Letters belong to the input then.
  await page.keyboard.type('gn');
  await until('the filter is in the URL', () => /q=gn/.test(page.url()), 5000);
});

test('a dialog keeps the focus, wants its reason, tells what it does, and gives the focus back', async () => {
  await goto(commit('degraded'));
  const opener = page.getByRole('button', { name: 'Roll back dev' });
  await opener.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Roll back dev' });
  await dialog.waitFor();
  await keepsTheFocus(dialog);
  assert.equal(await dialog.getByRole('button', { name: 'Roll back dev' }).isDisabled(), true);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate('document.activeElement.textContent'), 'Roll back dev');
  await page.keyboard.press('Enter');
  await dialog.getByLabel('Reason').fill('does not start');
  await dialog.getByRole('button', { name: 'Roll back dev' }).click();
  await dialog.waitFor({ state: 'hidden' });
  const { body } = spine.written.at(-1);
  assert.deepEqual(body.spec, { environment: 'hello-dev', release: '', kind: 'rollback', reason: 'does not start' });
});

async function keepsTheFocus(dialog) {
  const inside = await dialog.evaluate((d) => d.contains(document.activeElement));
  assert.equal(inside, true, 'the focus is inside');
  for (let i = 0; i < 8; i++) await page.keyboard.press('Tab');
  const out = await dialog.evaluate((d) => document.activeElement !== document.body && !d.contains(document.activeElement));
  assert.equal(out, false, 'the focus stays inside');
}

test('an incident names the commit, leads to its proof, and is rolled back from, by keyboard', async () => {
  await goto('/');
  await page.getByRole('link', { name: 'ErrorRateHigh: Deployment hello-dev/hello' }).waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('i');
  await heading('Incidents').waitFor();
  await page.getByRole('link', { name: 'ErrorRateHigh: Deployment hello-dev/hello' }).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await heading('ErrorRateHigh: Deployment hello-dev/hello').waitFor();
  const why = page.getByRole('region', { name: 'Why' });
  await why.getByRole('heading', { name: `${sha.degraded.slice(0, 7)} A new entry point` }).waitFor();
  assert.equal(await why.getByRole('link', { name: `Commit ${sha.degraded.slice(0, 7)}` }).getAttribute('href'), commit('degraded'));
  const shown = await why.getByRole('link', { name: /^Show the share of errors/ }).getAttribute('href');
  assert.match(decodeURIComponent(shown), /^\/observe\/explore\?from=\d+&to=now&q=sum\(rate/);
  await why.getByText('kubectl -n hello-dev describe pod').waitFor();
  await page.getByRole('button', { name: 'Roll back dev' }).focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Roll back dev' });
  // What it will do: from where to where, what to expect, how sure.
  await dialog.getByText(`Takes dev from ${sha.degraded.slice(0, 7)} (A new entry point) back to ${sha.back.slice(0, 7)}`).waitFor();
  await dialog.getByText('Expected: the share of errors falls').waitFor();
  await dialog.getByText('82 %').waitFor();
  await accessibleAsIs(page, 'Rolling back from an incident');
  await dialog.getByLabel('Reason').fill('errors');
  await dialog.getByRole('button', { name: 'Roll back dev' }).click();
  await dialog.waitFor({ state: 'hidden' });
  assert.deepEqual(spine.written.at(-1).body.spec, { environment: 'hello-dev', release: '', kind: 'rollback', reason: 'errors' });
  await page.getByText('A rollback of dev is asked for').waitFor();
  // The commit says it too.
  await goto(commit('degraded'));
  await page.getByRole('link', { name: 'ErrorRateHigh: Deployment hello-dev/hello' }).waitFor();
});

test('incidents that cannot be read say why, and Now lacks nothing else', async () => {
  incidents.refused = 500;
  for (const path of ['/i', '/i/c-3f9k2m0q7x1a']) {
    await goto(path);
    await page.getByRole('alert').getByText('the ledger cannot be read: the disk is full').waitFor();
    await accessible(page, `${path}, failing`);
  }
  incidents.refused = 0;
  await page.getByRole('button', { name: 'Retry' }).click();
  await heading('ErrorRateHigh: Deployment hello-dev/hello').waitFor();
  incidents.refused = 404;
  await goto('/i');
  await page.getByText('Incidents are not served by this server yet.').waitFor();
  await goto('/');
  await page.getByText('Needs you').waitFor();
  incidents.refused = 0;
});

test('a protected environment wants its name typed', async () => {
  await goto('/p/demo/envs?env=hello-prd');
  await page.getByText('More').click();
  await page.getByRole('button', { name: 'Roll back prd' }).or(page.getByRole('button', { name: 'Promote' })).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Reason').fill('why');
  const confirm = dialog.getByRole('button', { name: /prd/ });
  assert.equal(await confirm.isDisabled(), true);
  await dialog.getByLabel(/to confirm/).fill('prd');
  assert.equal(await confirm.isDisabled(), false);
  await page.keyboard.press('Escape');
});

test('an approval names who and is sent', async () => {
  await goto('/');
  await page.getByRole('button', { name: 'Approve' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Approve' }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  const { method, path, body } = spine.written.at(-1);
  assert.equal(method, 'PATCH');
  assert.match(path, /promotions\/hello-prd-promote/);
  assert.equal(body.spec.approvals.length, 1);
});

test('the sheet of keys and the palette', async () => {
  await goto('/p/demo/envs');
  await heading('Environments of demo').waitFor();
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await accessibleAsIs(page, 'Keys');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+k');
  const box = page.getByRole('combobox', { name: 'Go, act, recent' });
  await box.waitFor();
  await accessibleAsIs(page, 'Palette');
  await box.fill('dutch');
  await page.getByRole('option', { name: /Say hello in Dutch/ }).first().waitFor();
  await page.keyboard.press('Enter');
  await heading('Say hello in Dutch').waitFor();
  // Acting entries are those of the screen.
  await page.getByRole('button', { name: 'Approve' }).waitFor();
  await page.keyboard.press('Control+k');
  await box.fill('approve');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: /^Approve/ }).waitFor();
  await page.keyboard.press('Escape');
});

test('forced colours keep what is chosen visible', async () => {
  await page.emulateMedia({ forcedColors: 'active' });
  await goto(commit('degraded'));
  const station = page.locator('[aria-current=step]');
  await station.waitFor();
  assert.notEqual(await station.evaluate((e) => getComputedStyle(e).outlineStyle), 'none');
  // The words stay: status is not by colour alone.
  await page.getByText('Degraded').first().waitFor();
  // The contrast is the user's own then, and axe does not know it.
  await accessibleAsIs(page, 'Journey, forced colours', { 'color-contrast': { enabled: false } });
  await page.emulateMedia({ forcedColors: 'none' });
});

test('changes arrive without a reload', async () => {
  await goto('/p/demo/envs');
  await page.getByText('Degraded').first().waitFor();
  spine.change('environments', 'hello-dev', (e) => { e.status = { ...e.status, health: 'Healthy', message: '' }; });
  await page.getByText('Degraded').waitFor({ state: 'detached' });
});

test('a log goes on by line after the socket was cut in the middle', async () => {
  spine.logs = { lines: testLog(6000), chunk: 100, delayMs: 15, end: true };
  spine.asked = [];
  await goto(commit('running'));
  await page.getByText(/^[1-9][\d,]* lines/).waitFor();
  await page.waitForTimeout(200);
  await spine.cut();
  await page.getByText('The connection is lost.').waitFor();
  assert.match(await page.locator('.chip').innerText(), /^Reconnecting, \d+ s old/);
  await page.getByText('Live', { exact: true }).waitFor();
  await page.getByText(/^6,000 lines/).waitFor({ timeout: 30_000 });
  assert.equal(spine.asked.length, 2);
  assert.match(spine.asked[1], /from=(?!1&)\d+/);
  await page.getByRole('log').getByText('test result: FAILED').waitFor();
  // No line twice, none missing: numbers and texts agree.
  await page.getByLabel('Filter the log').fill('case_003');
  await page.getByText(/^1,000 of 6,000 lines/).waitFor();
});

test('a log of 150,000 lines: few of them in the document, the first error in view', async () => {
  spine.logs = { lines: testLog(150_000), chunk: 5000, delayMs: 0, end: true };
  await goto(commit('tests'));
  await page.getByText(/^150,000 lines/).waitFor({ timeout: 30_000 });
  const log = page.getByRole('log');
  await log.getByText("thread 'greets' panicked").waitFor();
  const drawn = () => log.evaluate((e) => e.querySelectorAll('*').length);
  assert.ok((await drawn()) < 400, `${await drawn()} elements`);
  await page.getByRole('button', { name: 'End' }).click();
  await log.getByText('test result: FAILED').waitFor();
  assert.ok((await drawn()) < 400);
  await page.getByLabel('Filter the log').fill('case_14999');
  await page.getByText(/^10 of 150,000 lines/).waitFor();
  await log.getByText('test case_149995').waitFor();
  await page.getByLabel('Filter the log').fill('');
  // A line has a link.
  await goto(commit('tests', '?s=checks&step=test/3&line=75000'));
  await log.getByText('test case_075000').waitFor({ timeout: 30_000 });
  spine.logs = { lines: testLog(240), chunk: 50, delayMs: 0, end: true };
});

test('the pages raised no errors under the strict CSP', () => {
  // What the tests themselves broke is not the pages' fault.
  assert.deepEqual(errors.filter((e) => !/WebSocket|status of (404|500)/.test(e)), []);
});

test('with a real server: 5,000 objects, 8 tabs, a stop and a start', async () => {
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' };
  const post = async (path, body) => {
    const response = await fetch(server.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
    assert.ok(response.ok, `${path}: ${response.status} ${await response.text()}`);
  };
  await post('/k8s/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'many' } });
  const left = Array.from({ length: 5000 }, (_, i) => i);
  await Promise.all(Array.from({ length: 32 }, async () => {
    for (let i = left.pop(); i !== undefined; i = left.pop())
      await post('/k8s/api/v1/namespaces/many/configmaps', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `object-${String(i).padStart(4, '0')}`, labels: { 'towpath.dev/commit': sha.old } }, data: { i: String(i) } });
  }));
  const real = await enter(browser, server);
  const tab = real.page;
  await tab.goto(`${server.url}/r?kind=configmaps&ns=many`);
  await tab.getByText(/^5,00\d configmaps/).waitFor({ timeout: 30_000 });
  assert.ok((await tab.evaluate("document.querySelectorAll('*').length")) < 4000);
  await tab.getByRole('button', { name: 'Next' }).click();
  await tab.getByText('101–200').waitFor();
  await tab.getByLabel('Filter').fill('object-4321');
  await tab.getByRole('link', { name: 'object-4321' }).waitFor();
  await tab.getByText(/^showing 1 of 5,00\d/).waitFor();
  await accessible(tab, 'Resources, filtered');
  await tab.reload();
  await tab.getByRole('link', { name: 'object-4321' }).waitFor();

  // One socket each, over HTTP/1.1 with its 6 connections per origin.
  const tabs = await Promise.all(Array.from({ length: 8 }, () => real.context.newPage()));
  await Promise.all(tabs.map((t) => t.goto(`${server.url}/r?kind=configmaps&ns=many&q=late`)));
  await Promise.all(tabs.map((t) => t.getByText('Nothing matches').waitFor({ timeout: 60_000 })));
  await post('/k8s/api/v1/namespaces/many/configmaps', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'late' } });
  await Promise.all(tabs.map((t) => t.getByRole('link', { name: 'late' }).waitFor()));
  await Promise.all(tabs.map((t) => t.close()));

  await server.towpath('down');
  await tab.getByText('The connection is lost.').waitFor();
  await tab.getByRole('link', { name: 'object-4321' }).waitFor();
  await accessible(tab, 'Resources, server stopped');
  await server.towpath('up');
  await tab.getByText('Live', { exact: true }).waitFor({ timeout: 30_000 });
  await tab.getByText('The connection is lost.').waitFor({ state: 'detached' });
  await tab.getByLabel('Filter').fill('object-0001');
  await tab.getByRole('link', { name: 'object-0001' }).waitFor();
  assert.deepEqual(real.errors.filter((e) => !/WebSocket|ERR_CONNECTION_REFUSED/.test(e)), []);
  await real.context.close();
});
