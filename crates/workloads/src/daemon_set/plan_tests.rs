//! Daemon sets on their nodes and through their rolls.

use super::*;
use crate::daemon_set::placement::tie;
use serde_json::{Value, json};

const NOW: &str = "2026-01-01T01:00:00Z";

fn set(strategy: Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {"name": "d", "namespace": "n", "uid": "u", "generation": 3},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "updateStrategy": strategy,
                 "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": []}}},
    }))
    .expect("daemon set")
}

fn rolling(more: Value) -> DaemonSet {
    set(json!({"type": "RollingUpdate", "rollingUpdate": more}))
}

fn node(name: &str) -> Arc<Node> {
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name}})).expect("node"))
}

fn pod(node: &str, hash: &str, ready: bool) -> Arc<Pod> {
    let conditions = if ready {
        json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    } else {
        json!([])
    };
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": format!("{node}-{hash}"), "labels": {"controller-revision-hash": hash},
                     "creationTimestamp": if hash == "new" { "2026-01-01T00:30:00Z" } else { "2026-01-01T00:00:00Z" }},
        "spec": {"containers": []}, "status": {"phase": "Running", "conditions": conditions},
    }))
    .expect("pod");
    tie(pod.spec.get_or_insert_default(), node);
    Arc::new(pod)
}

fn look(set: &DaemonSet, nodes: &[&str], pods: &[Arc<Pod>]) -> Plan {
    let update = serde_json::from_value(json!({
        "metadata": {"name": "d-new", "labels": {"controller-revision-hash": "new"}}, "revision": 2,
    }))
    .expect("revision");
    let nodes: Vec<Arc<Node>> = nodes.iter().map(|n| node(n)).collect();
    plan(&Observed {
        set,
        update: &update,
        nodes: &nodes,
        pods,
        now: NOW.parse().expect("time"),
    })
}

fn created(plan: &Plan) -> Vec<&str> {
    plan.create.iter().map(String::as_str).collect()
}

fn deleted(plan: &Plan) -> Vec<&str> {
    plan.delete.keys().map(String::as_str).collect()
}

#[test]
fn each_node_gets_one_and_the_status_counts() {
    let plan = look(
        &rolling(json!({})),
        &["a", "b", "c"],
        &[pod("a", "new", true), pod("b", "new", false)],
    );
    assert_eq!(created(&plan), ["c"]);
    assert!(plan.delete.is_empty());
    let status = plan.status;
    assert_eq!(
        (
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready
        ),
        (3, 2, 1)
    );
    assert_eq!(
        (
            status.number_available,
            status.number_unavailable,
            status.updated_number_scheduled
        ),
        (Some(1), Some(2), Some(2))
    );
    assert_eq!(status.observed_generation, Some(3));
}

#[test]
fn ended_pods_and_pods_of_lost_nodes_go() {
    let mut failed = pod("a", "new", false).as_ref().clone();
    failed.status.get_or_insert_default().phase = Some("Failed".into());
    let plan = look(
        &rolling(json!({})),
        &["a"],
        &[Arc::new(failed), pod("gone", "new", false)],
    );
    assert_eq!(deleted(&plan), ["a-new", "gone-new"]);
    assert_eq!(plan.failed.len(), 1);
    assert!(plan.create.is_empty());
}

#[test]
fn a_roll_replaces_no_more_than_may_be_missing() {
    let old = [
        pod("a", "old", true),
        pod("b", "old", true),
        pod("c", "old", true),
    ];
    let nodes = ["a", "b", "c"];
    assert_eq!(
        deleted(&look(&rolling(json!({"maxUnavailable": 1})), &nodes, &old)),
        ["a-old"]
    );
    assert_eq!(
        deleted(&look(
            &rolling(json!({"maxUnavailable": "60%"})),
            &nodes,
            &old
        )),
        ["a-old", "b-old"]
    );
    let under_way = [
        pod("a", "new", false),
        pod("b", "old", true),
        pod("c", "old", true),
    ];
    assert!(
        look(&rolling(json!({"maxUnavailable": 1})), &nodes, &under_way)
            .delete
            .is_empty()
    );
    // One that is not available anyway is replaced at once.
    let broken = [
        pod("a", "new", false),
        pod("b", "old", false),
        pod("c", "old", true),
    ];
    assert_eq!(
        deleted(&look(
            &rolling(json!({"maxUnavailable": 1})),
            &nodes,
            &broken
        )),
        ["b-old"]
    );
    assert!(
        look(&set(json!({"type": "OnDelete"})), &nodes, &old)
            .delete
            .is_empty()
    );
}

#[test]
fn a_surge_puts_the_new_beside_the_old_first() {
    let surge = rolling(json!({"maxSurge": 1, "maxUnavailable": 0}));
    let nodes = ["a", "b"];
    let begin = look(
        &surge,
        &nodes,
        &[pod("a", "old", true), pod("b", "old", true)],
    );
    assert_eq!((created(&begin), deleted(&begin)), (vec!["a"], vec![]));
    let waiting = [
        pod("a", "old", true),
        pod("a", "new", false),
        pod("b", "old", true),
    ];
    let plan = look(&surge, &nodes, &waiting);
    assert!(plan.create.is_empty() && plan.delete.is_empty());
    let ready = [
        pod("a", "old", true),
        pod("a", "new", true),
        pod("b", "old", true),
    ];
    assert_eq!(deleted(&look(&surge, &nodes, &ready)), ["a-old"]);
}
