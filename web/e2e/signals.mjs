// Stand-ins for the servers of signals: series, lines, rules and silences in every state that a
// screen can show. What they answer has the shape of the real ones; the real server is asked at
// the end of the tests.

const success = (data, more = {}) => ({ json: { status: 'success', data, ...more } });
const METRICS = {
  up: ['gauge', 'Whether the target was reached'], http_requests_total: ['counter', 'Requests by code'], http_request_duration_seconds_bucket: ['histogram', 'Duration of requests'],
  container_cpu_usage_seconds_total: ['counter', 'Processor time'], container_memory_working_set_bytes: ['gauge', 'Memory in use'], kube_pod_info: ['gauge', 'Pods'],
};

/** A trace of a shop: services that call each other, a failed payment that was tried again. */
export const TRACE = '5b8efff798038103d269b633813fc60c';
const bytes = (hex) => Buffer.from(hex, 'hex').toString('base64');
const text = (key, stringValue) => ({ key, value: { stringValue } });

export function trace(at = Date.now() - 900_000) {
  const base = BigInt(at) * 1_000_000n;
  // id, parent, service, name, from and to in ms, kind, failed
  const spans = [
    ['01', '', 'gateway', 'POST /checkout', 0, 480, 'SERVER'], ['02', '01', 'gateway', 'authorize', 4, 36, 'INTERNAL'], ['03', '01', 'shop', 'POST /orders', 40, 470, 'SERVER'],
    ['04', '03', 'shop', 'SELECT basket', 48, 92, 'CLIENT'], ['05', '03', 'shop', 'price the basket', 50, 70, 'INTERNAL'], ['06', '03', 'payment', 'POST /pay', 100, 260, 'SERVER', 'card service: connection refused'],
    ['07', '06', 'payment', 'card.charge', 110, 250, 'CLIENT', 'connection refused'], ['08', '03', 'payment', 'POST /pay', 280, 440, 'SERVER'], ['09', '08', 'payment', 'card.charge', 290, 430, 'CLIENT'], ['0a', '03', 'mail', 'send receipt', 445, 600, 'CONSUMER'],
    ...Array.from({ length: 40 }, (_, i) => [`b${i.toString(16).padStart(2, '0')}`, '09', 'payment', `ledger row ${i}`, 300 + i * 3, 302 + i * 3, 'INTERNAL']),
  ];
  const id = (short) => bytes(short.padStart(16, '0'));
  const of = (service) => spans.filter((s) => s[2] === service).map(([own, parent, , name, from, to, kind, failed]) => ({
    traceId: bytes(TRACE), spanId: id(own), ...(parent ? { parentSpanId: id(parent) } : {}), name, kind: `SPAN_KIND_${kind}`, startTimeUnixNano: String(base + BigInt(from) * 1_000_000n), endTimeUnixNano: String(base + BigInt(to) * 1_000_000n),
    attributes: [text('http.request.method', 'POST'), { key: 'http.response.status_code', value: { intValue: failed ? '503' : '200' } }], status: failed ? { code: 'STATUS_CODE_ERROR', message: failed } : {},
    ...(failed ? { events: [{ timeUnixNano: String(base + BigInt(to - 10) * 1_000_000n), name: 'exception', attributes: [text('exception.type', 'ConnectionRefused'), text('exception.message', failed)] }] } : {}),
    ...(own === '0a' ? { links: [{ traceId: bytes('ab'.repeat(16)), spanId: id('99') }] } : {}),
  }));
  return ['gateway', 'shop', 'payment', 'mail'].map((service) => ({
    resource: { attributes: [text('service.name', service), text('k8s.namespace.name', 'hello-dev'), text('k8s.pod.name', `${service}-7c9d8b6f5-x2x9q`)] }, scopeSpans: [{ scope: { name: 'shop' }, spans: of(service) }],
  }));
}

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
    await context.route((url) => /^\/(prometheus|loki|tempo|alertmanager)\/api\//.test(url.pathname), (route) => {
      const url = new URL(route.request().url());
      const [, part] = url.pathname.split('/');
      if (this.absent.has(part)) return route.fulfill({ status: 404, contentType: 'text/plain', body: 'no such file' });
      const asked = new URLSearchParams(route.request().method() === 'POST' && part === 'prometheus' ? route.request().postData() : url.search);
      this.asked.push(`${url.pathname}?${asked}`);
      return route.fulfill(this[part](url.pathname.replace(/^\/\w+\/api\/(v\d\/)?/, ''), asked, route.request()));
    });
    await context.route((url) => url.pathname === '/api/v1/changes', (route) => route.fulfill({ json: { changes: [{ id: 'c1', at: Date.now() - 600_000, kind: 'deploy', object: { kind: 'Deployment', namespace: 'hello-dev', name: 'hello' }, commit: '4f2c91e0aabb', promotion: 'demo/p', by: 'ada', words: 'hello runs 4f2c91e' }], lost: 0 } }));
    await context.routeWebSocket(/\/loki\/api\/v1\/tail/, (ws) => {
      this.tails.add(ws);
      ws.onClose(() => this.tails.delete(ws));
    });
  }

  /** Writes a line to everyone who follows. */
  write(text, at = Date.now(), stream = { namespace: 'hello-dev', pod: 'hello-1' }) {
    for (const ws of this.tails) ws.send(JSON.stringify({ streams: [{ stream, values: [[`${at}000000`, text]] }] }));
  }

  series(query) {
    if (/nothing_there/.test(query)) return [];
    if (/many_series/.test(query)) return Array.from({ length: 250 }, (_, i) => ({ __name__: 'many_series', instance: `10.0.0.${i}` }));
    if (/by \(le\)/.test(query) && !/histogram_quantile/.test(query)) return ['0.1', '0.5', '1', '+Inf'].map((le) => ({ le }));
    if (/by \(code\)/.test(query)) return ['200', '404', '500'].map((code) => ({ code }));
    if (/traces_spanmetrics/.test(query)) {
      if (this.traceless) return [];
      if (/by \(service/.test(query)) return ['gateway', 'shop', 'payment'].map((service) => ({ service }));
      if (/by \(span_name, span_kind/.test(query)) return ['POST /orders', 'GET /orders'].map((span_name) => ({ span_name, span_kind: 'SPAN_KIND_SERVER' }));
      if (/by \(span_name/.test(query)) return ['POST /orders', 'GET /orders'].map((span_name) => ({ span_name }));
    }
    if (/^up/.test(query)) return ['a:1', 'b:2'].map((instance) => ({ __name__: 'up', job: 'web', instance }));
    if (/pod/.test(query)) return ['hello-1', 'hello-2'].map((pod) => ({ pod, namespace: 'hello-dev' }));
    return [{}];
  }

  prometheus(path, asked) {
    const query = asked.get('query') ?? '';
    const refused = this.refused.get(query);
    if (path === 'query' && /traces_spanmetrics/.test(query)) {
      const value = (i) => (/status_code=/.test(query) ? (i === 2 ? 0.031 : 0) : /quantile\(0.5/.test(query) ? 0.018 * (i + 1) : /quantile/.test(query) ? 0.21 * (i + 1) : 42 / (i + 1));
      return success({ resultType: 'vector', result: this.series(query).map((metric, i) => ({ metric, value: [Date.now() / 1000, String(value(i))] })) });
    }
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
    if (path === 'query_exemplars') return success(/_bucket/.test(query) ? [{ seriesLabels: {}, exemplars: [{ labels: { trace_id: TRACE }, value: '30', timestamp: Date.now() / 1000 - 900 }] }] : []);
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
    if (/towpath\/notifications/.test(query)) {
      const line = (minutes, value) => [`${Date.now() - minutes * 60_000}000000`, JSON.stringify(value)];
      return success({ resultType: 'streams', result: this.silent ? [] : [{ stream: { job: 'towpath/notifications' }, values: [
        line(1, { event: 'delivered', again: false, test: false, receiver: 'team', integration: 'webhook[0]', alertname: 'TooSlow', status: 'firing', code: 200, attempt: 1, seconds: 0.042, why: null, key: 'k1', count: 1, alerts: ['00'], body: '{"status":"firing"}' }),
        line(2, { event: 'failed', again: true, test: false, receiver: 'pager', integration: 'pagerduty[0]', alertname: 'TooSlow', status: 'firing', code: 503, attempt: 3, seconds: 1.2, why: 'the answer was 503', key: 'k2', count: 1, alerts: ['00'], body: '' }),
        line(3, { event: 'suppressed', alertname: 'SlowDisk', receiver: 'team', cause: 'silence', causeName: 's1', by: [{ kind: 'silence', name: 's1' }], labels: { alertname: 'SlowDisk', node: 'n1' } }),
        line(5, { event: 'fires', alertname: 'TooSlow', labels: { alertname: 'TooSlow', pod: 'hello-1' }, annotations: {} }), line(90, { event: 'resolves', alertname: 'Lost', labels: { alertname: 'Lost' } }),
      ] }] });
    }
    if (query.includes(TRACE)) return success({ resultType: 'streams', result: /trace_id=/.test(query) ? [] : [{ stream: { namespace: 'hello-dev', pod: 'payment-7c9d8b6f5-x2x9q' }, values: [[`${Date.now() - 899_000}000000`, JSON.stringify({ level: 'error', msg: 'card service: connection refused', trace_id: TRACE })]] }] });
    const now = Date.now();
    const lines = Array.from({ length: 60 }, (_, i) => [`${now - i * 1500}000000`, JSON.stringify({ level: ['error', 'info', 'warn', 'debug'][i % 4], msg: `request ${i} was answered` })]);
    return success({ resultType: 'streams', result: [{ stream: { namespace: 'hello-dev', pod: 'hello-1' }, values: lines }] });
  }

  tempo(path, asked) {
    const q = asked.get('q') ?? '';
    if (path.startsWith('traces/')) return path.endsWith(TRACE) ? { json: { trace: { resourceSpans: trace() }, metrics: {} } } : { status: 404, contentType: 'text/plain', body: 'trace not found' };
    if (path === 'search/tags') return { json: { scopes: [{ name: 'resource', tags: ['service.name', 'k8s.pod.name'] }, { name: 'span', tags: ['http.response.status_code', 'http.request.method'] }, { name: 'intrinsic', tags: ['duration', 'kind', 'name', 'status'] }] } };
    if (path.startsWith('search/tag/')) return { json: { tagValues: (/service\.name/.test(path) ? ['gateway', 'mail', 'payment', 'shop'] : ['POST /orders', 'GET /orders']).map((value) => ({ type: 'string', value })) } };
    if (/wrong/.test(q)) return { status: 400, contentType: 'text/plain', body: `invalid TraceQL query: parse error at ${q.indexOf('wrong')}..${q.indexOf('wrong') + 5}: wrong is no attribute` };
    if (/nothing/.test(q)) return { json: { traces: [], metrics: {} } };
    const at = (minutes) => `${Date.now() - minutes * 60_000}000000`;
    const one = (traceID, rootTraceName, minutes, durationMs, errors = 0) => ({ traceID, rootServiceName: 'gateway', rootTraceName, startTimeUnixNano: at(minutes), durationMs, spanSets: [{ spans: [{ spanID: '0000000000000006', name: 'POST /pay', startTimeUnixNano: at(minutes), durationNanos: '160000000', attributes: [] }], matched: 1 }], serviceStats: { gateway: { spanCount: 2 }, shop: { spanCount: 3 }, payment: { spanCount: 44, ...(errors ? { errorCount: errors } : {}) } } });
    return { json: { traces: [one(TRACE, 'POST /checkout', 15, 480, 2), one('cd'.repeat(16), 'GET /orders', 16, 31), one('ef'.repeat(16), 'GET /basket', 21, 90)], metrics: {} } };
  }

  alertmanager(path, asked, request) {
    if (path === 'alerts') {
      const alert = (name, status) => ({ labels: { alertname: name, severity: 'warning', node: 'n1' }, annotations: { summary: `${name} on n1` }, startsAt: new Date(Date.now() - 3_000_000).toISOString(), endsAt: new Date().toISOString(), fingerprint: name, receivers: [{ name: 'team' }], status: { state: 'active', silencedBy: [], inhibitedBy: [], ...status } });
      return { json: [alert('SlowDisk', { state: 'suppressed', silencedBy: ['s1'] }), alert('Hidden', { state: 'suppressed', inhibitedBy: ['x'] })] };
    }
    if (path === 'receivers') return { json: ['team', 'pager', 'nobody'].map((name) => ({ name })) };
    if (path === 'status') {
      const original = this.yaml ?? JSON.stringify({ route: { receiver: 'team', group_by: ['alertname'], group_wait: '30s', group_interval: '5m', repeat_interval: '4h', continue: false, routes: [{ receiver: 'pager', group_by: ['alertname', 'namespace'], group_wait: '10s', group_interval: '5m', repeat_interval: '1h', continue: true, matchers: ['{severity="critical"}'], routes: [] }, { receiver: 'team', group_by: ['...'], group_wait: '30s', group_interval: '5m', repeat_interval: '12h', matchers: ['{severity=~"info|none"}'], mute_time_intervals: ['nights'], routes: [] }] }, receivers: [{ name: 'team' }, { name: 'pager' }, { name: 'nobody' }] });
      return { json: { cluster: { status: 'disabled' }, config: { original }, uptime: new Date().toISOString(), versionInfo: { version: '0.1.0' } } };
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
