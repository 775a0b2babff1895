// Stand-ins for the servers of signals: series, lines, rules and silences in every state that a
// screen can show. What they answer has the shape of the real ones; the real server is asked at
// the end of the tests.

const success = (data, more = {}) => ({ json: { status: 'success', data, ...more } });
const METRICS = {
  up: ['gauge', 'Whether the target was reached'], http_requests_total: ['counter', 'Requests by code'], http_request_duration_seconds_bucket: ['histogram', 'Duration of requests'],
  container_cpu_usage_seconds_total: ['counter', 'Processor time'], container_memory_working_set_bytes: ['gauge', 'Memory in use'], kube_pod_info: ['gauge', 'Pods'],
};

export class Signals {
  constructor() {
    /** Parts that answer 404, as on a server that does not have them. */
    this.absent = new Set();
    /** query → { status, error } */
    this.refused = new Map();
    this.asked = [];
    this.silences = [{ id: 's1', status: { state: 'active' }, comment: 'the disk is being replaced', createdBy: 'ada', startsAt: new Date().toISOString(), endsAt: new Date(Date.now() + 7_200_000).toISOString(), matchers: [{ name: 'alertname', value: 'Slow.*', isRegex: true, isEqual: true }] }];
    this.tails = new Set();
  }

  async install(context) {
    await context.route((url) => /^\/(prometheus|loki|alertmanager)\/api\//.test(url.pathname), (route) => {
      const url = new URL(route.request().url());
      const [, part] = url.pathname.split('/');
      if (this.absent.has(part)) return route.fulfill({ status: 404, contentType: 'text/plain', body: 'no such file' });
      const asked = new URLSearchParams(route.request().method() === 'POST' && part === 'prometheus' ? route.request().postData() : url.search);
      this.asked.push(`${url.pathname}?${asked}`);
      return route.fulfill(this[part](url.pathname.replace(/^\/\w+\/api\/v\d\//, ''), asked, route.request()));
    });
    await context.route((url) => url.pathname === '/api/v1/changes', (route) => route.fulfill({ json: { changes: [{ id: 'c1', at: Date.now() - 600_000, kind: 'deploy', object: { kind: 'Deployment', namespace: 'hello-dev', name: 'hello' }, commit: '4f2c91e0aabb', promotion: 'demo/p', by: 'ada', words: 'hello runs 4f2c91e' }], lost: 0 } }));
    await context.routeWebSocket(/\/loki\/api\/v1\/tail/, (ws) => {
      this.tails.add(ws);
      ws.onClose(() => this.tails.delete(ws));
    });
  }

  /** Writes a line to everyone who follows. */
  write(text, at = Date.now()) {
    for (const ws of this.tails) ws.send(JSON.stringify({ streams: [{ stream: { namespace: 'hello-dev', pod: 'hello-1' }, values: [[`${at}000000`, text]] }] }));
  }

  series(query) {
    if (/nothing_there/.test(query)) return [];
    if (/many_series/.test(query)) return Array.from({ length: 250 }, (_, i) => ({ __name__: 'many_series', instance: `10.0.0.${i}` }));
    if (/by \(le\)/.test(query) && !/histogram_quantile/.test(query)) return ['0.1', '0.5', '1', '+Inf'].map((le) => ({ le }));
    if (/by \(code\)/.test(query)) return ['200', '404', '500'].map((code) => ({ code }));
    if (/^up/.test(query)) return ['a:1', 'b:2'].map((instance) => ({ __name__: 'up', job: 'web', instance }));
    if (/pod/.test(query)) return ['hello-1', 'hello-2'].map((pod) => ({ pod, namespace: 'hello-dev' }));
    return [{}];
  }

  prometheus(path, asked) {
    const query = asked.get('query') ?? '';
    const refused = this.refused.get(query);
    if (refused) return { status: refused.status, json: { status: 'error', errorType: 'bad_data', error: refused.error } };
    if (path === 'query') return success({ resultType: 'vector', result: this.series(query).map((metric, i) => ({ metric, value: [Date.now() / 1000, String(i + 0.5)] })) });
    if (path === 'query_range') {
      const [start, end, step] = ['start', 'end', 'step'].map((n) => Number(asked.get(n)));
      const result = this.series(query).map((metric, n) => {
        const values = [];
        // A gap in the middle, as where a target was away.
        for (let t = start, i = 0; t <= end; t += step, i++) if (n !== 1 || i % 50 < 40) values.push([t, String(Math.round((n + 1) * (20 + 10 * Math.sin((t + n * 500) / 600)) * 100) / 100)]);
        return { metric, values };
      });
      return success({ resultType: 'matrix', result }, /rate\(up/.test(query) ? { infos: ['PromQL info: metric might not be a counter (1:6)'] } : {});
    }
    if (path === 'query_exemplars') return success(/_bucket/.test(query) ? [{ seriesLabels: {}, exemplars: [{ labels: { trace_id: 'abc123' }, value: '30', timestamp: Date.now() / 1000 - 900 }] }] : []);
    if (path === 'metadata') return success(Object.fromEntries(Object.entries(METRICS).map(([n, [type, help]]) => [n, [{ type, help, unit: '' }]])));
    if (path === 'label/__name__/values') return success(Object.keys(METRICS));
    if (path === 'labels') return success(['__name__', 'code', 'instance', 'job', 'namespace', 'pod']);
    if (path.startsWith('label/')) return success({ job: ['web', 'db'], instance: ['a:1', 'b:2'], namespace: ['hello-dev', 'hello-prd'] }[path.split('/')[1]] ?? ['one', 'two']);
    if (path === 'rules') {
      const rule = (name, state, more = {}) => ({ type: 'alerting', name, query: `${name.toLowerCase()} > 1`, duration: 60, labels: { severity: 'critical' }, annotations: {}, state, health: 'ok', evaluationTime: 0.0012, lastEvaluation: new Date().toISOString(), alerts: state === 'inactive' ? [] : [{ labels: { alertname: name, severity: 'critical', pod: 'hello-1' }, annotations: { summary: `${name} on hello-1`, runbook_url: 'https://example.org/runbook' }, state, activeAt: new Date(Date.now() - 300_000).toISOString(), value: '2e+00' }], ...more });
      return success({ groups: [{ name: 'hello', file: 'hello.yaml', interval: 15, rules: [rule('TooSlow', 'firing'), rule('Crowded', 'pending'), rule('Lost', 'inactive'), rule('Wrong', 'inactive', { health: 'err', lastError: 'many-to-many matching not allowed' }), { type: 'recording', name: 'job:up:sum', query: 'sum by (job) (up)', health: 'ok' }] }] });
    }
    return success([]);
  }

  loki(path, asked) {
    const query = asked.get('query') ?? '';
    if (path === 'labels') return success(['namespace', 'pod']);
    if (path.endsWith('/values')) return success(['hello-dev', 'hello-prd']);
    if (/^sum/.test(query)) {
      const [start, end] = ['start', 'end'].map((n) => Number(asked.get(n).slice(0, -9)));
      const step = parseInt(asked.get('step'), 10);
      const values = [];
      for (let t = start; t <= end; t += step) values.push([t, String(1 + (t % 7))]);
      return success({ resultType: 'matrix', result: [{ metric: { level: 'error' }, values }, { metric: { level: 'info' }, values }] });
    }
    if (/nothing/.test(query)) return success({ resultType: 'streams', result: [] });
    const now = Date.now();
    const lines = Array.from({ length: 60 }, (_, i) => [`${now - i * 1500}000000`, JSON.stringify({ level: ['error', 'info', 'warn', 'debug'][i % 4], msg: `request ${i} was answered` })]);
    return success({ resultType: 'streams', result: [{ stream: { namespace: 'hello-dev', pod: 'hello-1' }, values: lines }] });
  }

  alertmanager(path, asked, request) {
    if (path === 'alerts') {
      const alert = (name, status) => ({ labels: { alertname: name, severity: 'warning', node: 'n1' }, annotations: { summary: `${name} on n1` }, startsAt: new Date(Date.now() - 3_000_000).toISOString(), endsAt: new Date().toISOString(), fingerprint: name, receivers: [{ name: 'team' }], status: { state: 'active', silencedBy: [], inhibitedBy: [], ...status } });
      return { json: [alert('SlowDisk', { state: 'suppressed', silencedBy: ['s1'] }), alert('Hidden', { state: 'suppressed', inhibitedBy: ['x'] })] };
    }
    if (request.method() === 'POST') {
      this.silences.push({ ...request.postDataJSON(), id: `n${this.silences.length}`, status: { state: 'active' } });
      return { json: { silenceID: 'n' } };
    }
    if (request.method() === 'DELETE') {
      for (const s of this.silences) if (path.endsWith(s.id)) s.status.state = 'expired';
      return { status: 200, body: '' };
    }
    return { json: this.silences };
  }
}
