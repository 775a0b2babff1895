//! `sortOptions: {order: legacy}`.

use super::resource::Resource;
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
    let none = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_string()
        } else {
            text.to_string()
        }
    };
    let rank = |kind: &str| ranks.get(kind).copied().unwrap_or(0);
    resources.sort_by_cached_key(|resource| {
        let gvk = resource.gvk();
        let kind = format!(
            "{}_{}_{}",
            none(gvk.group, "~G"),
            none(gvk.version, "~V"),
            none(gvk.kind, "~K")
        );
        let name = format!(
            "{}|{}",
            none(resource.namespace(), "~X"),
            none(resource.name(), "~N")
        );
        (rank(gvk.kind), kind, name)
    });
}
