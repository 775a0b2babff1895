//! Revisions of a deployment: annotations on its replica sets, from which `kubectl rollout
//! history` and `undo` read.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Number of the revision, on the deployment and its replica sets.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of a replica set that came back.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Size of the deployment when the set was last scaled.
pub(crate) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same plus the allowed surge.
pub(crate) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

const HISTORY_BYTES: usize = 2000;
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// An annotation read as a number.
pub(crate) fn number(meta: &ObjectMeta, annotation: &str) -> Option<i64> {
    meta.annotations.as_ref()?.get(annotation)?.parse().ok()
}

/// Revision of a set; zero where it has none.
pub(crate) fn of(set: &ReplicaSet) -> i64 {
    number(&set.metadata, REVISION).unwrap_or(0)
}

/// Sets an annotation; says whether that changed anything.
pub(crate) fn annotate(meta: &mut ObjectMeta, key: &str, value: &str) -> bool {
    let annotations = meta.annotations.get_or_insert_default();
    if annotations.get(key).is_some_and(|v| v == value) {
        return false;
    }
    annotations.insert(key.to_string(), value.to_string());
    true
}

/// Copies the deployment's annotations to its newest set and gives the set `revision` where its
/// own is older; the older number moves to the set's history.
pub(crate) fn mark(deployment: &Deployment, set: &mut ReplicaSet, revision: i64) -> bool {
    let mut changed = false;
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            changed |= annotate(&mut set.metadata, key, value);
        }
    }
    let old = set
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(REVISION))
        .cloned();
    let old_number = match old.as_deref() {
        Some(text) => match text.parse::<i64>() {
            Ok(number) => number,
            Err(_) => return changed,
        },
        None => 0,
    };
    if old_number >= revision {
        return changed;
    }
    annotate(&mut set.metadata, REVISION, &revision.to_string());
    if let Some(old) = old {
        let before = set
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(HISTORY))
            .cloned()
            .unwrap_or_default();
        annotate(&mut set.metadata, HISTORY, &remember(&before, &old));
    }
    true
}

fn remember(history: &str, old: &str) -> String {
    let mut kept: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
    kept.push(old);
    while kept.len() > 1 && kept.iter().map(|r| r.len() + 1).sum::<usize>() > HISTORY_BYTES {
        kept.remove(0);
    }
    kept.join(",")
}

/// Writes the size that the set was scaled for; says whether that changed anything.
pub(crate) fn mark_size(set: &mut ReplicaSet, desired: i32, max: i32) -> bool {
    let a = annotate(&mut set.metadata, DESIRED_REPLICAS, &desired.to_string());
    let b = annotate(&mut set.metadata, MAX_REPLICAS, &max.to_string());
    a || b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_comes_back_gets_a_new_number_and_keeps_the_old_ones() {
        let deployment: Deployment = serde_json::from_value(serde_json::json!({
            "metadata": {"annotations": {"kubernetes.io/change-cause": "why", REVISION: "7", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        }))
        .expect("deployment");
        let mut set = ReplicaSet::default();
        assert!(mark(&deployment, &mut set, 1));
        assert!(!mark(&deployment, &mut set, 1));
        assert!(mark(&deployment, &mut set, 3));
        assert!(mark(&deployment, &mut set, 5));
        let annotations = set.metadata.annotations.expect("annotations");
        assert_eq!(annotations[REVISION], "5");
        assert_eq!(annotations[HISTORY], "1,3");
        assert_eq!(annotations["kubernetes.io/change-cause"], "why");
        assert_eq!(annotations.len(), 3);
    }
}
