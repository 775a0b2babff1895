//! What dashboards of nodes, pods and objects ask.

/// `$` stands for a matcher of nodes, with its comma where it needs one.
const TEMPLATES: &[&str] = &[
    "sum by (mode) (rate(node_cpu_seconds_total{$}[5m]))",
    "1 - avg(rate(node_cpu_seconds_total{mode=\"idle\",$}[5m]))",
    "sum by (instance) (rate(node_cpu_seconds_total{mode!=\"idle\",$}[5m]))",
    "node_load1{$}",
    "node_memory_MemAvailable_bytes{$} / node_memory_MemTotal_bytes{$}",
    "node_memory_MemTotal_bytes{$} - node_memory_MemFree_bytes{$} - node_memory_Cached_bytes{$}",
    "max by (instance, mountpoint) (1 - node_filesystem_avail_bytes{$} / node_filesystem_size_bytes{$})",
    "sum by (instance) (rate(node_network_receive_bytes_total{device!=\"lo\",$}[5m]))",
    "sum by (instance, device) (irate(node_disk_written_bytes_total{$}[5m]))",
    "rate(node_disk_io_time_seconds_total{$}[5m])",
    "rate(node_context_switches_total{$}[5m])",
    "node_filefd_allocated{$}",
    "max_over_time(node_load1{$}[30m])",
    "rate(node_pressure_cpu_waiting_seconds_total{$}[5m])",
    "sum by (phase) (kube_pod_status_phase{$})",
    "sum by (namespace) (kube_pod_container_resource_requests{resource=\"cpu\",$})",
    "kube_deployment_status_replicas_available{$} != kube_deployment_spec_replicas{$}",
    "count by (namespace) (kube_pod_info{$})",
    "topk(5, sum by (deployment) (kube_deployment_spec_replicas{$}))",
    "sum by (instance) (rate(node_vmstat_pgmajfault{$}[5m]))",
];

/// A hundred of them: over all nodes, over some, over one.
pub fn all(nodes: usize) -> Vec<String> {
    let some = "instance=~\".*-[0-4]\"".to_string();
    let one = |number: usize| format!("instance=~\".*-{}\"", number % nodes.max(1));
    (0..100)
        .map(|number| {
            let template = TEMPLATES[number % TEMPLATES.len()];
            match number / TEMPLATES.len() {
                0 => template.replace(",$", "").replace("{$}", ""),
                1 => template.replace('$', &some),
                _ => template.replace('$', &one(number)),
            }
        })
        .collect()
}
