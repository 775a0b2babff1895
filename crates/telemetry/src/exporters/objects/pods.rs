//! Pods.

use super::show::{Row, Show, flag, name, namespace, quantity, uid};
use crate::family::Kind::Gauge;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use std::sync::LazyLock;

static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);
static NO_STATUS: LazyLock<PodStatus> = LazyLock::new(PodStatus::default);

pub(super) fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().unwrap_or(&NO_SPEC)
}

pub(super) fn status(pod: &Pod) -> &PodStatus {
    pod.status.as_ref().unwrap_or(&NO_STATUS)
}

pub(super) fn base(pod: &Pod) -> Vec<(&'static str, &str)> {
    vec![
        ("namespace", namespace(&pod.metadata)),
        ("pod", name(&pod.metadata)),
        ("uid", uid(&pod.metadata)),
    ]
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let mut conditions = status(pod).conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind)
}

fn when(show: &mut Show<'_>, pod: &Pod, kind: &str, is: &str) {
    let condition = condition(pod, kind).filter(|c| c.status == is);
    show.time(condition.and_then(|c| c.last_transition_time.as_ref()));
}

fn state(show: &mut Show<'_>, pod: &Pod, kind: &str) {
    if let Some(condition) = condition(pod, kind) {
        show.status(&[], "condition", &condition.status);
    }
}

const REASONS: [&str; 5] = [
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "Shutdown",
    "UnexpectedAdmissionError",
];

fn has_reason(pod: &Pod, reason: &str) -> bool {
    let status = status(pod);
    let ended = |c: &k8s_openapi::api::core::v1::ContainerStatus| {
        let ended = c.state.as_ref().and_then(|s| s.terminated.as_ref());
        ended.is_some_and(|e| e.reason.as_deref() == Some(reason))
    };
    status.reason.as_deref() == Some(reason)
        || status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.reason.as_deref() == Some(reason))
        || status.container_statuses.iter().flatten().any(ended)
}

fn info(pod: &Pod, show: &mut Show<'_>) {
    let (spec, status) = (spec(pod), status(pod));
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true));
    let on_host = spec.host_network == Some(true);
    show.info(&[
        ("host_ip", status.host_ip.as_deref().unwrap_or_default()),
        ("pod_ip", status.pod_ip.as_deref().unwrap_or_default()),
        ("node", spec.node_name.as_deref().unwrap_or_default()),
        ("created_by_kind", owner.map_or("", |o| &o.kind)),
        ("created_by_name", owner.map_or("", |o| &o.name)),
        (
            "priority_class",
            spec.priority_class_name.as_deref().unwrap_or_default(),
        ),
        ("host_network", if on_host { "true" } else { "false" }),
    ]);
}

fn addresses(pod: &Pod, show: &mut Show<'_>) {
    for address in status(pod).pod_ips.iter().flatten() {
        let family = if address.ip.contains(':') { "6" } else { "4" };
        show.info(&[("ip", &address.ip), ("ip_family", family)]);
    }
}

fn completion(pod: &Pod, show: &mut Show<'_>) {
    let statuses = status(pod).container_statuses.iter().flatten();
    let ended =
        statuses.filter_map(|c| c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let last = ended.map(|time| time.0.as_second()).max();
    if let Some(last) = last.filter(|last| *last > 0) {
        show.value(last as f64);
    }
}

fn claims(pod: &Pod, mut put: impl FnMut(&str, &str, bool)) {
    for volume in spec(pod).volumes.iter().flatten() {
        if let Some(claim) = &volume.persistent_volume_claim {
            put(
                &volume.name,
                &claim.claim_name,
                claim.read_only == Some(true),
            );
        }
    }
}

fn tolerations(pod: &Pod, show: &mut Show<'_>) {
    let mut told = std::collections::BTreeSet::new();
    for one in spec(pod).tolerations.iter().flatten() {
        let word = |text: &Option<String>| text.clone().unwrap_or_default();
        let seconds = one.toleration_seconds.map(|s| s.to_string());
        let labels = [
            word(&one.key),
            word(&one.operator),
            word(&one.value),
            word(&one.effect),
            word(&seconds),
        ];
        if told.insert(labels.clone()) {
            let [key, operator, value, effect, seconds] = &labels;
            show.info(&[
                ("key", key),
                ("operator", operator),
                ("value", value),
                ("effect", effect),
                ("toleration_seconds", seconds),
            ]);
        }
    }
}

pub(super) const ROWS: &[Row<Pod>] = &[
    ("kube_pod_info", Gauge, "Information about pod.", info),
    ("kube_pod_ips", Gauge, "Pod IP addresses", addresses),
    (
        "kube_pod_owner",
        Gauge,
        "Information about the Pod's owner.",
        |p, s| {
            s.owners(p.metadata.owner_references.as_ref(), true);
        },
    ),
    (
        "kube_pod_start_time",
        Gauge,
        "Start time in unix timestamp for a pod.",
        |p, s| {
            s.time(status(p).start_time.as_ref());
        },
    ),
    (
        "kube_pod_completion_time",
        Gauge,
        "Completion time in unix timestamp for a pod.",
        completion,
    ),
    (
        "kube_pod_restart_policy",
        Gauge,
        "Describes the restart policy in use by this pod.",
        |p, s| {
            s.info(&[(
                "type",
                spec(p).restart_policy.as_deref().unwrap_or_default(),
            )]);
        },
    ),
    (
        "kube_pod_service_account",
        Gauge,
        "The service account for a pod.",
        |p, s| {
            s.info(&[(
                "service_account",
                spec(p).service_account_name.as_deref().unwrap_or_default(),
            )]);
        },
    ),
    (
        "kube_pod_scheduler",
        Gauge,
        "The scheduler for a pod.",
        |p, s| {
            s.info(&[(
                "name",
                spec(p).scheduler_name.as_deref().unwrap_or_default(),
            )]);
        },
    ),
    (
        "kube_pod_runtimeclass_name_info",
        Gauge,
        "The runtimeclass associated with the pod.",
        |p, s| {
            if let Some(class) = &spec(p).runtime_class_name {
                s.info(&[("runtimeclass_name", class)]);
            }
        },
    ),
    (
        "kube_pod_overhead_cpu_cores",
        Gauge,
        "The pod overhead in regards to cpu cores associated with running a pod.",
        |p, s| {
            let overhead = spec(p).overhead.as_ref().and_then(|o| o.get("cpu"));
            s.maybe(overhead.and_then(|amount| quantity(amount, true)));
        },
    ),
    (
        "kube_pod_overhead_memory_bytes",
        Gauge,
        "The pod overhead in regards to memory associated with running a pod.",
        |p, s| {
            let overhead = spec(p).overhead.as_ref().and_then(|o| o.get("memory"));
            s.maybe(overhead.and_then(|amount| quantity(amount, false)));
        },
    ),
    (
        "kube_pod_tolerations",
        Gauge,
        "Information about the pod tolerations",
        tolerations,
    ),
    (
        "kube_pod_spec_volumes_persistentvolumeclaims_info",
        Gauge,
        "Information about persistentvolumeclaim volumes in a pod.",
        |p, s| {
            claims(p, |volume, claim, _| {
                s.info(&[("volume", volume), ("persistentvolumeclaim", claim)])
            });
        },
    ),
    (
        "kube_pod_spec_volumes_persistentvolumeclaims_readonly",
        Gauge,
        "Describes whether a persistentvolumeclaim is mounted read only.",
        |p, s| {
            claims(p, |volume, claim, readonly| {
                s.put(
                    &[("volume", volume), ("persistentvolumeclaim", claim)],
                    flag(readonly),
                );
            });
        },
    ),
    (
        "kube_pod_status_phase",
        Gauge,
        "The pods current phase.",
        |p, s| {
            if let Some(phase) = status(p).phase.as_deref().filter(|phase| !phase.is_empty()) {
                s.one_of(
                    "phase",
                    &["Pending", "Succeeded", "Failed", "Unknown", "Running"],
                    phase,
                );
            }
        },
    ),
    (
        "kube_pod_status_qos_class",
        Gauge,
        "The pods current qosClass.",
        |p, s| {
            if let Some(class) = status(p)
                .qos_class
                .as_deref()
                .filter(|class| !class.is_empty())
            {
                s.one_of(
                    "qos_class",
                    &["BestEffort", "Burstable", "Guaranteed"],
                    class,
                );
            }
        },
    ),
    (
        "kube_pod_status_ready",
        Gauge,
        "Describes whether the pod is ready to serve requests.",
        |p, s| {
            state(s, p, "Ready");
        },
    ),
    (
        "kube_pod_status_scheduled",
        Gauge,
        "Describes the status of the scheduling process for the pod.",
        |p, s| {
            state(s, p, "PodScheduled");
        },
    ),
    (
        "kube_pod_status_ready_time",
        Gauge,
        "Readiness achieved time in unix timestamp for a pod.",
        |p, s| {
            when(s, p, "Ready", "True");
        },
    ),
    (
        "kube_pod_status_container_ready_time",
        Gauge,
        "Readiness achieved time in unix timestamp for a pod containers.",
        |p, s| {
            when(s, p, "ContainersReady", "True");
        },
    ),
    (
        "kube_pod_status_initialized_time",
        Gauge,
        "Initialized time in unix timestamp for a pod.",
        |p, s| {
            when(s, p, "Initialized", "True");
        },
    ),
    (
        "kube_pod_status_scheduled_time",
        Gauge,
        "Unix timestamp when pod moved into scheduled status",
        |p, s| {
            when(s, p, "PodScheduled", "True");
        },
    ),
    (
        "kube_pod_status_unscheduled_time",
        Gauge,
        "Unix timestamp when pod moved into unscheduled status",
        |p, s| {
            when(s, p, "PodScheduled", "False");
        },
    ),
    (
        "kube_pod_status_unschedulable",
        Gauge,
        "Describes the unschedulable status for the pod.",
        |p, s| {
            if condition(p, "PodScheduled").is_some_and(|c| c.status == "False") {
                s.value(1.0);
            }
        },
    ),
    (
        "kube_pod_status_reason",
        Gauge,
        "The pod status reasons",
        |p, s| {
            for reason in REASONS {
                s.put(&[("reason", reason)], flag(has_reason(p, reason)));
            }
        },
    ),
];
