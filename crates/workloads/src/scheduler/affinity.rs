//! Pods that want to be near or far from others: required affinity and anti-affinity, and
//! spread over topology domains.

use super::filter::matches_node;
use super::snapshot::NodeView;
use crate::selector::{self, Labels};
use k8s_openapi::api::core::v1::{Namespace, Pod, PodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All nodes, and the namespaces that selectors may mean.
pub(crate) struct Cluster<'a> {
    pub(crate) nodes: &'a [NodeView],
    pub(crate) namespaces: &'a [Arc<Namespace>],
}

fn domain<'a>(node: &'a NodeView, key: &str) -> Option<&'a str> {
    node.node
        .metadata
        .labels
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

// The selector together with the owner's own values of some label keys.
fn with_keys(
    selector: Option<&LabelSelector>,
    own: Option<&Labels>,
    same: &[String],
    other: &[String],
) -> Option<LabelSelector> {
    let mut selector = selector?.clone();
    let own = selector::or_none(own);
    let expressions = selector.match_expressions.get_or_insert_default();
    for (keys, operator) in [(same, "In"), (other, "NotIn")] {
        for (key, value) in keys.iter().filter_map(|k| own.get(k).map(|v| (k, v))) {
            expressions.push(LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.into(),
                values: Some(vec![value.clone()]),
            });
        }
    }
    Some(selector)
}

// Whether a term of `owner` speaks about `other`.
fn concerns(term: &PodAffinityTerm, owner: &Pod, other: &Pod, cluster: &Cluster<'_>) -> bool {
    let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    let in_namespace = match &term.namespace_selector {
        None if named.is_empty() => {
            owner.metadata.namespace.as_deref().unwrap_or_default() == namespace
        }
        None => named.iter().any(|n| n == namespace),
        Some(selector) => {
            named.iter().any(|n| n == namespace)
                || selector::is_empty(selector)
                || cluster.namespaces.iter().any(|n| {
                    n.metadata.name.as_deref() == Some(namespace)
                        && selector::matches(selector, n.metadata.labels.as_ref())
                })
        }
    };
    let same = term.match_label_keys.as_deref().unwrap_or_default();
    let mismatch = term.mismatch_label_keys.as_deref().unwrap_or_default();
    let selector = with_keys(
        term.label_selector.as_ref(),
        owner.metadata.labels.as_ref(),
        same,
        mismatch,
    );
    in_namespace && selector.is_some_and(|s| selector::matches(&s, other.metadata.labels.as_ref()))
}

fn required_near(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|s| s.affinity.as_ref())
        .and_then(|a| a.pod_affinity.as_ref());
    affinity
        .and_then(|a| {
            a.required_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default()
}

fn required_far(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|s| s.affinity.as_ref())
        .and_then(|a| a.pod_anti_affinity.as_ref());
    affinity
        .and_then(|a| {
            a.required_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default()
}

/// Why affinity to pods keeps the pod from the node.
pub(crate) fn reason(pod: &Pod, node: &NodeView, cluster: &Cluster<'_>) -> Option<String> {
    let in_domain = |term: &PodAffinityTerm| {
        let here = domain(node, &term.topology_key);
        let nodes = cluster
            .nodes
            .iter()
            .filter(|n| here.is_some() && domain(n, &term.topology_key) == here);
        nodes
            .flat_map(|n| n.pods.iter())
            .any(|other| concerns(term, pod, other, cluster))
    };
    for term in required_near(pod) {
        let there = in_domain(term);
        // The first of a group that wants to be together may start it.
        let nobody = || {
            !cluster
                .nodes
                .iter()
                .flat_map(|n| n.pods.iter())
                .any(|other| concerns(term, pod, other, cluster))
        };
        let starts_group = domain(node, &term.topology_key).is_some()
            && concerns(term, pod, pod, cluster)
            && nobody();
        if !there && !starts_group {
            return Some("node(s) didn't match pod affinity rules".into());
        }
    }
    for term in required_far(pod) {
        if in_domain(term) {
            return Some("node(s) didn't match pod anti-affinity rules".into());
        }
    }
    let unwelcome = cluster
        .nodes
        .iter()
        .flat_map(|n| n.pods.iter().map(move |p| (n, p)))
        .any(|(there, other)| {
            required_far(other).iter().any(|term| {
                let shared = domain(there, &term.topology_key);
                shared.is_some()
                    && shared == domain(node, &term.topology_key)
                    && concerns(term, other, pod, cluster)
            })
        });
    unwelcome.then(|| "node(s) didn't satisfy existing pods anti-affinity rules".into())
}

/// Why a spread constraint that must hold keeps the pod from the node.
pub(crate) fn spread_reason(pod: &Pod, node: &NodeView, cluster: &Cluster<'_>) -> Option<String> {
    let constraints = pod.spec.as_ref()?.topology_spread_constraints.as_deref()?;
    for constraint in constraints
        .iter()
        .filter(|c| c.when_unsatisfiable == "DoNotSchedule")
    {
        let Some(here) = domain(node, &constraint.topology_key) else {
            return Some(
                "node(s) didn't match pod topology spread constraints (missing required label)"
                    .into(),
            );
        };
        let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
        let selector = with_keys(
            constraint.label_selector.as_ref(),
            pod.metadata.labels.as_ref(),
            keys,
            &[],
        );
        let counts = |other: &Pod| {
            other.metadata.namespace == pod.metadata.namespace
                && other.metadata.deletion_timestamp.is_none()
                && selector
                    .as_ref()
                    .is_some_and(|s| selector::matches(s, other.metadata.labels.as_ref()))
        };
        let mut domains: BTreeMap<&str, i64> = BTreeMap::new();
        for view in cluster.nodes.iter().filter(|n| matches_node(pod, n)) {
            if let Some(name) = domain(view, &constraint.topology_key) {
                *domains.entry(name).or_default() +=
                    view.pods.iter().filter(|p| counts(p)).count() as i64;
            }
        }
        let enough_domains =
            domains.len() >= usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1);
        let least = if enough_domains {
            domains.values().copied().min().unwrap_or(0)
        } else {
            0
        };
        let own = i64::from(
            selector
                .as_ref()
                .is_some_and(|s| selector::matches(s, pod.metadata.labels.as_ref())),
        );
        if domains.get(here).copied().unwrap_or(0) + own - least > i64::from(constraint.max_skew) {
            return Some("node(s) didn't match pod topology spread constraints".into());
        }
    }
    None
}
