//! Status of a deployment in upstream's words, which `kubectl rollout status` and `wait` read.

use super::sizes::{available, max_unavailable, wanted};
use crate::time;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;

pub(crate) const AVAILABLE: &str = "Available";
pub(crate) const PROGRESSING: &str = "Progressing";
pub(crate) const REPLICA_FAILURE: &str = "ReplicaFailure";

pub(crate) const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const SET_UPDATED: &str = "ReplicaSetUpdated";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

/// Counts are left out where zero, as upstream's encoder does.
pub(crate) fn count(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

/// A new condition as of now.
pub(crate) fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Finds a condition.
pub(crate) fn find<'a>(
    status: &'a DeploymentStatus,
    type_: &str,
) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == type_)
}

/// Puts a condition in; one of the same status and reason stays as it is, and the transition
/// time moves only with the status.
pub(crate) fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    let conditions = status.conditions.get_or_insert_default();
    if let Some(current) = conditions.iter().find(|c| c.type_ == condition.type_) {
        if current.status == condition.status && current.reason == condition.reason {
            return;
        }
        if current.status == condition.status {
            condition.last_transition_time = current.last_transition_time.clone();
        }
    }
    conditions.retain(|c| c.type_ != condition.type_);
    conditions.push(condition);
}

/// Takes a condition out.
pub(crate) fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.type_ != type_);
    }
}

/// Time a rollout may take without progress; `None` for ever.
pub(crate) fn deadline(deployment: &Deployment) -> Option<Duration> {
    let seconds = deployment
        .spec
        .as_ref()?
        .progress_deadline_seconds
        .unwrap_or(600);
    (seconds != i32::MAX).then(|| time::seconds(i64::from(seconds)))
}

/// Counts and condition `Available`; other conditions are taken from `before`.
pub(crate) fn calculate(
    deployment: &Deployment,
    before: &DeploymentStatus,
    sets: &[&ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |get: fn(&ReplicaSet) -> i32| sets.iter().map(|s| get(s)).sum::<i32>();
    let total = sum(|s| s.status.as_ref().map_or(0, |s| s.replicas));
    let available_replicas = sum(available);
    let terminating = sum(|s| {
        s.status
            .as_ref()
            .and_then(|s| s.terminating_replicas)
            .unwrap_or(0)
    });
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: count(total),
        updated_replicas: count(
            new.and_then(|s| s.status.as_ref())
                .map_or(0, |s| s.replicas),
        ),
        ready_replicas: count(sum(|s| {
            s.status
                .as_ref()
                .and_then(|s| s.ready_replicas)
                .unwrap_or(0)
        })),
        available_replicas: count(available_replicas),
        unavailable_replicas: count((total - available_replicas).max(0)),
        terminating_replicas: count(terminating),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    let enough = available_replicas >= wanted(deployment) - max_unavailable(deployment);
    let condition = if enough {
        let message = "Deployment has minimum availability.".to_string();
        condition(AVAILABLE, "True", "MinimumReplicasAvailable", message, now)
    } else {
        let message = "Deployment does not have minimum availability.".to_string();
        condition(
            AVAILABLE,
            "False",
            "MinimumReplicasUnavailable",
            message,
            now,
        )
    };
    set(&mut status, condition);
    status
}

/// Whether everything wanted is there, new and available.
pub(crate) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = wanted(deployment);
    [
        status.updated_replicas,
        status.replicas,
        status.available_replicas,
    ]
    .iter()
    .all(|n| n.unwrap_or(0) == wanted)
        && status.observed_generation >= deployment.metadata.generation
}

fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let more =
        |get: fn(&DeploymentStatus) -> Option<i32>| get(new).unwrap_or(0) > get(old).unwrap_or(0);
    let stale = |s: &DeploymentStatus| s.replicas.unwrap_or(0) - s.updated_replicas.unwrap_or(0);
    more(|s| s.updated_replicas)
        || stale(new) < stale(old)
        || more(|s| s.ready_replicas)
        || more(|s| s.available_replicas)
}

fn timed_out(status: &DeploymentStatus, deadline: Duration, now: Timestamp) -> bool {
    let Some(current) = find(status, PROGRESSING) else {
        return false;
    };
    match current.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => current
            .last_update_time
            .as_ref()
            .is_some_and(|from| time::left(from, deadline, now).is_none()),
    }
}

/// Condition `Progressing` of a rollout on its way, and `ReplicaFailure`. `before` is the status
/// that the API holds, `status` the new one.
pub(crate) fn rollout(
    deployment: &Deployment,
    before: &DeploymentStatus,
    status: &mut DeploymentStatus,
    sets: &[&ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) {
    let subject = match new.and_then(|s| s.metadata.name.as_deref()) {
        Some(name) => format!("ReplicaSet \"{name}\""),
        None => format!(
            "Deployment \"{}\"",
            deployment.metadata.name.as_deref().unwrap_or_default()
        ),
    };
    let current = find(status, PROGRESSING).cloned();
    let was_complete = status.replicas == status.updated_replicas
        && current
            .as_ref()
            .is_some_and(|c| c.reason.as_deref() == Some(NEW_SET_AVAILABLE));
    match deadline(deployment) {
        None => remove(status, PROGRESSING),
        Some(_) if was_complete => {}
        Some(_) if is_complete(deployment, status) => {
            let message = format!("{subject} has successfully progressed.");
            set(
                status,
                condition(PROGRESSING, "True", NEW_SET_AVAILABLE, message, now),
            );
        }
        Some(_) if is_progressing(before, status) => {
            let mut next = condition(
                PROGRESSING,
                "True",
                SET_UPDATED,
                format!("{subject} is progressing."),
                now,
            );
            if let Some(current) = current.filter(|c| c.status == "True") {
                next.last_transition_time = current.last_transition_time;
            }
            // Taken out first, so that its update time moves with every step.
            remove(status, PROGRESSING);
            set(status, next);
        }
        Some(deadline) if timed_out(status, deadline, now) => {
            let message = format!("{subject} has timed out progressing.");
            set(
                status,
                condition(PROGRESSING, "False", TIMED_OUT, message, now),
            );
        }
        Some(_) => {}
    }
    match failure(sets, new) {
        Some((reason, message)) => set(
            status,
            condition(REPLICA_FAILURE, "True", &reason, message, now),
        ),
        None => remove(status, REPLICA_FAILURE),
    }
}

fn failure(sets: &[&ReplicaSet], new: Option<&ReplicaSet>) -> Option<(String, String)> {
    let of = |set: &ReplicaSet| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        let found = conditions
            .iter()
            .find(|c| c.type_ == REPLICA_FAILURE && c.status == "True")?;
        Some((
            found.reason.clone().unwrap_or_default(),
            found.message.clone().unwrap_or_default(),
        ))
    };
    new.and_then(of).or_else(|| sets.iter().find_map(|s| of(s)))
}

/// Notes that a paused deployment is paused, or no longer is; a passed deadline stays visible.
pub(crate) fn paused(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    let current = find(status, PROGRESSING).and_then(|c| c.reason.clone());
    if deadline(deployment).is_none() || current.as_deref() == Some(TIMED_OUT) {
        return;
    }
    let is_paused = deployment
        .spec
        .as_ref()
        .and_then(|s| s.paused)
        .unwrap_or(false);
    let noted = current.as_deref() == Some(PAUSED);
    if is_paused && !noted {
        set(
            status,
            condition(
                PROGRESSING,
                "Unknown",
                PAUSED,
                "Deployment is paused".into(),
                now,
            ),
        );
    } else if !is_paused && noted {
        set(
            status,
            condition(
                PROGRESSING,
                "Unknown",
                RESUMED,
                "Deployment is resumed".into(),
                now,
            ),
        );
    }
}

/// When a stuck rollout is to be looked at again.
pub(crate) fn look_again(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let current = find(status, PROGRESSING)?;
    if is_complete(deployment, status) || current.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    let left = time::left(
        current.last_update_time.as_ref()?,
        deadline(deployment)?,
        now,
    );
    Some(left.unwrap_or_default() + Duration::from_secs(1))
}
