// What to look at first for a workload: rate, errors, duration, processor, memory, from the names
// that its metrics really have.

export interface Suggestion { title: string; queries: string[]; legends: string[]; unit: string; kind: 'line' | 'stacked' | 'area' | 'step' }
export interface Workload { namespace: string; name: string; kind: string }

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** The matchers of a workload's pods: their names begin with its own. */
export function podMatchers({ namespace, name, kind }: Workload): string {
  const tail = kind === 'StatefulSet' ? '-[0-9]+' : kind === 'DaemonSet' ? '-[a-z0-9]{5}' : kind === 'Pod' ? '' : '-[a-z0-9]+(-[a-z0-9]{5})?';
  return `namespace=${JSON.stringify(namespace)}, pod=~${JSON.stringify(`${escaped(name)}${tail}`)}`;
}

const REQUESTS = [/^(http|grpc|rpc|istio)\w*_requests?_total$/, /^http_requests_received_total$/, /^grpc_server_handled_total$/, /^\w*_(http|rpc|grpc)_requests_total$/, /^\w*requests_total$/];
const DURATIONS = [/^(http|grpc|rpc|istio)\w*(duration|latency|handling)\w*_bucket$/, /^http_server_requests_seconds_bucket$/, /^\w*request\w*_bucket$/];
const STATUS = ['code', 'status', 'status_code', 'http_status_code', 'http_response_status_code', 'response_code', 'grpc_code', 'rpc_grpc_status_code', 'grpc_status'];

const first = (names: string[], patterns: RegExp[]) => patterns.map((p) => names.find((n) => p.test(n))).find(Boolean);

/** The metric that counts requests, the one that measures them. */
export function requestMetrics(names: string[]): { total?: string; bucket?: string } {
  const bucket = first(names, DURATIONS);
  const total = first(names, REQUESTS) ?? (bucket ? names.find((n) => n === bucket.replace(/_bucket$/, '_count')) : undefined);
  return { ...(total ? { total } : {}), ...(bucket ? { bucket } : {}) };
}

/** Charts for a workload; `names` are the metrics its pods have, `labels` those of the request metric. */
export function suggestions(workload: Workload, names: string[], labels: string[]): Suggestion[] {
  const pods = podMatchers(workload);
  const { total, bucket } = requestMetrics(names);
  const status = STATUS.find((s) => labels.includes(s));
  const out: Suggestion[] = [];
  if (total) {
    out.push({ title: 'Requests per second', queries: [status ? `sum by (${status}) (rate(${total}{${pods}}[$__rate_interval]))` : `sum(rate(${total}{${pods}}[$__rate_interval]))`], legends: [status ? `{{${status}}}` : 'requests'], unit: 'reqps', kind: 'stacked' });
    if (status) {
      // gRPC counts by name: whatever is not OK and not the caller's fault.
      const bad = status.includes('grpc') ? `${status}=~"Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss|2|4|12|13|14|15"` : `${status}=~"5.."`;
      out.push({ title: 'Share of failed requests', queries: [`sum(rate(${total}{${pods}, ${bad}}[$__rate_interval])) / sum(rate(${total}{${pods}}[$__rate_interval]))`], legends: ['failed'], unit: 'percentunit', kind: 'area' });
    }
  }
  if (bucket) {
    const quantile = (q: number) => `histogram_quantile(${q}, sum by (le) (rate(${bucket}{${pods}}[$__rate_interval])))`;
    out.push({ title: 'Duration of requests', queries: [quantile(0.5), quantile(0.95), quantile(0.99)], legends: ['half are faster', '95 % are faster', '99 % are faster'], unit: /milli|_ms_/.test(bucket) ? 'ms' : 's', kind: 'line' });
  }
  if (names.includes('container_cpu_usage_seconds_total'))
    out.push({ title: 'Processor, cores', queries: [`sum by (pod) (rate(container_cpu_usage_seconds_total{${pods}, container!=""}[$__rate_interval]))`], legends: ['{{pod}}'], unit: 'short', kind: 'stacked' });
  if (names.includes('container_memory_working_set_bytes'))
    out.push({ title: 'Memory in use', queries: [`sum by (pod) (container_memory_working_set_bytes{${pods}, container!=""})`], legends: ['{{pod}}'], unit: 'bytes', kind: 'stacked' });
  if (names.includes('kube_pod_container_status_restarts_total'))
    out.push({ title: 'Restarts', queries: [`sum by (pod, container) (increase(kube_pod_container_status_restarts_total{${pods}}[$__rate_interval]))`], legends: ['{{pod}} {{container}}'], unit: 'short', kind: 'step' });
  if (names.includes('container_network_receive_bytes_total'))
    out.push({ title: 'Network', queries: [`sum(rate(container_network_receive_bytes_total{${pods}}[$__rate_interval]))`, `-sum(rate(container_network_transmit_bytes_total{${pods}}[$__rate_interval]))`], legends: ['received', 'sent'], unit: 'binBps', kind: 'area' });
  return out;
}
