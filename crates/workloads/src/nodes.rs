//! Nodes as seen from the control plane: taints that follow their conditions, and pods whose
//! node or life is over.
//!
//! Pods are not evicted from a node that is not ready: with one node there is nowhere to go.

use crate::context::{self, Context};
use crate::objects::{self, failed, name};
use crate::{Error, pods};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

/// A node must be gone this long before its pods are: it may only be registering anew.
const QUARANTINE: Duration = Duration::from_secs(40);
const PREFIX: &str = "node.kubernetes.io/";

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let (nodes, strays): (Queue<Key>, Queue<Key>) = (Queue::default(), Queue::default());
    let (q, s, all) = (nodes.clone(), strays.clone(), context.caches.pods.clone());
    context.caches.nodes.on_change(move |change| {
        q.add(change.key.clone());
        if change.new.is_none() {
            let there = all.filter(|p| pods::node(p) == Some(change.key.name.as_str()));
            there
                .iter()
                .for_each(|p| s.add_after(Key::of(p.as_ref()), QUARANTINE));
        }
    });
    let (s, known) = (strays.clone(), context.caches.nodes.clone());
    context.caches.pods.on_change(move |change| {
        let Some(pod) = change.new else { return };
        match pods::node(pod) {
            Some(node) if known.get(&Key::new("", node)).is_none() => {
                s.add_after(change.key.clone(), QUARANTINE)
            }
            None if pods::is_deleting(pod) => s.add(change.key.clone()),
            _ => {}
        }
    });
    tokio::join!(
        context::run(
            "node",
            nodes,
            1,
            context.clone(),
            cancel.clone(),
            |c, key| async move { taint(&c, &key).await }
        ),
        context::run("pod gc", strays, 1, context, cancel, |c, key| async move {
            collect(&c, &key).await
        }),
    );
}

async fn taint(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(node) = context.caches.nodes.get(key) else {
        return Ok(Next::Wait);
    };
    let have = node
        .spec
        .as_ref()
        .and_then(|s| s.taints.clone())
        .unwrap_or_default();
    let want = wanted_taints(&node, Time(context.now()));
    if have == want {
        return Ok(Next::Wait);
    }
    let patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": want}});
    let api: Api<Node> = Api::all(context.client.clone());
    api.patch(
        name(&node.metadata),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await
    .map_err(failed::<Node>("patch", &node.metadata))?;
    Ok(Next::Wait)
}

// Taints of other keys stay as they are.
fn wanted_taints(node: &Node, now: Time) -> Vec<Taint> {
    let have = node
        .spec
        .as_ref()
        .and_then(|s| s.taints.clone())
        .unwrap_or_default();
    let is = |type_: &str, status: &str| {
        let conditions = node
            .status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten());
        conditions
            .filter(|c| c.type_ == type_)
            .any(|c| c.status == status)
    };
    let cordoned = node
        .spec
        .as_ref()
        .and_then(|s| s.unschedulable)
        .unwrap_or(false);
    let rules = [
        ("not-ready", is("Ready", "False")),
        ("unreachable", is("Ready", "Unknown")),
        ("memory-pressure", is("MemoryPressure", "True")),
        ("disk-pressure", is("DiskPressure", "True")),
        ("pid-pressure", is("PIDPressure", "True")),
        ("network-unavailable", is("NetworkUnavailable", "True")),
        ("unschedulable", cordoned),
    ];
    let ruled = |t: &Taint| {
        let short = t.key.strip_prefix(PREFIX);
        t.effect == "NoSchedule" && short.is_some_and(|s| rules.iter().any(|(name, _)| *name == s))
    };
    let holds = |t: &Taint| {
        rules
            .iter()
            .any(|(name, on)| *on && t.key.strip_prefix(PREFIX) == Some(name))
    };
    let mut want: Vec<Taint> = have
        .iter()
        .filter(|t| !ruled(t) || holds(t))
        .cloned()
        .collect();
    for (short, _) in rules.iter().filter(|(_, on)| *on) {
        let key = format!("{PREFIX}{short}");
        if !want
            .iter()
            .any(|t| t.key == key && t.effect == "NoSchedule")
        {
            want.push(Taint {
                key,
                effect: "NoSchedule".into(),
                time_added: Some(now.clone()),
                value: None,
            });
        }
    }
    want
}

// Removes pods that no node agent will ever remove.
async fn collect(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(pod) = context.caches.pods.get(key) else {
        return Ok(Next::Wait);
    };
    let over = match pods::node(&pod) {
        None => pods::is_deleting(&pod),
        Some(node) => {
            let api: Api<Node> = Api::all(context.client.clone());
            let found = api
                .get_metadata_opt(node)
                .await
                .map_err(failed::<Node>("get", &pod.metadata))?;
            found.is_none()
        }
    };
    if !over {
        return Ok(Next::Wait);
    }
    if pods::node(&pod).is_some() && !pods::is_terminal(&pod) {
        let mut last = pod.as_ref().clone();
        let status = last.status.get_or_insert_default();
        status.phase = Some("Failed".into());
        status.reason = Some("NodeLost".into());
        status.message = Some("PodGC: node no longer exists".into());
        objects::replace_status(&context.client, &last).await?;
    }
    objects::delete::<Pod>(
        &context.client,
        &pod.metadata,
        objects::exactly(&pod.metadata).grace_period(0),
    )
    .await?;
    Ok(Next::Wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_follow_conditions_and_leave_others_alone() {
        let node: Node = serde_json::from_value(json!({
            "spec": {"unschedulable": true, "taints": [
                {"key": "mine", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
            ]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "True"},
            ]},
        }))
        .expect("node");
        let now = Time("2026-01-01T00:00:00Z".parse().expect("time"));
        let keys: Vec<_> = wanted_taints(&node, now)
            .into_iter()
            .map(|t| format!("{}:{}", t.key, t.effect))
            .collect();
        assert_eq!(
            keys,
            [
                "mine:NoSchedule",
                "node.kubernetes.io/not-ready:NoExecute",
                "node.kubernetes.io/disk-pressure:NoSchedule",
                "node.kubernetes.io/unschedulable:NoSchedule",
            ]
        );
    }
}
