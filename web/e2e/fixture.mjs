// Objects of the spine in every state a screen can show, and a stand-in for the part of the
// server that would change them: the controllers of a real server would at once correct states
// like these. The shell, the session, the CSP and every other kind come from the real server.

const NAMESPACE = 'demo';
const GROUP = '/k8s/apis/towpath.dev/v1alpha1/';
const hex = (seed) => Array.from({ length: 40 }, (_, i) => ((seed * 7 + i * (seed + 3) * 5 + 11) % 16).toString(16)).join('');
export const sha = Object.fromEntries(['running', 'gate', 'degraded', 'back', 'waiting', 'healthy', 'old', 'older', 'tests', 'syntax', 'bill'].map((name, i) => [name, hex(i + 2)]));
const name = (repository, commit) => `${repository}-${commit.slice(0, 12)}`;

export function objects(now = Date.now()) {
  const at = (minutes) => new Date(now - minutes * 60_000).toISOString().replace(/\.\d+/, '');
  let serial = 0;
  const object = (kind, metadata, rest) => ({
    apiVersion: 'towpath.dev/v1alpha1', kind,
    metadata: { namespace: NAMESPACE, uid: `uid-${kind}-${++serial}`, resourceVersion: String(serial), ...metadata }, ...rest,
  });
  const step = (number, title, phase, from, seconds, more = {}) => ({
    number, name: title, phase, logLines: phase === 'Queued' ? 0 : 240,
    ...(from === undefined ? {} : { startedAt: at(from) }), ...(seconds === undefined || from === undefined ? {} : { finishedAt: at(from - seconds / 60) }), ...more,
  });
  const gates = (bad) => [
    { gate: 'coverage', passed: true, message: 'line coverage 81.4 % is at least 60 %', findings: [] },
    { gate: 'secrets', passed: bad !== 'secrets', message: bad === 'secrets' ? '1 secret found; remove it from the commit and replace it' : 'no secret found in 214 files', findings: bad === 'secrets' ? [{ severity: 'error', rule: 'aws-access-key', message: 'looks like an AWS access key', file: 'settings.env', line: 1, column: 19, hint: 'keep it in a Secret and read it from the environment' }] : [] },
    { gate: 'vulnerabilities', passed: true, message: '0 of 96 packages have a known vulnerability of severity high or above', findings: [] },
  ];
  const jobs = (start, state) => [
    { id: 'test', name: 'Test', needs: [], phase: state === 'tests' ? 'Failed' : state === 'running' ? 'Running' : 'Succeeded', message: state === 'tests' ? 'step Unit tests failed: exit code 101' : '', pod: `run-test-${start}`, startedAt: at(start), ...(state === 'running' ? {} : { finishedAt: at(start - 1.6) }),
      steps: [
        step(1, 'Check out', 'Succeeded', start, 2),
        step(2, 'Build', 'Succeeded', start - 0.1, 48, { annotations: [{ severity: 'warning', rule: 'unused', message: 'unused variable: `count`', file: 'src/main.rs', line: 42 }] }),
        step(3, 'Unit tests', state === 'tests' ? 'Failed' : state === 'running' ? 'Running' : 'Succeeded', start - 1, state === 'running' ? undefined : 31, state === 'tests' ? { exitCode: 101, firstErrorLine: 200 } : {}),
      ] },
    { id: 'image', name: 'Image', needs: ['test'], phase: state === 'tests' ? 'Skipped' : state === 'running' ? 'Queued' : 'Succeeded', message: state === 'tests' ? 'a job it needs did not succeed' : '', ...(state === 'tests' || state === 'running' ? {} : { startedAt: at(start - 1.7), finishedAt: at(start - 2.2) }),
      steps: [step(1, 'Build and push', state === 'tests' ? 'Skipped' : state === 'running' ? 'Queued' : 'Succeeded', state ? undefined : start - 1.7, 28)] },
  ];
  const run = (key, title, age, state = '', more = {}, repository = 'hello') => object('Run', { name: `run-${sha[key].slice(0, 10)}`, creationTimestamp: at(age), labels: { 'towpath.dev/commit': sha[key] } }, {
    spec: { repository, ref: 'refs/heads/main', sha: sha[key], before: '0'.repeat(40), event: 'push', workflow: '.github/workflows/ci.yml', actor: 'ada', attempt: 1, cancel: false, ...(more.spec ?? {}) },
    status: {
      phase: state === 'running' ? 'Running' : ['tests', 'gate', 'syntax'].includes(state) ? 'Failed' : 'Succeeded', workflowName: 'CI', attempt: 1, title,
      message: { tests: 'job Test failed at step Unit tests', gate: 'gate secrets did not pass', syntax: 'the workflow is not valid', running: '' }[state] ?? '',
      startedAt: at(age), ...(state === 'running' ? {} : { finishedAt: at(age - (3 + (serial % 3) * 0.2)) }),
      jobs: state === 'syntax' ? [] : jobs(age, state === 'gate' ? '' : state), gates: state === 'running' || state === 'tests' || state === 'syntax' ? [] : gates(state === 'gate' ? 'secrets' : ''), images: [],
      findings: state === 'syntax' ? [{ severity: 'error', rule: 'unknown-key', message: 'unknown key "step" in a job', file: '.github/workflows/ci.yml', line: 14, column: 5, hint: 'did you mean "steps"?' }] : [],
    },
  });
  const image = (key, repository = 'hello') => ({ name: `demo/${repository}`, tag: sha[key].slice(0, 12), digest: `sha256:${hex(serial)}${hex(serial + 1).slice(0, 24)}`, sbom: `sha256:${hex(serial + 2)}${hex(serial).slice(0, 24)}` });
  const release = (key, title, age, hold, repository = 'hello') => object('Release', { name: name(repository, sha[key]), creationTimestamp: at(age) }, {
    spec: { repository, sha: sha[key], branch: 'main', title, run: `run-${sha[key].slice(0, 10)}`, actor: 'ada', images: [image(key, repository)], gates: gates(''), ...(hold ? { hold } : {}) },
  });
  const promotion = (key, stage, kind, age, phase, more = {}, repository = 'hello') => object('Promotion', { name: `${repository}-${stage}-${kind}-${sha[key].slice(0, 6)}`, creationTimestamp: at(age) }, {
    spec: { environment: `${repository}-${stage}`, release: name(repository, sha[key]), kind, by: kind === 'deploy' ? '' : 'ada', cancel: false, ...(more.spec ?? {}) },
    status: {
      phase, release: name(repository, sha[key]), previous: '', revision: '', message: more.message ?? (phase === 'Succeeded' ? 'healthy' : ''), startedAt: at(age),
      ...(['Succeeded', 'Failed', 'Refused'].includes(phase) ? { finishedAt: at(age - 0.4 - (serial % 4) * 0.1) } : {}),
      gates: more.gates ?? [{ name: 'hold', answer: 'pass', message: 'not on hold' }, { name: 'after', answer: 'pass', message: 'ran healthily in dev' }], ...(more.evidence ? { evidence: more.evidence } : {}),
    },
  });
  const entry = (key, stage, kind, age, outcome = 'Succeeded', reason = '', repository = 'hello') => ({ kind, release: name(repository, sha[key]), sha: sha[key], revision: hex(serial), promotion: `${repository}-${stage}-${kind}-${sha[key].slice(0, 6)}`, by: kind === 'deploy' ? '' : 'ada', ...(reason ? { reason } : {}), at: at(age), outcome });
  const environment = (stage, order, spec, status, repository = 'hello') => object('Environment', { name: `${repository}-${stage}`, creationTimestamp: at(9000) }, {
    spec: { repository, stage, order, branch: 'main', path: `deploy/overlays/${stage}`, namespace: `${repository}-${stage}`, promotion: {}, ...spec },
    ...(status ? { status: { revision: hex(order), promotion: '', sync: 'Synced', message: '', history: [], ...status } } : {}),
  });
  const held = { by: 'ada', since: at(50), reason: 'rolled back from stg: greeting is empty for 3 % of visitors' };

  return {
    repositories: [object('Repository', { name: 'hello', creationTimestamp: at(9000) }, { spec: { defaultBranch: 'main', description: 'The sample application' } })],
    runs: [
      run('running', 'Speed up the visit counter', 1.5, 'running'),
      run('gate', 'Add settings', 12, 'gate', { spec: { actor: 'grace' } }),
      run('degraded', 'A new entry point', 25),
      run('back', 'Cache the greeting', 80),
      run('waiting', 'Say hello in Dutch', 150),
      run('healthy', 'Show the number of visits', 1400),
      run('old', 'Log in JSON', 2900),
      run('older', 'The sample service', 4400),
      run('tests', 'Try a faster hash', 30, 'tests', { spec: { ref: 'refs/heads/faster-hash', actor: 'grace' } }),
      run('syntax', 'Reorder the workflow', 200, 'syntax', { spec: { ref: 'refs/heads/workflow', actor: 'grace' } }),
      run('bill', 'Round invoices half to even', 600, '', {}, 'billing'),
    ],
    releases: [
      release('degraded', 'A new entry point', 22), release('back', 'Cache the greeting', 77, held), release('waiting', 'Say hello in Dutch', 147),
      release('healthy', 'Show the number of visits', 1397), release('old', 'Log in JSON', 2897), release('older', 'The sample service', 4397), release('bill', 'Round invoices half to even', 597, undefined, 'billing'),
    ],
    environments: [
      environment('dev', 1, { promotion: { auto: true }, url: 'http://127.0.0.1:30253' }, {
        release: name('hello', sha.degraded), sha: sha.degraded, health: 'Degraded', since: at(21), promotion: `hello-dev-deploy-${sha.degraded.slice(0, 6)}`,
        message: 'Deployment hello: 0 of 2 pods ready; container hello exits with code 3',
        history: [entry('degraded', 'dev', 'deploy', 21, 'Failed'), entry('back', 'dev', 'deploy', 76), entry('waiting', 'dev', 'deploy', 146), entry('healthy', 'dev', 'deploy', 1396), entry('old', 'dev', 'deploy', 2896)],
      }),
      environment('stg', 2, { promotion: { after: 'dev' }, url: 'http://127.0.0.1:30254' }, {
        release: name('hello', sha.waiting), sha: sha.waiting, health: 'Healthy', since: at(50),
        history: [entry('waiting', 'stg', 'rollback', 50, 'Succeeded', 'greeting is empty for 3 % of visitors'), entry('back', 'stg', 'promote', 70), entry('waiting', 'stg', 'promote', 140), entry('healthy', 'stg', 'promote', 1390)],
      }),
      environment('prd', 3, { promotion: { after: 'stg', approvals: 1 }, protected: true, url: 'http://127.0.0.1:30255' }, {
        release: name('hello', sha.healthy), sha: sha.healthy, health: 'Healthy', since: at(1380),
        history: [entry('healthy', 'prd', 'promote', 1380), entry('old', 'prd', 'promote', 2880), entry('older', 'prd', 'auto-rollback', 3000, 'Succeeded', 'not healthy within 10 min')],
      }),
      environment('dev', 1, { promotion: { auto: true } }, { release: name('billing', sha.bill), sha: sha.bill, health: 'Healthy', sync: 'OutOfSync', since: at(596), message: 'Deployment billing: spec.replicas is 3, git says 2', history: [entry('bill', 'dev', 'deploy', 596, 'Succeeded', '', 'billing')] }, 'billing'),
      environment('stg', 2, { promotion: { after: 'dev' } }, undefined, 'billing'),
    ],
    promotions: [
      promotion('degraded', 'dev', 'deploy', 21, 'Failed', { message: 'it is degraded: container hello exits with code 3', evidence: ['pod hello-7c9d8b6f5-x2x9q: container hello exited with code 3, 5 restarts', 'cannot start: no flux', 'pod hello-7c9d8b6f5-x2x9q: BackOff: Back-off restarting failed container'] }),
      promotion('back', 'dev', 'deploy', 76, 'Succeeded'), promotion('back', 'stg', 'promote', 70, 'Succeeded'),
      promotion('waiting', 'dev', 'deploy', 146, 'Succeeded'), promotion('waiting', 'stg', 'promote', 140, 'Succeeded'),
      promotion('waiting', 'prd', 'promote', 40, 'WaitingForApproval', { message: '1 approval is missing', gates: [{ name: 'hold', answer: 'pass', message: 'not on hold' }, { name: 'after', answer: 'pass', message: 'runs healthily in stg since 50 min' }, { name: 'approvals', answer: 'wait', message: '0 of 1' }] }),
      promotion('healthy', 'dev', 'deploy', 1396, 'Succeeded'), promotion('healthy', 'stg', 'promote', 1390, 'Succeeded'), promotion('healthy', 'prd', 'promote', 1380, 'Succeeded', { spec: { approvals: [{ by: 'grace', at: at(1381), reason: 'tried it in stg' }] } }),
      promotion('old', 'dev', 'deploy', 2896, 'Succeeded'), promotion('old', 'prd', 'promote', 2880, 'Succeeded'),
      promotion('bill', 'dev', 'deploy', 596, 'Succeeded', {}, 'billing'),
    ],
  };
}

const DIFF = `diff --git a/src/main.rs b/src/main.rs
index 3f1e2c4..9b0d7aa 100644
--- a/src/main.rs
+++ b/src/main.rs
@@ -12,7 +12,8 @@ async fn greet(State(app): State<App>) -> String {
     let visits = app.count().await;
-    format!("Hello! You are visit number {visits}")
+    let greeting = app.greeting().await;
+    format!("{greeting} You are visit number {visits}")
 }
diff --git a/deploy/base/kustomization.yaml b/deploy/base/kustomization.yaml
index 1111111..2222222 100644
--- a/deploy/base/kustomization.yaml
+++ b/deploy/base/kustomization.yaml
@@ -1,3 +1,4 @@
 resources:
 - deployment.yaml
+- config.yaml
`;

/** A log of a test program with its first error at line 200. */
export function testLog(lines) {
  return Array.from({ length: lines }, (_, i) => {
    const n = i + 1;
    if (n === 200) return "thread 'greets' panicked at src/main.rs:88: left: 3, right: 4";
    if (n === lines) return 'test result: FAILED. 238 passed; 1 failed';
    return `test case_${String(n).padStart(6, '0')} ... ok`;
  });
}

/** Answers a context's requests for the kinds of the spine from `data`. */
export class Spine {
  constructor(data) {
    this.data = data;
    /** plural → { status, error } where the list is refused. */
    this.refused = new Map();
    /** Holds back every list, as a slow server would. */
    this.silent = false;
    this.logs = { lines: testLog(240), chunk: 50, delayMs: 0, end: true };
    /** Paths that logs were asked for by. */
    this.asked = [];
    this.written = [];
    this.sockets = new Set();
  }

  list(url) {
    const { pathname, searchParams } = new URL(url, 'http://x');
    const found = /^\/k8s\/apis\/towpath\.dev\/v1alpha1\/(?:namespaces\/([^/]+)\/)?([a-z]+)$/.exec(pathname);
    if (!found) return undefined;
    const [, namespace, plural] = found;
    const only = /^metadata\.name=(.*)$/.exec(searchParams.get('fieldSelector') ?? '')?.[1];
    const items = (this.data[plural] ?? []).filter((o) => (!namespace || o.metadata.namespace === namespace) && (!only || o.metadata.name === only));
    return { plural, items };
  }

  async install(context) {
    await context.routeWebSocket(/\/api\/v1\/ws$/, (page) => this.socket(page));
    await context.route((url) => url.pathname.startsWith(GROUP), (route) => this.http(route));
    await context.route(/\/api\/v1\/repos\/[^/]+\/[^/]+\/commits\/[0-9a-f]+$/, (route) => route.fulfill({ json: { sha: sha.waiting, parents: [sha.healthy], author: 'Ada Lovelace <ada@example.org>', authoredAt: '2026-01-31T10:00:00Z', title: 'Say hello in Dutch', message: 'Say hello in Dutch\n\nVisitors from the Netherlands asked for it.\n', files: ['src/main.rs', 'deploy/base/kustomization.yaml'], diff: DIFF } }));
  }

  http(route) {
    const request = route.request();
    if (request.method() === 'GET') {
      const list = this.list(request.url());
      return list ? route.fulfill({ json: { items: list.items } }) : route.continue();
    }
    this.written.push({ method: request.method(), path: new URL(request.url()).pathname, body: request.postDataJSON() });
    return route.fulfill({ json: { kind: 'Status', status: 'Success' } });
  }

  socket(page) {
    const server = page.connectToServer();
    const state = { page, watches: new Map(), stopped: new Set() };
    this.sockets.add(state);
    page.onClose(() => this.sockets.delete(state));
    const send = (message) => this.sockets.has(state) && page.send(JSON.stringify(message));
    page.onMessage((text) => {
      const message = JSON.parse(text);
      state.stopped.delete(message.id);
      if (message.op === 'stop') {
        state.watches.delete(message.id);
        state.stopped.add(message.id);
      } else if (message.op === 'log' && message.path.startsWith('/api/v1/runs/')) {
        void this.log(message, state, send);
        return;
      } else if (message.op === 'watch') {
        const list = this.list(message.path);
        if (list) {
          this.watch(message.id, list, state, send);
          return;
        }
      }
      server.send(text);
    });
    server.onMessage((text) => this.sockets.has(state) && page.send(text));
  }

  watch(id, { plural, items }, state, send) {
    const refused = this.refused.get(plural);
    if (refused) return send({ id, end: true, ...refused });
    state.watches.set(id, { plural });
    if (this.silent) return undefined;
    for (const object of items) send({ id, event: { type: 'ADDED', object } });
    return send({ id, event: { type: 'BOOKMARK', object: { metadata: { name: '', annotations: { 'k8s.io/initial-events-end': 'true' } } } } });
  }

  async log({ id, path }, state, send) {
    this.asked.push(path);
    const { lines, chunk, delayMs, end } = this.logs;
    const from = Number(new URL(path, 'http://x').searchParams.get('from') ?? 1);
    for (let at = from - 1; at < lines.length; at += chunk) {
      if (!this.sockets.has(state) || state.stopped.has(id)) return;
      const text = `${lines.slice(at, at + chunk).join('\n')}\n`;
      // Cut in the middle of a line now and then, as the network does.
      const half = Math.floor(text.length / 2);
      send({ id, text: text.slice(0, half) });
      if (delayMs) await new Promise((resolve) => setTimeout(resolve, delayMs));
      if (!this.sockets.has(state) || state.stopped.has(id)) return;
      send({ id, text: text.slice(half) });
    }
    if (end) send({ id, end: true, status: 200 });
  }

  /** Changes an object as a controller would. */
  change(plural, wanted, change) {
    const object = this.data[plural].find((o) => o.metadata.name === wanted);
    change(object);
    for (const { page, watches } of this.sockets)
      for (const [id, watch] of watches) if (watch.plural === plural) page.send(JSON.stringify({ id, event: { type: 'MODIFIED', object } }));
  }

  /** Breaks every connection, as a sleeping laptop does. */
  async cut() {
    const all = [...this.sockets];
    this.sockets.clear();
    for (const { page } of all) await page.close({ code: 4000, reason: 'cut' });
  }
}
