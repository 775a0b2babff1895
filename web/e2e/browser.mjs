// Debian's Chromium, driven by Playwright; axe on every screen.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const path = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** A bundle to look at instead of the one inside the binary, under the binary's own headers. */
const bundle = process.env.TOWPATH_DIST;
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml' };

async function serveBundle(context, server) {
  const headers = Object.fromEntries((await fetch(server.url, { headers: { accept: 'text/html' } })).headers);
  for (const name of ['content-encoding', 'content-length', 'etag', 'transfer-encoding']) delete headers[name];
  await context.route((url) => url.origin === server.url && !/^\/(api|k8s|git|v2|prometheus|loki|tempo|alertmanager)\//.test(url.pathname), (route) => {
    const name = new URL(route.request().url()).pathname.slice(1);
    const file = join(bundle, name && existsSync(join(bundle, name)) ? name : 'index.html');
    return route.fulfill({ headers: { ...headers, 'content-type': TYPES[file.split('.').at(-1)] }, body: readFileSync(file) });
  });
}

export async function launch() {
  return chromium.launch({
    executablePath: path,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      // A page that the test serves itself belongs to no address space.
      ...(bundle ? ['--disable-features=LocalNetworkAccessChecks'] : [])],
  });
}

/** A logged-in page; `prepare` sees the context before its first request. */
export async function enter(browser, server, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, bypassCSP: false });
  if (bundle) await serveBundle(context, server);
  await prepare(context);
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    // 401 is the question who one is; interfaces that come and go are pods of this machine.
    if (message.type() === 'error' && !/401|ERR_NETWORK_CHANGED/.test(message.text())) errors.push(message.text());
  });
  const once = page.goto.bind(page);
  page.goto = (url) => once(url).catch((error) => (String(error).includes('ERR_NETWORK_CHANGED') ? once(url) : Promise.reject(error)));
  await page.goto(server.url);
  await page.getByLabel('Token').fill(server.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: 'Now', level: 1 }).waitFor();
  return { context, page, errors };
}

export async function open(server) {
  const browser = await launch();
  return { browser, ...(await enter(browser, server)) };
}

/** No violation of WCAG 2.2 AA as the page is now; `rules` switches some off. */
export async function accessibleAsIs(page, screen, rules = {}) {
  const options = { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], rules };
  // Through the protocol, so that the page's CSP stays as it is.
  const found = await page.evaluate(`${axe}; axe.run(document, ${JSON.stringify(options)})`);
  const words = found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join('; ')}`);
  assert.deepEqual(words, [], screen);
}

/** No violation of WCAG 2.2 AA in either theme. */
export async function accessible(page, screen) {
  for (const theme of ['light', 'dark']) {
    await page.getByLabel('Theme').selectOption(theme);
    await accessibleAsIs(page, `${screen} in ${theme}`);
  }
  await page.getByLabel('Theme').selectOption('');
}
