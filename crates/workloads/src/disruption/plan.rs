//! From a budget, its pods and the sizes of their controllers to its status.

use crate::{pods, time};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many pods there should be, or why that is not known.
pub(crate) type Expected = Result<i32, String>;

/// A pod that was to be evicted and is still there after this time stays.
const EVICTION: Duration = Duration::from_secs(120);

pub(crate) fn deployment_size(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|s| s.replicas)
        .unwrap_or(1)
}

pub(crate) fn replica_set_size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

pub(crate) fn stateful_set_size(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

pub(crate) fn controller_size(controller: &ReplicationController) -> i32 {
    let spec = controller.spec.as_ref();
    spec.and_then(|s| s.replicas).unwrap_or(1)
}

/// The next status, and when to look again because of time alone.
pub(crate) fn status(
    budget: &PodDisruptionBudget,
    guarded: &[Arc<Pod>],
    expected: Expected,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let old = budget.status.clone().unwrap_or_default();
    let (disrupted, after) = still_leaving(&old, guarded, now);
    let generation = budget.metadata.generation;
    let mut status = PodDisruptionBudgetStatus {
        conditions: old.conditions.clone(),
        observed_generation: generation,
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        ..old.clone()
    };
    match counts(budget, guarded.len(), expected) {
        Ok((expected, desired)) => {
            let leaving = status.disrupted_pods.as_ref();
            let healthy = guarded.iter().filter(|pod| {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                let leaves = leaving.is_some_and(|all| all.contains_key(name));
                !pods::is_deleting(pod) && !leaves && pods::is_ready(pod)
            });
            let healthy = healthy.count() as i32;
            let allowed = match expected {
                0 => 0,
                _ => (healthy - desired).max(0),
            };
            status.expected_pods = Some(expected);
            status.desired_healthy = Some(desired);
            status.current_healthy = Some(healthy);
            status.disruptions_allowed = Some(allowed);
            let (word, reason) = match allowed {
                0 => ("False", "InsufficientPods"),
                _ => ("True", "SufficientPods"),
            };
            set(&mut status, word, reason, String::new(), generation, now);
        }
        // What cannot be counted may not be disturbed.
        Err(why) => {
            status.disruptions_allowed = Some(0);
            set(&mut status, "False", "SyncFailed", why, generation, now);
        }
    }
    (status, after)
}

/// Pods that should be there, and how many of them must be healthy.
fn counts(
    budget: &PodDisruptionBudget,
    guarded: usize,
    expected: Expected,
) -> Result<(i32, i32), String> {
    let spec = budget.spec.as_ref();
    let least = spec.and_then(|s| s.min_available.as_ref());
    let most = spec.and_then(|s| s.max_unavailable.as_ref());
    match (most, least) {
        (Some(most), _) => {
            let expected = expected?;
            Ok((expected, (expected - scaled(most, expected)?).max(0)))
        }
        (None, Some(IntOrString::Int(least))) => Ok((guarded as i32, *least)),
        (None, Some(least)) => {
            let expected = expected?;
            Ok((expected, scaled(least, expected)?))
        }
        (None, None) => Ok((guarded as i32, 0)),
    }
}

// Shares are rounded up.
fn scaled(value: &IntOrString, of: i32) -> Result<i32, String> {
    match value {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|p| p.parse::<i64>().ok());
            let percent =
                percent.ok_or_else(|| format!("{text:?} is no number and no percentage"))?;
            let share = (percent * i64::from(of) + 99).div_euclid(100);
            Ok(i32::try_from(share).unwrap_or(i32::MAX))
        }
    }
}

fn still_leaving(
    old: &PodDisruptionBudgetStatus,
    guarded: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let (mut kept, mut after) = (BTreeMap::new(), None);
    for (name, since) in old.disrupted_pods.iter().flatten() {
        let mut same = guarded
            .iter()
            .filter(|pod| pod.metadata.name.as_ref() == Some(name));
        // One that is on its way out no longer counts anyway.
        if !same.any(|pod| !pods::is_deleting(pod)) {
            continue;
        }
        if let Some(left) = time::left(since, EVICTION, now) {
            kept.insert(name.clone(), since.clone());
            after = time::earlier(after, Some(left));
        }
    }
    (kept, after)
}

fn set(
    status: &mut PodDisruptionBudgetStatus,
    word: &str,
    reason: &str,
    message: String,
    generation: Option<i64>,
    now: Timestamp,
) {
    let mut all = status.conditions.take().unwrap_or_default();
    let before = all
        .iter()
        .position(|c| c.type_ == "DisruptionAllowed")
        .map(|at| all.remove(at));
    let since = before
        .filter(|c| c.status == word)
        .map(|c| c.last_transition_time);
    all.push(Condition {
        type_: "DisruptionAllowed".into(),
        status: word.into(),
        reason: reason.into(),
        message,
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(second(now))),
    });
    status.conditions = Some(all);
}

// As the API writes it, so that what comes back is what was sent.
fn second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn budget(spec: serde_json::Value, status: serde_json::Value) -> PodDisruptionBudget {
        let all = json!({"metadata": {"generation": 2}, "spec": spec, "status": status});
        serde_json::from_value(all).expect("budget")
    }

    fn pods(ready: &[bool]) -> Vec<Arc<Pod>> {
        let pod = |(index, ready): (usize, &bool)| {
            let word = if *ready { "True" } else { "False" };
            let all = json!({"metadata": {"name": format!("p{index}")},
                "status": {"conditions": [{"type": "Ready", "status": word}]}});
            Arc::new(serde_json::from_value(all).expect("pod"))
        };
        ready.iter().enumerate().map(pod).collect()
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).expect("time")
    }

    fn of(spec: serde_json::Value, ready: &[bool], expected: Expected) -> (i32, i32, i32, i32) {
        let empty = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
        let (status, _) = status(&budget(spec, empty), &pods(ready), expected, now());
        assert_eq!(status.observed_generation, Some(2));
        let number = |value: Option<i32>| value.expect("a number");
        (
            number(status.expected_pods),
            number(status.desired_healthy),
            number(status.current_healthy),
            number(status.disruptions_allowed),
        )
    }

    #[test]
    fn numbers_and_shares() {
        let three = [true, true, true];
        assert_eq!(of(json!({"minAvailable": 2}), &three, Ok(9)), (3, 2, 3, 1));
        assert_eq!(
            of(json!({"minAvailable": "50%"}), &three, Ok(3)),
            (3, 2, 3, 1)
        );
        assert_eq!(
            of(json!({"maxUnavailable": 1}), &[true, true, false], Ok(3)),
            (3, 2, 2, 0)
        );
        assert_eq!(
            of(json!({"maxUnavailable": "34%"}), &three, Ok(3)),
            (3, 1, 3, 2)
        );
        assert_eq!(of(json!({"maxUnavailable": 1}), &[], Ok(0)), (0, 0, 0, 0));
    }

    #[test]
    fn what_cannot_be_counted_stays() {
        let old = json!({"currentHealthy": 3, "desiredHealthy": 1, "disruptionsAllowed": 2, "expectedPods": 3});
        let (status, _) = status(
            &budget(json!({"maxUnavailable": 1}), old),
            &pods(&[true]),
            Err("why".into()),
            now(),
        );
        let condition = &status.conditions.expect("conditions")[0];
        assert_eq!(
            (
                status.disruptions_allowed.expect("a number"),
                condition.reason.as_str(),
                condition.message.as_str()
            ),
            (0, "SyncFailed", "why")
        );
    }

    #[test]
    fn an_evicted_pod_counts_as_gone_for_a_while() {
        let at = |seconds: i64| Time(Timestamp::from_second(1_000_000 - seconds).expect("time"));
        let old = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
            "disruptedPods": {"p0": at(20), "p1": at(200), "gone": at(1)}});
        let (status, after) = status(
            &budget(json!({"minAvailable": 1}), old),
            &pods(&[true, true, true]),
            Ok(3),
            now(),
        );
        assert_eq!(
            status
                .disrupted_pods
                .expect("pods")
                .keys()
                .collect::<Vec<_>>(),
            ["p0"]
        );
        assert_eq!(
            (status.current_healthy, status.disruptions_allowed),
            (Some(2), Some(1))
        );
        assert_eq!(after, Some(Duration::from_secs(100)));
    }
}
