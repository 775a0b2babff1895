// Dashboards that come with Towpath, in the public JSON of dashboards: they go through the same
// conversion as imported ones and can be downloaded and changed.

type Json = Record<string, unknown>;
interface Spec { title: string; unit?: string; w?: number; h?: number; type?: string; expr: string | [string, string][]; legend?: string; stack?: boolean; area?: boolean; min?: number; max?: number; instant?: boolean; steps?: [number | null, string][]; more?: Json; mappings?: Json[] }

const DS = { type: 'prometheus', uid: '${datasource}' };
const variable = (name: string, query: string, more: Json = {}): Json => ({ name, type: 'query', datasource: DS, query, definition: query, refresh: 2, sort: 1, multi: true, includeAll: true, allValue: '.*', current: { text: 'All', value: '$__all' }, ...more });
const datasource: Json = { name: 'datasource', type: 'datasource', query: 'prometheus', current: { text: 'Prometheus', value: 'prometheus' }, hide: 2 };

function panelOf(spec: Spec, id: number): Json {
  const targets = (typeof spec.expr === 'string' ? [[spec.expr, spec.legend ?? ''] as [string, string]] : spec.expr).map(([expr, legendFormat], i) => ({ refId: String.fromCharCode(65 + i), datasource: DS, expr, legendFormat, ...(spec.instant ? { instant: true } : { range: true }), ...(spec.type === 'table' ? { format: 'table' } : {}) }));
  const type = spec.type ?? 'timeseries';
  return {
    id, type, title: spec.title, datasource: DS, targets,
    fieldConfig: {
      defaults: {
        unit: spec.unit ?? 'short', ...(spec.min === undefined ? {} : { min: spec.min }), ...(spec.max === undefined ? {} : { max: spec.max }), ...(spec.mappings ? { mappings: spec.mappings } : {}),
        custom: { drawStyle: 'line', fillOpacity: spec.stack || spec.area ? 20 : 0, stacking: { mode: spec.stack ? 'normal' : 'none' } },
        thresholds: { mode: 'absolute', steps: (spec.steps ?? []).map(([value, color]) => ({ value, color })) },
      }, overrides: [],
    },
    options: { legend: { showLegend: true, displayMode: 'list' }, reduceOptions: { calcs: ['lastNotNull'] } },
    ...(spec.more ?? {}),
  };
}

/** Rows of panels, laid out from left to right. */
function dashboard(uid: string, title: string, description: string, variables: Json[], rows: [string, Spec[]][]): Json {
  const panels: Json[] = [];
  let y = 0;
  for (const [name, specs] of rows) {
    panels.push({ id: panels.length + 1, type: 'row', title: name, collapsed: false, gridPos: { x: 0, y, w: 24, h: 1 }, panels: [] });
    y += 1;
    let x = 0;
    let tall = 0;
    for (const spec of specs) {
      const [w, h] = [spec.w ?? 12, spec.h ?? 9];
      if (x + w > 24) {
        x = 0;
        y += tall;
        tall = 0;
      }
      panels.push({ ...panelOf(spec, panels.length + 1), gridPos: { x, y, w, h } });
      x += w;
      tall = Math.max(tall, h);
    }
    y += tall;
  }
  return { uid, title, description, tags: ['towpath'], schemaVersion: 39, time: { from: 'now-1h', to: 'now' }, refresh: '', templating: { list: [datasource, ...variables] }, annotations: { list: [] }, panels };
}

const stat = (title: string, expr: string, more: Partial<Spec> = {}): Spec => ({ type: 'stat', title, expr, w: 4, h: 4, ...more });
const BAD: [number | null, string][] = [[null, 'green'], [1, 'red']];
const FULL: [number | null, string][] = [[null, 'green'], [0.8, 'yellow'], [0.9, 'red']];

const cluster = dashboard('towpath-cluster', 'Cluster', 'Nodes, pods and the API of the cluster', [variable('namespace', 'label_values(kube_pod_info, namespace)')], [
  ['Now', [
    stat('Nodes ready', 'sum(kube_node_status_condition{condition="Ready", status="true"})'),
    stat('Pods running', 'sum(kube_pod_status_phase{phase="Running", namespace=~"$namespace"})'),
    stat('Pods not ready', 'sum(kube_pod_status_ready{condition="false", namespace=~"$namespace"} * on (namespace, pod) group_left() (kube_pod_status_phase{phase="Running"} == 1)) or vector(0)', { steps: BAD }),
    stat('Pods waiting', 'sum(kube_pod_status_phase{phase="Pending", namespace=~"$namespace"}) or vector(0)', { steps: BAD }),
    stat('Processor in use', '1 - avg(rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))', { unit: 'percentunit', steps: FULL }),
    stat('Memory in use', '1 - sum(node_memory_MemAvailable_bytes) / sum(node_memory_MemTotal_bytes)', { unit: 'percentunit', steps: FULL }),
  ]],
  ['Namespaces', [
    { title: 'Processor by namespace, cores', expr: 'sum by (namespace) (rate(container_cpu_usage_seconds_total{container!="", namespace=~"$namespace"}[$__rate_interval]))', legend: '{{namespace}}', stack: true },
    { title: 'Memory by namespace', unit: 'bytes', expr: 'sum by (namespace) (container_memory_working_set_bytes{container!="", namespace=~"$namespace"})', legend: '{{namespace}}', stack: true },
    { title: 'Received by namespace', unit: 'binBps', expr: 'sum by (namespace) (rate(container_network_receive_bytes_total{namespace=~"$namespace"}[$__rate_interval]))', legend: '{{namespace}}' },
    { title: 'Restarts in the range', type: 'bargauge', expr: 'topk(10, sum by (namespace, pod) (increase(kube_pod_container_status_restarts_total{namespace=~"$namespace"}[$__range])) > 0)', legend: '{{namespace}}/{{pod}}', instant: true, steps: [[null, 'yellow'], [5, 'red']] },
  ]],
  ['API server', [
    { title: 'Requests by verb', unit: 'reqps', expr: 'sum by (verb) (rate(apiserver_request_total[$__rate_interval]))', legend: '{{verb}}', stack: true },
    { title: 'Duration, 99 of 100 are faster', unit: 's', expr: 'histogram_quantile(0.99, sum by (le, verb) (rate(apiserver_request_duration_seconds_bucket{verb!~"WATCH|CONNECT"}[$__rate_interval])))', legend: '{{verb}}' },
  ]],
]);

const node = dashboard('towpath-node', 'Node', 'The machine under the pods', [variable('instance', 'label_values(node_boot_time_seconds, instance)')], [
  ['Now', [
    stat('Up for', 'time() - node_boot_time_seconds{instance=~"$instance"}', { unit: 'dtdurations', w: 6 }),
    stat('Load over cores', 'sum(node_load1{instance=~"$instance"}) / count(node_cpu_seconds_total{mode="idle", instance=~"$instance"})', { unit: 'percentunit', w: 6, steps: FULL }),
    { title: 'Memory in use', type: 'gauge', unit: 'percentunit', min: 0, max: 1, w: 6, h: 5, expr: '1 - sum(node_memory_MemAvailable_bytes{instance=~"$instance"}) / sum(node_memory_MemTotal_bytes{instance=~"$instance"})', steps: FULL },
    { title: 'Fullest file system', type: 'gauge', unit: 'percentunit', min: 0, max: 1, w: 6, h: 5, expr: 'max(1 - node_filesystem_avail_bytes{instance=~"$instance", fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes)', steps: FULL },
  ]],
  ['Processor and memory', [
    { title: 'Processor by mode, cores', expr: 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle", instance=~"$instance"}[$__rate_interval]))', legend: '{{mode}}', stack: true },
    { title: 'Load', expr: [['sum(node_load1{instance=~"$instance"})', '1 min'], ['sum(node_load5{instance=~"$instance"})', '5 min'], ['sum(node_load15{instance=~"$instance"})', '15 min']] },
    { title: 'Memory', unit: 'bytes', expr: [['sum(node_memory_MemTotal_bytes{instance=~"$instance"} - node_memory_MemAvailable_bytes)', 'in use'], ['sum(node_memory_Cached_bytes{instance=~"$instance"})', 'cached'], ['sum(node_memory_MemTotal_bytes{instance=~"$instance"})', 'all']] },
    { title: 'Waiting for processor, memory, disk', unit: 'percentunit', expr: [['avg(rate(node_pressure_cpu_waiting_seconds_total{instance=~"$instance"}[$__rate_interval]))', 'processor'], ['avg(rate(node_pressure_memory_waiting_seconds_total{instance=~"$instance"}[$__rate_interval]))', 'memory'], ['avg(rate(node_pressure_io_waiting_seconds_total{instance=~"$instance"}[$__rate_interval]))', 'disk']] },
  ]],
  ['Disk and network', [
    { title: 'Disk', unit: 'binBps', expr: [['sum(rate(node_disk_read_bytes_total{instance=~"$instance"}[$__rate_interval]))', 'read'], ['-sum(rate(node_disk_written_bytes_total{instance=~"$instance"}[$__rate_interval]))', 'written']], area: true },
    { title: 'Disk busy', unit: 'percentunit', min: 0, expr: 'max by (device) (rate(node_disk_io_time_seconds_total{instance=~"$instance"}[$__rate_interval]))', legend: '{{device}}' },
    { title: 'Network', unit: 'binBps', expr: [['sum by (device) (rate(node_network_receive_bytes_total{device!~"lo|veth.*", instance=~"$instance"}[$__rate_interval]))', '{{device}} received'], ['-sum by (device) (rate(node_network_transmit_bytes_total{device!~"lo|veth.*", instance=~"$instance"}[$__rate_interval]))', '{{device}} sent']] },
    { title: 'File systems', type: 'table', unit: 'percentunit', instant: true, expr: 'sort_desc(1 - node_filesystem_avail_bytes{instance=~"$instance", fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes)', more: { transformations: [{ id: 'organize', options: { excludeByName: { job: true, fstype: true }, renameByName: { Value: 'In use', mountpoint: 'Mounted at' } } }] } },
  ]],
]);

const service = dashboard('towpath-service', 'Service', 'One workload: its pods, what they use, how often they fail', [
  variable('namespace', 'label_values(kube_pod_info, namespace)', { multi: false, includeAll: false, allValue: '', current: {} }),
  variable('workload', 'label_values(kube_deployment_spec_replicas{namespace="$namespace"}, deployment)', { multi: false, includeAll: true, allValue: '[a-z0-9.-]+' }),
], [
  ['Pods', [
    stat('Replicas ready', 'sum(kube_deployment_status_replicas_ready{namespace="$namespace", deployment=~"$workload"})'),
    stat('Replicas wanted', 'sum(kube_deployment_spec_replicas{namespace="$namespace", deployment=~"$workload"})'),
    stat('Not available', 'sum(kube_deployment_status_replicas_unavailable{namespace="$namespace", deployment=~"$workload"})', { steps: BAD }),
    stat('Restarts in the range', 'sum(increase(kube_pod_container_status_restarts_total{namespace="$namespace", pod=~"$workload-.*"}[$__range]))', { steps: BAD, instant: true }),
    { title: 'Why containers wait', type: 'table', instant: true, w: 8, h: 4, expr: 'kube_pod_container_status_waiting_reason{namespace="$namespace", pod=~"$workload-.*"} == 1', more: { transformations: [{ id: 'organize', options: { excludeByName: { Value: true, job: true, instance: true, uid: true, namespace: true } } }] } },
  ]],
  ['Use', [
    { title: 'Processor by pod, cores', expr: 'sum by (pod) (rate(container_cpu_usage_seconds_total{namespace="$namespace", pod=~"$workload-.*", container!=""}[$__rate_interval]))', legend: '{{pod}}', stack: true },
    { title: 'Slowed down by its limit', unit: 'percentunit', min: 0, expr: 'sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{namespace="$namespace", pod=~"$workload-.*"}[$__rate_interval])) / sum by (pod) (rate(container_cpu_cfs_periods_total{namespace="$namespace", pod=~"$workload-.*"}[$__rate_interval]))', legend: '{{pod}}' },
    { title: 'Memory by pod', unit: 'bytes', expr: [['sum by (pod) (container_memory_working_set_bytes{namespace="$namespace", pod=~"$workload-.*", container!=""})', '{{pod}}'], ['max(sum by (pod) (kube_pod_container_resource_limits{namespace="$namespace", pod=~"$workload-.*", resource="memory"}))', 'limit of a pod']] },
    { title: 'Network', unit: 'binBps', area: true, expr: [['sum(rate(container_network_receive_bytes_total{namespace="$namespace", pod=~"$workload-.*"}[$__rate_interval]))', 'received'], ['-sum(rate(container_network_transmit_bytes_total{namespace="$namespace", pod=~"$workload-.*"}[$__rate_interval]))', 'sent']] },
  ]],
  ['Requests', [
    { title: 'Requests', unit: 'reqps', expr: 'sum by (code) (rate(http_requests_total{namespace="$namespace", pod=~"$workload-.*"}[$__rate_interval]))', legend: '{{code}}', stack: true },
    { title: 'Duration', unit: 's', expr: [['histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket{namespace="$namespace", pod=~"$workload-.*"}[$__rate_interval])))', 'half are faster'], ['histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{namespace="$namespace", pod=~"$workload-.*"}[$__rate_interval])))', '99 of 100 are faster']] },
  ]],
]);

const delivery = dashboard('towpath-delivery', 'Delivery', 'From commits to environments: what is under way and what is stuck. Deployments stand on the charts as markers.', [variable('project', 'label_values(towpath_runs, namespace)')], [
  ['Now', [
    stat('Runs under way', 'sum(towpath_runs{namespace=~"$project", phase=~"Queued|Running"}) or vector(0)'),
    stat('Waiting for approval', 'sum(towpath_promotions{namespace=~"$project", phase="WaitingForApproval"}) or vector(0)', { steps: [[null, 'green'], [1, 'purple']] }),
    stat('Promotions under way', 'sum(towpath_promotions{namespace=~"$project", phase=~"Waiting|Deploying"}) or vector(0)'),
    stat('Releases on hold', 'sum(towpath_releases{namespace=~"$project", state="held"}) or vector(0)', { steps: [[null, 'green'], [1, 'yellow']] }),
    stat('Environments degraded', 'sum(towpath_environment_health{namespace=~"$project", health="Degraded"}) or vector(0)', { steps: BAD }),
    stat('Environments healthy', 'sum(towpath_environment_health{namespace=~"$project", health="Healthy"}) or vector(0)'),
    { title: 'What runs where', type: 'table', instant: true, w: 24, h: 7, expr: 'towpath_environment_info{namespace=~"$project"}', more: { transformations: [{ id: 'organize', options: { excludeByName: { Value: true, job: true, instance: true }, renameByName: { namespace: 'Project', environment: 'Environment', target_namespace: 'Namespace', release: 'Release', commit: 'Commit' }, indexByName: { namespace: 0, environment: 1, commit: 2, release: 3 } } }] } },
  ]],
  ['Over time', [
    { title: 'Runs by phase', expr: 'sum by (phase) (towpath_runs{namespace=~"$project"})', legend: '{{phase}}', stack: true },
    { title: 'Promotions by phase', expr: 'sum by (phase) (towpath_promotions{namespace=~"$project"})', legend: '{{phase}}', stack: true },
    { title: 'Environments that are not healthy', expr: 'sum by (environment, health) (towpath_environment_health{namespace=~"$project", health!="Healthy"}) > 0', legend: '{{environment}} {{health}}', stack: true },
    { title: 'Replicas unavailable', expr: 'sum by (namespace, deployment) (kube_deployment_status_replicas_unavailable) > 0', legend: '{{namespace}}/{{deployment}}', stack: true },
  ]],
]);

export const SHIPPED: { id: string; json: Json }[] = [{ id: 'cluster', json: cluster }, { id: 'node', json: node }, { id: 'service', json: service }, { id: 'delivery', json: delivery }];
