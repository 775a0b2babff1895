//! `sortOptions: {order: legacy}`.

use super::resource::{Gvk, Resource};
use std::cmp::Ordering;
use std::collections::HashMap;

const FIRST: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: &[&str] = &[
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Sorts by kind rank, then group, version, kind, namespace and name.
pub(super) fn legacy(resources: &mut [Resource], order: Option<&(Vec<String>, Vec<String>)>) {
    let strings = |names: &[&str]| names.iter().map(|s| (*s).to_string()).collect::<Vec<_>>();
    let (first, last) = order
        .cloned()
        .unwrap_or_else(|| (strings(FIRST), strings(LAST)));
    let mut ranks: HashMap<&str, i64> = HashMap::new();
    for (at, kind) in first.iter().enumerate() {
        ranks.insert(kind, at as i64 - first.len() as i64);
    }
    for (at, kind) in last.iter().enumerate() {
        ranks.insert(kind, at as i64 + 1);
    }
    resources.sort_by(|l, r| {
        let (lg, rg) = (l.gvk(), r.gvk());
        if lg != rg {
            let rank = |kind: &str| ranks.get(kind).copied().unwrap_or(0);
            return rank(lg.kind)
                .cmp(&rank(rg.kind))
                .then_with(|| kinds(lg, rg));
        }
        name_key(l).cmp(&name_key(r))
    });
}

fn kinds(l: Gvk<'_>, r: Gvk<'_>) -> Ordering {
    let text = |g: Gvk<'_>| {
        let part = |text: &str, none: &str| {
            if text.is_empty() {
                none.to_string()
            } else {
                text.to_string()
            }
        };
        format!(
            "{}_{}_{}",
            part(g.group, "~G"),
            part(g.version, "~V"),
            part(g.kind, "~K")
        )
    };
    text(l).cmp(&text(r))
}

fn name_key(resource: &Resource) -> String {
    let part = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_string()
        } else {
            text.to_string()
        }
    };
    format!(
        "{}|{}",
        part(resource.namespace(), "~X"),
        part(resource.name(), "~N")
    )
}
