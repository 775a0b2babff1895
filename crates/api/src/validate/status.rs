//! Rules of statuses: counts are none below zero, and parts are not more than their whole.

use super::check::Check;
use serde_json::Value;

const WHOLE: &str = "cannot be greater than status.replicas";

pub(super) fn rules(group: &str, kind: &str, new: &Value, old: &Value, check: &mut Check) {
    match (group, kind) {
        ("apps", "Deployment") => {
            counts(
                new,
                &[
                    "observedGeneration",
                    "replicas",
                    "updatedReplicas",
                    "readyReplicas",
                    "availableReplicas",
                    "unavailableReplicas",
                    "terminatingReplicas",
                    "collisionCount",
                ],
                check,
            );
            parts(
                new,
                &["updatedReplicas", "readyReplicas", "availableReplicas"],
                check,
            );
            ready(new, "cannot be greater than readyReplicas", check);
            grows(new, old, check);
        }
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            counts(
                new,
                &[
                    "replicas",
                    "fullyLabeledReplicas",
                    "readyReplicas",
                    "availableReplicas",
                    "observedGeneration",
                    "terminatingReplicas",
                ],
                check,
            );
            let named = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
            parts(new, &named, check);
            ready(new, "cannot be greater than readyReplicas", check);
        }
        ("apps", "StatefulSet") => {
            counts(
                new,
                &[
                    "replicas",
                    "readyReplicas",
                    "currentReplicas",
                    "updatedReplicas",
                    "availableReplicas",
                    "observedGeneration",
                    "collisionCount",
                ],
                check,
            );
            parts(
                new,
                &[
                    "readyReplicas",
                    "currentReplicas",
                    "updatedReplicas",
                    "availableReplicas",
                ],
                check,
            );
            ready(new, "cannot be greater than status.readyReplicas", check);
            grows(new, old, check);
        }
        ("apps", "DaemonSet") => {
            counts(
                new,
                &[
                    "currentNumberScheduled",
                    "numberMisscheduled",
                    "desiredNumberScheduled",
                    "numberReady",
                    "observedGeneration",
                    "updatedNumberScheduled",
                    "numberAvailable",
                    "numberUnavailable",
                    "collisionCount",
                ],
                check,
            );
            grows(new, old, check);
        }
        ("batch", "Job") => {
            let named = ["active", "succeeded", "failed", "ready", "terminating"];
            counts(new, &named, check);
        }
        ("policy", "PodDisruptionBudget") => counts(
            new,
            &[
                "disruptionsAllowed",
                "currentHealthy",
                "desiredHealthy",
                "expectedPods",
            ],
            check,
        ),
        ("autoscaling", "HorizontalPodAutoscaler") => super::scaling::autoscaler_status(new, check),
        ("", "ResourceQuota") => super::limits::quota_status(new, check),
        ("", "Namespace") => {
            let phase = new["status"]["phase"].as_str().unwrap_or_default();
            let why = match new["metadata"]["deletionTimestamp"].is_null() {
                true if phase != "Active" => "may only be 'Active' if `deletionTimestamp` is empty",
                false if phase != "Terminating" => {
                    "may only be 'Terminating' if `deletionTimestamp` is not empty"
                }
                _ => return,
            };
            check.invalid("status.Phase", phase, why);
        }
        ("", "Node") => super::node::resources(new, check),
        ("networking.k8s.io", "Ingress") => super::network::ingress_status(new, check),
        _ => {}
    }
}

fn number(object: &Value, name: &str) -> i64 {
    object["status"][name].as_i64().unwrap_or(0)
}

fn counts(new: &Value, names: &[&str], check: &mut Check) {
    for name in names {
        check.not_negative(&format!("status.{name}"), &new["status"][*name]);
    }
}

fn parts(new: &Value, names: &[&str], check: &mut Check) {
    for name in names {
        let part = number(new, name);
        if part > number(new, "replicas") {
            check.invalid(&format!("status.{name}"), part, WHOLE);
        }
    }
}

fn ready(new: &Value, why: &str, check: &mut Check) {
    let available = number(new, "availableReplicas");
    if available > number(new, "readyReplicas") {
        check.invalid("status.availableReplicas", available, why);
    }
}

/// Collisions are only ever added to.
fn grows(new: &Value, old: &Value, check: &mut Check) {
    let Some(before) = old["status"]["collisionCount"].as_i64() else {
        return;
    };
    let now = number(new, "collisionCount");
    if now < before {
        check.invalid("status.collisionCount", now, "cannot be decremented");
    }
}
