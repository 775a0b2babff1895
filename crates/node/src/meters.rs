//! What the node counts, under the names of kubelets.

use k8s_openapi::api::core::v1::Pod;
use std::time::Duration;
use towpath_daemon::metrics;
use towpath_stdx::{Clock, SystemClock};

const BOUNDS: &[f64] = &[
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0,
    300.0, 360.0, 480.0, 600.0,
];

/// A container runs for the first time under this server. When it is the pod's last one, the time
/// since the pod was made is what the pod took to start.
pub(crate) fn container_started(pod: &Pod, container: &str) {
    metrics::counter(
        "kubelet_started_containers_total",
        "Cumulative number of containers started",
        &[],
    )
    .inc();
    let spec = pod.spec.as_ref();
    let last = spec.and_then(|spec| spec.containers.last());
    let told = pod
        .status
        .iter()
        .flat_map(|s| s.container_statuses.iter().flatten());
    let restarted = told
        .filter(|status| status.name == container)
        .any(|status| {
            status.restart_count > 0
                || status
                    .last_state
                    .as_ref()
                    .is_some_and(|s| s.terminated.is_some())
        });
    if restarted || last.is_none_or(|last| last.name != container) {
        return;
    }
    let Some(made) = &pod.metadata.creation_timestamp else {
        return;
    };
    let made = Duration::from_millis(u64::try_from(made.0.as_millisecond()).unwrap_or(0));
    let took = SystemClock.since_epoch().saturating_sub(made);
    metrics::histogram(
        "kubelet_pod_start_duration_seconds",
        "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
        BOUNDS,
        &[],
    )
    .observe(took);
}
