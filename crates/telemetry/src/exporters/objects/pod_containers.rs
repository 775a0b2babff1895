//! Containers of pods, and init containers under names of their own.

use super::pods::{spec, status};
use super::show::{Row, Show, flag};
use crate::family::Kind::{Counter, Gauge};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod,
};

fn containers(pod: &Pod, init: bool) -> &[Container] {
    let spec = spec(pod);
    if init {
        spec.init_containers.as_deref().unwrap_or_default()
    } else {
        &spec.containers
    }
}

fn statuses(pod: &Pod, init: bool) -> &[ContainerStatus] {
    let status = status(pod);
    let list = if init {
        &status.init_container_statuses
    } else {
        &status.container_statuses
    };
    list.as_deref().unwrap_or_default()
}

fn info(pod: &Pod, show: &mut Show<'_>, init: bool) {
    for container in containers(pod, init) {
        for told in statuses(pod, init)
            .iter()
            .filter(|s| s.name == container.name)
        {
            let mut labels = vec![
                ("container", &*told.name),
                ("image_spec", container.image.as_deref().unwrap_or_default()),
                ("image", &told.image),
                ("image_id", &told.image_id),
                (
                    "container_id",
                    told.container_id.as_deref().unwrap_or_default(),
                ),
            ];
            if init {
                let policy = container.restart_policy.as_deref().unwrap_or_default();
                labels.push(("restart_policy", policy));
            }
            show.info(&labels);
        }
    }
}

fn resources(pod: &Pod, show: &mut Show<'_>, init: bool, limits: bool) {
    let node = spec(pod).node_name.as_deref().unwrap_or_default();
    for container in containers(pod, init) {
        let resources = container.resources.as_ref();
        let amounts = if limits {
            resources.and_then(|r| r.limits.as_ref())
        } else {
            resources.and_then(|r| r.requests.as_ref())
        };
        show.resources(
            &[("container", &container.name), ("node", node)],
            amounts,
            false,
        );
    }
}

fn each(pod: &Pod, show: &mut Show<'_>, init: bool, get: impl Fn(&ContainerStatus) -> f64) {
    for told in statuses(pod, init) {
        show.put(&[("container", &told.name)], get(told));
    }
}

fn is(told: &ContainerStatus, test: impl Fn(&ContainerState) -> bool) -> f64 {
    flag(told.state.as_ref().is_some_and(test))
}

fn ended(told: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    told.state.as_ref()?.terminated.as_ref()
}

fn last(told: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    told.last_state.as_ref()?.terminated.as_ref()
}

fn reasons(
    pod: &Pod,
    show: &mut Show<'_>,
    init: bool,
    reason: fn(&ContainerStatus) -> Option<&str>,
) {
    for told in statuses(pod, init) {
        if let Some(reason) = reason(told) {
            show.info(&[("container", &told.name), ("reason", reason)]);
        }
    }
}

fn ended_reason(told: &ContainerStatus) -> Option<&str> {
    ended(told).map(|e| e.reason.as_deref().unwrap_or_default())
}

fn last_reason(told: &ContainerStatus) -> Option<&str> {
    last(told).map(|e| e.reason.as_deref().unwrap_or_default())
}

fn waiting_reason(told: &ContainerStatus) -> Option<&str> {
    let waiting = told.state.as_ref()?.waiting.as_ref()?;
    Some(waiting.reason.as_deref().unwrap_or_default())
}

fn started(pod: &Pod, show: &mut Show<'_>) {
    for told in statuses(pod, false) {
        let state = told.state.as_ref();
        let running = state.and_then(|s| s.running.as_ref()?.started_at.as_ref());
        let ended = state.and_then(|s| s.terminated.as_ref()?.started_at.as_ref());
        if let Some(time) = running.or(ended) {
            show.put(&[("container", &told.name)], time.0.as_second() as f64);
        }
    }
}

pub(super) const ROWS: &[Row<Pod>] = &[
    (
        "kube_pod_container_info",
        Gauge,
        "Information about a container in a pod.",
        |p, s| info(p, s, false),
    ),
    (
        "kube_pod_container_resource_limits",
        Gauge,
        "The number of requested limit resource by a container.",
        |p, s| resources(p, s, false, true),
    ),
    (
        "kube_pod_container_resource_requests",
        Gauge,
        "The number of requested request resource by a container.",
        |p, s| resources(p, s, false, false),
    ),
    (
        "kube_pod_container_state_started",
        Gauge,
        "Start time in unix timestamp for a pod container.",
        started,
    ),
    (
        "kube_pod_container_status_ready",
        Gauge,
        "Describes whether the containers readiness check succeeded.",
        |p, s| each(p, s, false, |c| flag(c.ready)),
    ),
    (
        "kube_pod_container_status_restarts_total",
        Counter,
        "The number of container restarts per container.",
        |p, s| each(p, s, false, |c| f64::from(c.restart_count)),
    ),
    (
        "kube_pod_container_status_running",
        Gauge,
        "Describes whether the container is currently in running state.",
        |p, s| each(p, s, false, |c| is(c, |s| s.running.is_some())),
    ),
    (
        "kube_pod_container_status_waiting",
        Gauge,
        "Describes whether the container is currently in waiting state.",
        |p, s| each(p, s, false, |c| is(c, |s| s.waiting.is_some())),
    ),
    (
        "kube_pod_container_status_waiting_reason",
        Gauge,
        "Describes the reason the container is currently in waiting state.",
        |p, s| reasons(p, s, false, waiting_reason),
    ),
    (
        "kube_pod_container_status_terminated",
        Gauge,
        "Describes whether the container is currently in terminated state.",
        |p, s| each(p, s, false, |c| is(c, |s| s.terminated.is_some())),
    ),
    (
        "kube_pod_container_status_terminated_reason",
        Gauge,
        "Describes the reason the container is currently in terminated state.",
        |p, s| reasons(p, s, false, ended_reason),
    ),
    (
        "kube_pod_container_status_last_terminated_reason",
        Gauge,
        "Describes the last reason the container was in terminated state.",
        |p, s| reasons(p, s, false, last_reason),
    ),
    (
        "kube_pod_container_status_last_terminated_exitcode",
        Gauge,
        "Describes the exit code for the last container in terminated state.",
        |p, s| {
            for told in statuses(p, false) {
                if let Some(last) = last(told) {
                    s.put(&[("container", &told.name)], f64::from(last.exit_code));
                }
            }
        },
    ),
    (
        "kube_pod_container_status_last_terminated_timestamp",
        Gauge,
        "Last terminated time for a pod container in unix timestamp.",
        |p, s| {
            for told in statuses(p, false) {
                if let Some(time) = last(told).and_then(|last| last.finished_at.as_ref()) {
                    s.put(&[("container", &told.name)], time.0.as_second() as f64);
                }
            }
        },
    ),
    (
        "kube_pod_init_container_info",
        Gauge,
        "Information about an init container in a pod.",
        |p, s| info(p, s, true),
    ),
    (
        "kube_pod_init_container_resource_limits",
        Gauge,
        "The number of requested limit resource by an init container.",
        |p, s| resources(p, s, true, true),
    ),
    (
        "kube_pod_init_container_resource_requests",
        Gauge,
        "The number of requested request resource by an init container.",
        |p, s| resources(p, s, true, false),
    ),
    (
        "kube_pod_init_container_status_ready",
        Gauge,
        "Describes whether the init containers readiness check succeeded.",
        |p, s| each(p, s, true, |c| flag(c.ready)),
    ),
    (
        "kube_pod_init_container_status_restarts_total",
        Counter,
        "The number of restarts for the init container.",
        |p, s| each(p, s, true, |c| f64::from(c.restart_count)),
    ),
    (
        "kube_pod_init_container_status_running",
        Gauge,
        "Describes whether the init container is currently in running state.",
        |p, s| each(p, s, true, |c| is(c, |s| s.running.is_some())),
    ),
    (
        "kube_pod_init_container_status_waiting",
        Gauge,
        "Describes whether the init container is currently in waiting state.",
        |p, s| each(p, s, true, |c| is(c, |s| s.waiting.is_some())),
    ),
    (
        "kube_pod_init_container_status_waiting_reason",
        Gauge,
        "Describes the reason the init container is currently in waiting state.",
        |p, s| reasons(p, s, true, waiting_reason),
    ),
    (
        "kube_pod_init_container_status_terminated",
        Gauge,
        "Describes whether the init container is currently in terminated state.",
        |p, s| each(p, s, true, |c| is(c, |s| s.terminated.is_some())),
    ),
    (
        "kube_pod_init_container_status_terminated_reason",
        Gauge,
        "Describes the reason the init container is currently in terminated state.",
        |p, s| reasons(p, s, true, ended_reason),
    ),
    (
        "kube_pod_init_container_status_last_terminated_reason",
        Gauge,
        "Describes the last reason the init container was in terminated state.",
        |p, s| reasons(p, s, true, last_reason),
    ),
];
