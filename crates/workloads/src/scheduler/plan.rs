//! Where one pod goes: a pure function of the pod, the nodes and its volumes.

use super::affinity::Cluster;
use super::filter;
use super::score::score;
use super::volumes::Volumes;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;

/// The verdict.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The best node.
    Node(String),
    /// Nowhere for now, in upstream's words.
    Nowhere(String),
    /// The pod says itself that it is not to be scheduled yet.
    Gated,
}

/// Decides.
pub(crate) fn plan(pod: &Pod, cluster: &Cluster<'_>, volumes: &Volumes) -> Verdict {
    if pod
        .spec
        .as_ref()
        .and_then(|s| s.scheduling_gates.as_ref())
        .is_some_and(|g| !g.is_empty())
    {
        return Verdict::Gated;
    }
    let total = cluster.nodes.len();
    if total == 0 {
        return Verdict::Nowhere("no nodes available to schedule pods".into());
    }
    if let Some(reason) = &volumes.blocked {
        return Verdict::Nowhere(format!("0/{total} nodes are available: {reason}."));
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(i64, &str)> = None;
    for node in cluster.nodes {
        let reasons = filter::reasons(pod, node, cluster, volumes);
        if reasons.is_empty() {
            let score = score(pod, node);
            if best.is_none_or(|(most, name)| score > most || (score == most && node.name() < name))
            {
                best = Some((score, node.name()));
            }
        }
        for reason in reasons {
            *counts.entry(reason).or_default() += 1;
        }
    }
    match best {
        Some((_, name)) => Verdict::Node(name.to_string()),
        None => {
            let mut parts: Vec<String> = counts
                .into_iter()
                .map(|(reason, n)| format!("{n} {reason}"))
                .collect();
            parts.sort();
            Verdict::Nowhere(format!(
                "0/{total} nodes are available: {}.",
                parts.join(", ")
            ))
        }
    }
}
