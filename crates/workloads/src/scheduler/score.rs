//! Which of the fitting nodes is best: least allocated, then what the pod would prefer.

use super::labels::{matches_term, untolerated};
use super::snapshot::{Amounts, NodeView, requests};
use k8s_openapi::api::core::v1::Pod;

/// Higher is better. Each part is 0 to 100.
pub(crate) fn score(pod: &Pod, node: &NodeView) -> i64 {
    least_allocated(&requests(pod), node) + preferred(pod, node) + tolerable(pod, node)
}

// Share of cpu and memory that stays free. Pods without requests count as upstream counts them,
// so that they spread too.
fn least_allocated(wanted: &Amounts, node: &NodeView) -> i64 {
    let defaults = [("cpu", 100), ("memory", 200 << 20)];
    let free = defaults.iter().map(|(resource, default)| {
        let total = node.allocatable(resource).unwrap_or(0);
        let wanted = wanted
            .get(*resource)
            .copied()
            .filter(|w| *w > 0)
            .unwrap_or(*default);
        let used = node
            .used
            .get(*resource)
            .copied()
            .unwrap_or(0)
            .saturating_add(wanted);
        if total <= 0 || used > total {
            0
        } else {
            (total - used).saturating_mul(100) / total
        }
    });
    free.sum::<i64>() / 2
}

fn preferred(pod: &Pod, node: &NodeView) -> i64 {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|s| s.affinity.as_ref())
        .and_then(|a| a.node_affinity.as_ref());
    let terms = affinity
        .and_then(|a| {
            a.preferred_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default();
    let all: i64 = terms.iter().map(|t| i64::from(t.weight)).sum();
    let met: i64 = terms
        .iter()
        .filter(|t| matches_term(&t.preference, &node.node))
        .map(|t| i64::from(t.weight))
        .sum();
    if all == 0 { 0 } else { met * 100 / all }
}

fn tolerable(pod: &Pod, node: &NodeView) -> i64 {
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
    if untolerated(taints, tolerations, &["PreferNoSchedule"]).is_some() {
        0
    } else {
        100
    }
}
