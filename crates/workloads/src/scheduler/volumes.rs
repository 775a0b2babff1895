//! The claims of a pod: which nodes their volumes allow, and which still wait for a node.

use super::labels::matches_term;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use std::sync::Arc;
use towpath_kit::cache::{Cache, Key};

/// Annotation by which the scheduler tells the binder where the first consumer will run.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// What the claims of one pod mean for its placement.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    /// Volumes that are bound already.
    pub(crate) bound: Vec<Arc<PersistentVolume>>,
    /// Claims that wait for their first consumer's node.
    pub(crate) waiting: Vec<Arc<PersistentVolumeClaim>>,
    /// Why the pod can run nowhere yet.
    pub(crate) blocked: Option<String>,
}

/// Names of the claims that a pod mounts; those of ephemeral volumes are named after the pod.
pub(crate) fn claim_names(pod: &Pod) -> Vec<String> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod
        .spec
        .as_ref()
        .and_then(|s| s.volumes.as_deref())
        .unwrap_or_default();
    volumes
        .iter()
        .filter_map(|v| {
            let claim = v
                .persistent_volume_claim
                .as_ref()
                .map(|c| c.claim_name.clone());
            claim.or_else(|| {
                v.ephemeral
                    .as_ref()
                    .map(|_| format!("{pod_name}-{}", v.name))
            })
        })
        .collect()
}

/// Node that a claim was given to.
pub(crate) fn selected_node(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim
        .metadata
        .annotations
        .as_ref()?
        .get(SELECTED_NODE)
        .map(String::as_str)
}

/// Whether a claim has its volume and both sides know.
pub(crate) fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let named = claim
        .spec
        .as_ref()
        .and_then(|s| s.volume_name.as_deref())
        .is_some_and(|v| !v.is_empty());
    named && claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound")
}

impl Volumes {
    /// Looks the claims of a pod up.
    pub(crate) fn of(
        pod: &Pod,
        claims: &Cache<PersistentVolumeClaim>,
        volumes: &Cache<PersistentVolume>,
        classes: &Cache<StorageClass>,
    ) -> Self {
        let mut found = Self::default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for name in claim_names(pod) {
            let Some(claim) = claims.get(&Key::new(namespace, &name)) else {
                found.blocked = Some(format!("persistentvolumeclaim \"{name}\" not found"));
                return found;
            };
            if claim.metadata.deletion_timestamp.is_some() {
                found.blocked = Some(format!("persistentvolumeclaim \"{name}\" is being deleted"));
                return found;
            }
            if is_bound(&claim) {
                let volume = claim
                    .spec
                    .as_ref()
                    .and_then(|s| s.volume_name.clone())
                    .unwrap_or_default();
                match volumes.get(&Key::new("", &volume)) {
                    Some(volume) => found.bound.push(volume),
                    None => {
                        found.blocked = Some(format!("persistentvolume \"{volume}\" not found"))
                    }
                }
                continue;
            }
            let class = claim
                .spec
                .as_ref()
                .and_then(|s| s.storage_class_name.clone())
                .unwrap_or_default();
            let waits = classes
                .get(&Key::new("", &class))
                .is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
            if waits {
                found.waiting.push(claim);
            } else {
                found.blocked = Some("pod has unbound immediate PersistentVolumeClaims".into());
            }
        }
        found
    }

    /// Why the volumes keep the pod from a node.
    pub(crate) fn reason(&self, node: &Node) -> Option<String> {
        let allows = |volume: &PersistentVolume| {
            let affinity = volume.spec.as_ref().and_then(|s| s.node_affinity.as_ref());
            let required = affinity.and_then(|a| a.required.as_ref());
            required.is_none_or(|r| r.node_selector_terms.iter().any(|t| matches_term(t, node)))
        };
        if !self.bound.iter().all(|v| allows(v)) {
            return Some("node(s) didn't match PersistentVolume's node affinity".into());
        }
        let elsewhere = |claim: &PersistentVolumeClaim| {
            selected_node(claim).is_some_and(|n| Some(n) != node.metadata.name.as_deref())
        };
        self.waiting
            .iter()
            .any(|c| elsewhere(c))
            .then(|| "node(s) didn't find available persistent volumes to bind".into())
    }
}
