//! How many pods a replica set must make or give up, which ones, and its status.

use crate::{pods, selector, time};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Pods made or deleted in one go; the rest follows in the next.
const BURST: usize = 500;

/// What to do about the pods.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Pods to make.
    pub(crate) create: usize,
    /// Pods to delete.
    pub(crate) delete: Vec<Arc<Pod>>,
}

/// Compares active pods with the wanted number. `related` are all active pods whose replica sets
/// share this one's owner: of two pods the one on the more crowded node goes first.
pub(crate) fn plan(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    related: &[Arc<Pod>],
    now: Timestamp,
) -> Plan {
    if set.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let wanted = set
        .spec
        .as_ref()
        .and_then(|s| s.replicas)
        .unwrap_or(1)
        .max(0);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let mut active: Vec<Arc<Pod>> = owned
        .iter()
        .filter(|p| pods::is_active(p))
        .cloned()
        .collect();
    if active.len() <= wanted {
        return Plan {
            create: (wanted - active.len()).min(BURST),
            delete: Vec::new(),
        };
    }
    let surplus = (active.len() - wanted).min(BURST);
    let mut crowd: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related.iter().filter(|p| pods::is_active(p)) {
        *crowd
            .entry(pods::node(pod).unwrap_or_default())
            .or_default() += 1;
    }
    active.sort_by(|a, b| deletion_order(a, b, &crowd, now));
    active.truncate(surplus);
    Plan {
        create: 0,
        delete: active,
    }
}

// Less means deleted earlier. The steps are upstream's.
fn deletion_order(a: &Pod, b: &Pod, crowd: &BTreeMap<&str, usize>, now: Timestamp) -> Ordering {
    let phase_rank = |p: &Pod| match pods::phase(p) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = |p: &Pod| -> i32 {
        p.metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(DELETION_COST))
            .and_then(|c| c.parse().ok())
            .unwrap_or(0)
    };
    let crowded = |p: &Pod| {
        Reverse(
            crowd
                .get(pods::node(p).unwrap_or_default())
                .copied()
                .unwrap_or(0),
        )
    };
    let coarse = |p: &Pod| {
        (
            pods::node(p).is_some(),
            phase_rank(p),
            pods::is_ready(p),
            cost(p),
            crowded(p),
        )
    };
    coarse(a)
        .cmp(&coarse(b))
        .then_with(|| match (pods::ready_since(a), pods::ready_since(b)) {
            (Some(x), Some(y)) if x != y => younger_first(a, x, b, y, now),
            _ => Ordering::Equal,
        })
        .then_with(|| pods::restarts(b).cmp(&pods::restarts(a)))
        .then_with(|| {
            match (
                &a.metadata.creation_timestamp,
                &b.metadata.creation_timestamp,
            ) {
                (Some(x), Some(y)) if x != y => younger_first(a, x, b, y, now),
                _ => Ordering::Equal,
            }
        })
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

// Younger first, but ages of the same power of two count as equal and are decided by UID, so
// that scaling down does not always hit the pods of one moment.
fn younger_first(a: &Pod, x: &Time, b: &Pod, y: &Time, now: Timestamp) -> Ordering {
    let magnitude = |t: &Time| {
        time::since(t, now)
            .as_secs()
            .checked_ilog2()
            .map_or(0, |n| n + 1)
    };
    magnitude(x)
        .cmp(&magnitude(y))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

/// Why pods could not be made or deleted in this pass.
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Counts and condition `ReplicaFailure`; with the delay after which a ready pod becomes
/// available.
pub(crate) fn status(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    failure: Option<Failure>,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let spec = set.spec.clone().unwrap_or_default();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let labels = spec
        .template
        .and_then(|t| t.metadata)
        .and_then(|m| m.labels)
        .unwrap_or_default();
    let count = |test: &dyn Fn(&Pod) -> bool| {
        i32::try_from(
            owned
                .iter()
                .filter(|p| pods::is_active(p) && test(p))
                .count(),
        )
        .unwrap_or(i32::MAX)
    };
    let some = |n: i32| (n != 0).then_some(n);
    let terminating = owned
        .iter()
        .filter(|p| pods::is_deleting(p) && !pods::is_terminal(p))
        .count();
    let mut conditions = set
        .status
        .as_ref()
        .and_then(|s| s.conditions.clone())
        .unwrap_or_default();
    let current = conditions.iter().position(|c| c.type_ == "ReplicaFailure");
    match (failure, current) {
        (Some(failure), None) => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(failure.reason.into()),
            message: Some(failure.message),
            last_transition_time: Some(Time(now)),
        }),
        (None, Some(at)) => drop(conditions.remove(at)),
        _ => {}
    }
    let status = ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: some(count(&|p| {
            selector::equal(&labels, p.metadata.labels.as_ref())
        })),
        ready_replicas: some(count(&pods::is_ready)),
        available_replicas: some(count(&|p| pods::is_available(p, min_ready, now))),
        terminating_replicas: some(i32::try_from(terminating).unwrap_or(i32::MAX)),
        observed_generation: set.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
    };
    let soonest = owned
        .iter()
        .filter(|p| pods::is_active(p))
        .filter_map(|p| pods::available_in(p, min_ready, now))
        .min();
    (status, soonest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "s", "generation": 2},
            "spec": {"replicas": replicas, "selector": {}, "minReadySeconds": 10,
                     "template": {"metadata": {"labels": {"app": "x"}}}},
        }))
        .expect("replica set")
    }

    fn pod(
        uid: &str,
        node: &str,
        phase: &str,
        ready: Option<&str>,
        extra: serde_json::Value,
    ) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": uid, "uid": uid, "labels": {"app": "x"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [], "nodeName": node},
            "status": {"phase": phase},
        });
        if let Some(since) = ready {
            value["status"]["conditions"] =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        }
        if let Some(map) = extra.as_object() {
            for (key, value_) in map {
                value["metadata"][key] = value_.clone();
            }
        }
        Arc::new(serde_json::from_value(value).expect("pod"))
    }

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().expect("time")
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        let ready = Some("2026-01-01T00:10:00Z");
        let all = vec![
            pod("g-old-ready", "n1", "Running", ready, json!({})),
            pod(
                "f-young-ready",
                "n1",
                "Running",
                Some("2026-01-01T00:59:50Z"),
                json!({}),
            ),
            pod("e-crowded", "n2", "Running", ready, json!({})),
            pod(
                "d-cheap",
                "n1",
                "Running",
                ready,
                json!({"annotations": {DELETION_COST: "-5"}}),
            ),
            pod("c-not-ready", "n1", "Running", None, json!({})),
            pod("b-pending", "n1", "Pending", None, json!({})),
            pod("a-unassigned", "", "Pending", None, json!({})),
        ];
        let related: Vec<_> = (0..9)
            .map(|i| pod(&format!("r{i}"), "n2", "Running", ready, json!({})))
            .chain(all.iter().cloned())
            .collect();
        let order = plan(&set(0), &all, &related, now());
        let names: Vec<_> = order
            .delete
            .iter()
            .map(|p| p.metadata.uid.clone().unwrap_or_default())
            .collect();
        assert_eq!(
            names,
            [
                "a-unassigned",
                "b-pending",
                "c-not-ready",
                "d-cheap",
                "e-crowded",
                "f-young-ready",
                "g-old-ready"
            ]
        );
        assert_eq!(plan(&set(9), &all, &related, now()).create, 2);
    }

    #[test]
    fn ended_and_ending_pods_do_not_count_and_readiness_must_last() {
        let all = vec![
            pod("a", "n", "Running", Some("2026-01-01T00:59:55Z"), json!({})),
            pod(
                "b",
                "n",
                "Running",
                Some("2026-01-01T00:50:00Z"),
                json!({"labels": {}}),
            ),
            pod("c", "n", "Failed", None, json!({})),
            pod(
                "d",
                "n",
                "Running",
                None,
                json!({"deletionTimestamp": "2026-01-01T00:59:00Z"}),
            ),
        ];
        assert_eq!(plan(&set(3), &all, &all, now()).create, 1);
        let (status, after) = status(&set(3), &all, None, now());
        assert_eq!(status.replicas, 2);
        assert_eq!(status.ready_replicas, Some(2));
        assert_eq!(status.available_replicas, Some(1));
        assert_eq!(status.fully_labeled_replicas, Some(1));
        assert_eq!(status.terminating_replicas, Some(1));
        assert_eq!(status.observed_generation, Some(2));
        assert_eq!(after, Some(Duration::from_secs(5)));
    }
}
