//! Why a pod cannot run on a node. Each check answers in upstream's words.

use super::affinity::{self, Cluster};
use super::labels::{matches_term, untolerated};
use super::snapshot::{Amounts, NodeView, collide, host_ports, requests};
use super::volumes::Volumes;
use crate::selector;
use k8s_openapi::api::core::v1::{Pod, Taint};

/// Reasons on one node; none means that the pod fits.
pub(crate) type Reasons = Vec<String>;

/// Checks a pod against a node.
pub(crate) fn reasons(
    pod: &Pod,
    node: &NodeView,
    cluster: &Cluster<'_>,
    volumes: &Volumes,
) -> Reasons {
    let first = unschedulable(pod, node)
        .or_else(|| affinity_to_node(pod, node))
        .or_else(|| taints(pod, node))
        .or_else(|| ports(pod, node));
    if let Some(reason) = first {
        return vec![reason];
    }
    let lacking = resources(&requests(pod), node);
    if !lacking.is_empty() {
        return lacking;
    }
    volumes
        .reason(&node.node)
        .or_else(|| affinity::spread_reason(pod, node, cluster))
        .or_else(|| affinity::reason(pod, node, cluster))
        .into_iter()
        .collect()
}

fn unschedulable(pod: &Pod, node: &NodeView) -> Option<String> {
    let cordoned = node
        .node
        .spec
        .as_ref()
        .and_then(|s| s.unschedulable)
        .unwrap_or(false);
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|s| s.tolerations.as_deref())
        .unwrap_or_default();
    let refused = cordoned
        && untolerated(std::slice::from_ref(&taint), tolerations, &["NoSchedule"]).is_some();
    refused.then(|| "node(s) were unschedulable".into())
}

fn affinity_to_node(pod: &Pod, node: &NodeView) -> Option<String> {
    matches_node(pod, node).then_some(()).map_or_else(
        || Some("node(s) didn't match Pod's node affinity/selector".to_string()),
        |()| None,
    )
}

/// Whether node selector and required node affinity hold.
pub(crate) fn matches_node(pod: &Pod, node: &NodeView) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let selected = spec
        .node_selector
        .as_ref()
        .is_none_or(|s| selector::equal(s, node.node.metadata.labels.as_ref()));
    let affinity = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    selected
        && required.is_none_or(|r| {
            r.node_selector_terms
                .iter()
                .any(|t| matches_term(t, &node.node))
        })
}

fn taints(pod: &Pod, node: &NodeView) -> Option<String> {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|s| s.tolerations.as_deref())
        .unwrap_or_default();
    let taints = node
        .node
        .spec
        .as_ref()
        .and_then(|s| s.taints.as_deref())
        .unwrap_or_default();
    let taint = untolerated(taints, tolerations, &["NoSchedule", "NoExecute"])?;
    let value = taint.value.as_deref().unwrap_or_default();
    Some(format!(
        "node(s) had untolerated taint {{{}: {value}}}",
        taint.key
    ))
}

fn ports(pod: &Pod, node: &NodeView) -> Option<String> {
    let taken = host_ports(pod)
        .iter()
        .any(|wanted| node.ports.iter().any(|used| collide(wanted, used)));
    taken.then(|| "node(s) didn't have free ports for the requested pod ports".into())
}

fn resources(wanted: &Amounts, node: &NodeView) -> Reasons {
    let mut lacking = Reasons::new();
    if node
        .allocatable("pods")
        .is_some_and(|most| node.pods.len() as i64 + 1 > most)
    {
        lacking.push("Too many pods".into());
    }
    for (resource, amount) in wanted.iter().filter(|(_, amount)| **amount > 0) {
        let free =
            node.allocatable(resource).unwrap_or(0) - node.used.get(resource).copied().unwrap_or(0);
        if *amount > free {
            lacking.push(format!("Insufficient {resource}"));
        }
    }
    lacking
}
