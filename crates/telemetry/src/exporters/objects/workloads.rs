//! Deployments, replica sets, stateful sets and daemon sets.

use super::show::{Row, Show, flag, name, namespace};
use crate::family::Kind::Gauge;
use k8s_openapi::api::apps::v1::{
    DaemonSet, Deployment, DeploymentStatus, ReplicaSet, StatefulSet,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

macro_rules! base {
    ($fn:ident, $kind:ty, $label:literal) => {
        pub(super) fn $fn(object: &$kind) -> Vec<(&'static str, &str)> {
            vec![
                ("namespace", namespace(&object.metadata)),
                ($label, name(&object.metadata)),
            ]
        }
    };
}

base!(deployment, Deployment, "deployment");
base!(replica_set, ReplicaSet, "replicaset");
base!(stateful_set, StatefulSet, "statefulset");
base!(daemon_set, DaemonSet, "daemonset");

/// Reasons that are labels; others are `unknown`, so that nobody can make series with them.
const REASONS: [&str; 11] = [
    "ReplicaSetUpdated",
    "ReplicaSetCreateError",
    "NewReplicaSetCreated",
    "FoundNewReplicaSet",
    "NewReplicaSetAvailable",
    "ProgressDeadlineExceeded",
    "DeploymentPaused",
    "DeploymentResumed",
    "MinimumReplicasAvailable",
    "MinimumReplicasUnavailable",
    "",
];

fn count(value: Option<i32>) -> f64 {
    f64::from(value.unwrap_or(0))
}

fn generation(value: Option<i64>) -> f64 {
    value.unwrap_or(0) as f64
}

fn told(object: &Deployment, show: &mut Show<'_>, get: fn(&DeploymentStatus) -> Option<i32>) {
    show.value(count(object.status.as_ref().and_then(get)));
}

fn wanted(object: &Deployment) -> i32 {
    let spec = object.spec.as_ref();
    spec.and_then(|spec| spec.replicas).unwrap_or(1)
}

// A count, or a share of the replicas.
fn scaled(value: &IntOrString, of: i32, up: bool) -> Option<f64> {
    match value {
        IntOrString::Int(count) => Some(f64::from(*count)),
        IntOrString::String(text) => {
            let percent: f64 = text.strip_suffix('%')?.parse().ok()?;
            let exact = percent * f64::from(of) / 100.0;
            Some(if up { exact.ceil() } else { exact.floor() })
        }
    }
}

fn rolling(object: &Deployment, show: &mut Show<'_>, surge: bool) {
    let strategy = object.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let Some(rolling) = rolling else { return };
    let value = if surge {
        &rolling.max_surge
    } else {
        &rolling.max_unavailable
    };
    show.maybe(
        value
            .as_ref()
            .and_then(|value| scaled(value, wanted(object), surge)),
    );
}

pub(super) const DEPLOYMENTS: &[Row<Deployment>] = &[
    (
        "kube_deployment_owner",
        Gauge,
        "Information about the Deployment's owner.",
        |d, s| {
            s.owners(d.metadata.owner_references.as_ref(), false);
        },
    ),
    (
        "kube_deployment_status_replicas",
        Gauge,
        "The number of replicas per deployment.",
        |d, s| told(d, s, |t| t.replicas),
    ),
    (
        "kube_deployment_status_replicas_ready",
        Gauge,
        "The number of ready replicas per deployment.",
        |d, s| told(d, s, |t| t.ready_replicas),
    ),
    (
        "kube_deployment_status_replicas_available",
        Gauge,
        "The number of available replicas per deployment.",
        |d, s| told(d, s, |t| t.available_replicas),
    ),
    (
        "kube_deployment_status_replicas_unavailable",
        Gauge,
        "The number of unavailable replicas per deployment.",
        |d, s| told(d, s, |t| t.unavailable_replicas),
    ),
    (
        "kube_deployment_status_replicas_updated",
        Gauge,
        "The number of updated replicas per deployment.",
        |d, s| told(d, s, |t| t.updated_replicas),
    ),
    (
        "kube_deployment_status_terminating_replicas",
        Gauge,
        "The number of terminating replicas per deployment.",
        |d, s| {
            s.maybe(d.status.as_ref().and_then(|t| t.terminating_replicas));
        },
    ),
    (
        "kube_deployment_status_observed_generation",
        Gauge,
        "The generation observed by the deployment controller.",
        |d, s| {
            s.value(generation(
                d.status.as_ref().and_then(|t| t.observed_generation),
            ));
        },
    ),
    (
        "kube_deployment_status_condition",
        Gauge,
        "The current status conditions of a deployment.",
        |d, s| {
            for condition in d.status.iter().flat_map(|t| t.conditions.iter().flatten()) {
                let reason = condition.reason.as_deref().unwrap_or_default();
                let reason = if REASONS.contains(&reason) {
                    reason
                } else {
                    "unknown"
                };
                let labels = [("reason", reason), ("condition", &condition.type_)];
                s.status(&labels, "status", &condition.status);
            }
        },
    ),
    (
        "kube_deployment_spec_replicas",
        Gauge,
        "Number of desired pods for a deployment.",
        |d, s| s.value(f64::from(wanted(d))),
    ),
    (
        "kube_deployment_spec_paused",
        Gauge,
        "Whether the deployment is paused and will not be processed by the deployment controller.",
        |d, s| {
            s.value(flag(
                d.spec
                    .as_ref()
                    .is_some_and(|spec| spec.paused == Some(true)),
            ));
        },
    ),
    (
        "kube_deployment_spec_strategy_rollingupdate_max_unavailable",
        Gauge,
        "Maximum number of unavailable replicas during a rolling update of a deployment.",
        |d, s| rolling(d, s, false),
    ),
    (
        "kube_deployment_spec_strategy_rollingupdate_max_surge",
        Gauge,
        "Maximum number of replicas that can be scheduled above the desired number of replicas during a rolling update of a deployment.",
        |d, s| rolling(d, s, true),
    ),
    (
        "kube_deployment_metadata_generation",
        Gauge,
        "Sequence number representing a specific generation of the desired state.",
        |d, s| s.value(generation(d.metadata.generation)),
    ),
];

pub(super) const REPLICA_SETS: &[Row<ReplicaSet>] = &[
    (
        "kube_replicaset_owner",
        Gauge,
        "Information about the ReplicaSet's owner.",
        |r, s| {
            s.owners(r.metadata.owner_references.as_ref(), true);
        },
    ),
    (
        "kube_replicaset_status_replicas",
        Gauge,
        "The number of replicas per ReplicaSet.",
        |r, s| {
            s.value(r.status.as_ref().map_or(0.0, |t| f64::from(t.replicas)));
        },
    ),
    (
        "kube_replicaset_status_fully_labeled_replicas",
        Gauge,
        "The number of fully labeled replicas per ReplicaSet.",
        |r, s| {
            s.value(count(
                r.status.as_ref().and_then(|t| t.fully_labeled_replicas),
            ));
        },
    ),
    (
        "kube_replicaset_status_ready_replicas",
        Gauge,
        "The number of ready replicas per ReplicaSet.",
        |r, s| {
            s.value(count(r.status.as_ref().and_then(|t| t.ready_replicas)));
        },
    ),
    (
        "kube_replicaset_status_terminating_replicas",
        Gauge,
        "The number of terminating replicas per ReplicaSet.",
        |r, s| {
            s.maybe(r.status.as_ref().and_then(|t| t.terminating_replicas));
        },
    ),
    (
        "kube_replicaset_status_observed_generation",
        Gauge,
        "The generation observed by the ReplicaSet controller.",
        |r, s| {
            s.value(generation(
                r.status.as_ref().and_then(|t| t.observed_generation),
            ));
        },
    ),
    (
        "kube_replicaset_spec_replicas",
        Gauge,
        "Number of desired pods for a ReplicaSet.",
        |r, s| {
            s.maybe(r.spec.as_ref().and_then(|spec| spec.replicas));
        },
    ),
    (
        "kube_replicaset_metadata_generation",
        Gauge,
        "Sequence number representing a specific generation of the desired state.",
        |r, s| s.value(generation(r.metadata.generation)),
    ),
];

fn of_set(
    set: &StatefulSet,
    show: &mut Show<'_>,
    get: fn(&k8s_openapi::api::apps::v1::StatefulSetStatus) -> Option<i32>,
) {
    show.value(count(set.status.as_ref().and_then(get)));
}

pub(super) const STATEFUL_SETS: &[Row<StatefulSet>] = &[
    (
        "kube_statefulset_status_replicas",
        Gauge,
        "The number of replicas per StatefulSet.",
        |r, s| of_set(r, s, |t| Some(t.replicas)),
    ),
    (
        "kube_statefulset_status_replicas_available",
        Gauge,
        "The number of available replicas per StatefulSet.",
        |r, s| of_set(r, s, |t| t.available_replicas),
    ),
    (
        "kube_statefulset_status_replicas_current",
        Gauge,
        "The number of current replicas per StatefulSet.",
        |r, s| of_set(r, s, |t| t.current_replicas),
    ),
    (
        "kube_statefulset_status_replicas_ready",
        Gauge,
        "The number of ready replicas per StatefulSet.",
        |r, s| of_set(r, s, |t| t.ready_replicas),
    ),
    (
        "kube_statefulset_status_replicas_updated",
        Gauge,
        "The number of updated replicas per StatefulSet.",
        |r, s| of_set(r, s, |t| t.updated_replicas),
    ),
    (
        "kube_statefulset_status_observed_generation",
        Gauge,
        "The generation observed by the StatefulSet controller.",
        |r, s| {
            s.value(generation(
                r.status.as_ref().and_then(|t| t.observed_generation),
            ));
        },
    ),
    (
        "kube_statefulset_replicas",
        Gauge,
        "Number of desired pods for a StatefulSet.",
        |r, s| {
            s.maybe(r.spec.as_ref().and_then(|spec| spec.replicas));
        },
    ),
    (
        "kube_statefulset_ordinals_start",
        Gauge,
        "Start ordinal of the StatefulSet.",
        |r, s| {
            let ordinals = r.spec.as_ref().and_then(|spec| spec.ordinals.as_ref());
            s.maybe(ordinals.map(|ordinals| ordinals.start.unwrap_or(0)));
        },
    ),
    (
        "kube_statefulset_metadata_generation",
        Gauge,
        "Sequence number representing a specific generation of the desired state for the StatefulSet.",
        |r, s| s.value(generation(r.metadata.generation)),
    ),
    (
        "kube_statefulset_persistentvolumeclaim_retention_policy",
        Gauge,
        "Count of retention policy for StatefulSet template PVCs",
        |r, s| {
            let spec = r.spec.as_ref();
            if let Some(policy) =
                spec.and_then(|s| s.persistent_volume_claim_retention_policy.as_ref())
            {
                let deleted = policy.when_deleted.as_deref().unwrap_or_default();
                let scaled = policy.when_scaled.as_deref().unwrap_or_default();
                if !deleted.is_empty() || !scaled.is_empty() {
                    s.info(&[("when_deleted", deleted), ("when_scaled", scaled)]);
                }
            }
        },
    ),
    (
        "kube_statefulset_status_current_revision",
        Gauge,
        "Indicates the version of the StatefulSet used to generate Pods in the sequence [0,currentReplicas).",
        |r, s| {
            let revision = r
                .status
                .as_ref()
                .and_then(|t| t.current_revision.as_deref());
            s.info(&[("revision", revision.unwrap_or_default())]);
        },
    ),
    (
        "kube_statefulset_status_update_revision",
        Gauge,
        "Indicates the version of the StatefulSet used to generate Pods in the sequence [replicas-updatedReplicas,replicas)",
        |r, s| {
            let revision = r.status.as_ref().and_then(|t| t.update_revision.as_deref());
            s.info(&[("revision", revision.unwrap_or_default())]);
        },
    ),
];

fn of_daemon(
    set: &DaemonSet,
    show: &mut Show<'_>,
    get: fn(&k8s_openapi::api::apps::v1::DaemonSetStatus) -> Option<i32>,
) {
    show.value(count(set.status.as_ref().and_then(get)));
}

pub(super) const DAEMON_SETS: &[Row<DaemonSet>] = &[
    (
        "kube_daemonset_status_current_number_scheduled",
        Gauge,
        "The number of nodes running at least one daemon pod and are supposed to.",
        |d, s| of_daemon(d, s, |t| Some(t.current_number_scheduled)),
    ),
    (
        "kube_daemonset_status_desired_number_scheduled",
        Gauge,
        "The number of nodes that should be running the daemon pod.",
        |d, s| of_daemon(d, s, |t| Some(t.desired_number_scheduled)),
    ),
    (
        "kube_daemonset_status_number_available",
        Gauge,
        "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available",
        |d, s| of_daemon(d, s, |t| t.number_available),
    ),
    (
        "kube_daemonset_status_number_misscheduled",
        Gauge,
        "The number of nodes running a daemon pod but are not supposed to.",
        |d, s| of_daemon(d, s, |t| Some(t.number_misscheduled)),
    ),
    (
        "kube_daemonset_status_number_ready",
        Gauge,
        "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and ready.",
        |d, s| of_daemon(d, s, |t| Some(t.number_ready)),
    ),
    (
        "kube_daemonset_status_number_unavailable",
        Gauge,
        "The number of nodes that should be running the daemon pod and have none of the daemon pod running and available",
        |d, s| of_daemon(d, s, |t| t.number_unavailable),
    ),
    (
        "kube_daemonset_status_updated_number_scheduled",
        Gauge,
        "The total number of nodes that are running updated daemon pod",
        |d, s| of_daemon(d, s, |t| t.updated_number_scheduled),
    ),
    (
        "kube_daemonset_status_observed_generation",
        Gauge,
        "The most recent generation observed by the daemon set controller.",
        |d, s| {
            s.value(generation(
                d.status.as_ref().and_then(|t| t.observed_generation),
            ));
        },
    ),
    (
        "kube_daemonset_metadata_generation",
        Gauge,
        "Sequence number representing a specific generation of the desired state.",
        |d, s| s.value(generation(d.metadata.generation)),
    ),
];
