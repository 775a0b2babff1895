//! What a claim or a volume needs next.

use crate::quantity;
use crate::scheduler::selected_node;
use crate::selector;
use k8s_openapi::api::core::v1::{
    LocalVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Provisioner of the built-in class.
pub(crate) const PROVISIONER: &str = "towpath.dev/local";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
pub(crate) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
pub(crate) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const PV_PROTECTION: &str = "kubernetes.io/pv-protection";

/// Next step of a claim.
#[derive(Debug, PartialEq)]
pub(crate) enum ClaimStep {
    /// Nothing to do.
    Settled,
    /// Give it the default class.
    SetClass(String),
    /// Bind both sides to this volume.
    Bind(String),
    /// Make a volume on this node.
    Provision(String),
    /// Nothing can be done now: `(is warning, reason, note)`.
    Wait(bool, &'static str, String),
    /// Its volume is gone or somebody else's.
    Lost(String),
}

fn claim_spec<T>(
    claim: &PersistentVolumeClaim,
    get: impl Fn(&k8s_openapi::api::core::v1::PersistentVolumeClaimSpec) -> Option<T>,
) -> Option<T> {
    claim.spec.as_ref().and_then(get)
}

fn is_claimed_by(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref()) else {
        return false;
    };
    let same =
        reference.namespace == claim.metadata.namespace && reference.name == claim.metadata.name;
    same && reference
        .uid
        .as_ref()
        .is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
}

/// Decides for a claim. `node` is where volumes are made when the class does not wait for a pod.
pub(crate) fn claim_step(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    classes: &[Arc<StorageClass>],
    node: &str,
) -> ClaimStep {
    if claim.metadata.deletion_timestamp.is_some() {
        return ClaimStep::Settled;
    }
    let named = |v: &&Arc<PersistentVolume>, name: &str| v.metadata.name.as_deref() == Some(name);
    if let Some(name) = claim_spec(claim, |s| s.volume_name.clone()).filter(|n| !n.is_empty()) {
        let completed = claim
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|a| a.contains_key(BIND_COMPLETED));
        return match volumes.iter().find(|v| named(v, &name)) {
            None if completed => {
                ClaimStep::Lost(format!("volume \"{name}\" does not exist any more"))
            }
            None => ClaimStep::Wait(
                true,
                "FailedBinding",
                format!("volume \"{name}\" not found."),
            ),
            Some(v) if is_claimed_by(v, claim) => ClaimStep::Bind(name),
            Some(v) if v.spec.as_ref().is_some_and(|s| s.claim_ref.is_none()) => {
                ClaimStep::Bind(name)
            }
            Some(_) if completed => {
                ClaimStep::Lost(format!("volume \"{name}\" is bound to a different claim"))
            }
            Some(_) => ClaimStep::Wait(
                true,
                "FailedBinding",
                format!("volume \"{name}\" already bound to a different claim."),
            ),
        };
    }
    if let Some(volume) = volumes.iter().find(|v| is_claimed_by(v, claim)) {
        return ClaimStep::Bind(volume.metadata.name.clone().unwrap_or_default());
    }
    let class_name = claim_spec(claim, |s| s.storage_class_name.clone());
    let Some(class_name) = class_name else {
        let default = classes
            .iter()
            .filter(|c| is_default(c))
            .max_by_key(|c| c.metadata.creation_timestamp.clone());
        if let Some(default) = default.and_then(|c| c.metadata.name.clone()) {
            return ClaimStep::SetClass(default);
        }
        return by_hand(claim, volumes, "");
    };
    if class_name.is_empty() {
        return by_hand(claim, volumes, "");
    }
    let Some(class) = classes
        .iter()
        .find(|c| c.metadata.name.as_deref() == Some(class_name.as_str()))
    else {
        return match best_match(claim, volumes, &class_name) {
            Some(name) => ClaimStep::Bind(name),
            None => ClaimStep::Wait(
                true,
                "ProvisioningFailed",
                format!("storageclass.storage.k8s.io \"{class_name}\" not found"),
            ),
        };
    };
    let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
    let chosen = selected_node(claim);
    if waits && chosen.is_none() {
        let note = "waiting for first consumer to be created before binding".to_string();
        return ClaimStep::Wait(false, "WaitForFirstConsumer", note);
    }
    if let Some(name) = best_match(claim, volumes, &class_name) {
        return ClaimStep::Bind(name);
    }
    if class.provisioner != PROVISIONER {
        let note = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system \
             administrator. If volume creation is delayed, please verify that the provisioner is running and \
             correctly registered.",
            class.provisioner
        );
        return ClaimStep::Wait(false, "ExternalProvisioning", note);
    }
    if claim_spec(claim, |s| s.volume_mode.clone()).as_deref() == Some("Block") {
        let note = "failed to provision volume: class makes directories, volumeMode Block is not supported".to_string();
        return ClaimStep::Wait(true, "ProvisioningFailed", note);
    }
    if claim_spec(claim, |s| {
        s.data_source
            .as_ref()
            .map(drop)
            .or(s.data_source_ref.as_ref().map(drop))
    })
    .is_some()
    {
        let note = "failed to provision volume: data sources are not supported".to_string();
        return ClaimStep::Wait(true, "ProvisioningFailed", note);
    }
    ClaimStep::Provision(chosen.unwrap_or(node).to_string())
}

fn by_hand(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    class: &str,
) -> ClaimStep {
    match best_match(claim, volumes, class) {
        Some(name) => ClaimStep::Bind(name),
        None => {
            let note = "no persistent volumes available for this claim and no storage class is set"
                .to_string();
            ClaimStep::Wait(false, "FailedBinding", note)
        }
    }
}

/// Whether a class is the default one.
pub(crate) fn is_default(class: &StorageClass) -> bool {
    class
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(DEFAULT_CLASS))
        .is_some_and(|v| v == "true")
}

fn requested(claim: &PersistentVolumeClaim) -> i64 {
    let requests = claim_spec(claim, |s| {
        s.resources.as_ref().and_then(|r| r.requests.clone())
    });
    requests
        .and_then(|r| r.get("storage").map(quantity::whole))
        .unwrap_or(0)
}

// The smallest free volume that is large enough and fits otherwise.
fn best_match(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    class: &str,
) -> Option<String> {
    let size = |v: &PersistentVolume| {
        let capacity = v.spec.as_ref().and_then(|s| s.capacity.as_ref());
        capacity
            .and_then(|c| c.get("storage"))
            .map(quantity::whole)
            .unwrap_or(0)
    };
    let mode = claim_spec(claim, |s| s.volume_mode.clone()).unwrap_or_else(|| "Filesystem".into());
    let wanted_modes = claim_spec(claim, |s| s.access_modes.clone()).unwrap_or_default();
    let fits = |v: &&Arc<PersistentVolume>| {
        let Some(spec) = &v.spec else { return false };
        let modes = spec.access_modes.as_deref().unwrap_or_default();
        spec.claim_ref.is_none()
            && v.metadata.deletion_timestamp.is_none()
            && spec.storage_class_name.as_deref().unwrap_or_default() == class
            && spec.volume_mode.as_deref().unwrap_or("Filesystem") == mode
            && wanted_modes.iter().all(|m| modes.contains(m))
            && size(v) >= requested(claim)
            && claim_spec(claim, |s| s.selector.clone())
                .is_none_or(|s| selector::matches(&s, v.metadata.labels.as_ref()))
    };
    let best = volumes
        .iter()
        .filter(fits)
        .min_by_key(|v| (size(v), v.metadata.name.clone()))?;
    best.metadata.name.clone()
}

/// Reference from a volume to its claim.
pub(crate) fn claim_reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        namespace: claim.metadata.namespace.clone(),
        name: claim.metadata.name.clone(),
        uid: claim.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The volume for a claim: a directory of its own below `root`, on one node.
pub(crate) fn provisioned(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    root: &Path,
    node: &str,
) -> PersistentVolume {
    let name = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default());
    let size = claim_spec(claim, |s| {
        s.resources.as_ref().and_then(|r| r.requests.clone())
    })
    .unwrap_or_default();
    let here = NodeSelectorRequirement {
        key: "kubernetes.io/hostname".into(),
        operator: "In".into(),
        values: Some(vec![node.to_string()]),
    };
    let term = NodeSelectorTerm {
        match_expressions: Some(vec![here]),
        match_fields: None,
    };
    let annotations = BTreeMap::from([(PROVISIONED_BY.to_string(), PROVISIONER.to_string())]);
    PersistentVolume {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            finalizers: Some(vec![PV_PROTECTION.into()]),
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: claim_spec(claim, |s| s.access_modes.clone()),
            capacity: Some(size),
            claim_ref: Some(claim_reference(claim)),
            local: Some(LocalVolumeSource {
                fs_type: None,
                path: root.join(&name).display().to_string(),
            }),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector {
                    node_selector_terms: vec![term],
                }),
            }),
            persistent_volume_reclaim_policy: Some(
                class
                    .reclaim_policy
                    .clone()
                    .unwrap_or_else(|| "Delete".into()),
            ),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: Some("Filesystem".into()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// Next step of a volume.
#[derive(Debug, PartialEq)]
pub(crate) enum VolumeStep {
    /// Nothing but this phase.
    Phase(&'static str),
    /// The claim is gone: the data go, then the volume.
    Reclaim,
    /// The claim is gone and nobody here can delete the data.
    Stuck,
}

/// Decides for a volume. `claim_lives` says whether the claim it refers to exists (same UID);
/// `namespace_lives` whether that claim's namespace does and is not ending: losing a whole
/// namespace never takes its data along.
pub(crate) fn volume_step(
    volume: &PersistentVolume,
    claim_lives: bool,
    namespace_lives: bool,
) -> VolumeStep {
    let Some(spec) = &volume.spec else {
        return VolumeStep::Phase("Pending");
    };
    let Some(reference) = &spec.claim_ref else {
        return VolumeStep::Phase("Available");
    };
    if reference.uid.as_ref().is_none_or(String::is_empty) {
        return VolumeStep::Phase("Available");
    }
    if claim_lives {
        return VolumeStep::Phase("Bound");
    }
    if spec.persistent_volume_reclaim_policy.as_deref() != Some("Delete") {
        return VolumeStep::Phase("Released");
    }
    if !is_ours(volume) {
        return VolumeStep::Stuck;
    }
    if namespace_lives {
        VolumeStep::Reclaim
    } else {
        VolumeStep::Phase("Released")
    }
}

/// Whether a volume was made by this controller.
pub(crate) fn is_ours(volume: &PersistentVolume) -> bool {
    volume
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(PROVISIONED_BY))
        .is_some_and(|p| p == PROVISIONER)
}

/// The directory of a volume below `root`, where its name and path say that it is one of ours:
/// nothing else is ever removed.
pub(crate) fn directory(volume: &PersistentVolume, root: &Path) -> Option<std::path::PathBuf> {
    let name = volume.metadata.name.as_deref()?;
    let plain = name.starts_with("pvc-") && !name.contains(['/', '\0']) && !name.contains("..");
    let path = root.join(name);
    let told = volume.spec.as_ref()?.local.as_ref()?;
    (plain && Path::new(&told.path) == path).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

    fn claim(extra: Value) -> PersistentVolumeClaim {
        let mut value = json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        for (section, fields) in extra.as_object().expect("object") {
            for (key, field) in fields.as_object().expect("object") {
                value[section][key] = field.clone();
            }
        }
        serde_json::from_value(value).expect("claim")
    }

    fn class(name: &str, provisioner: &str, mode: &str, default: bool) -> Arc<StorageClass> {
        let value = json!({
            "metadata": {"name": name, "annotations": {DEFAULT_CLASS: default.to_string()}},
            "provisioner": provisioner, "volumeBindingMode": mode,
        });
        Arc::new(serde_json::from_value(value).expect("class"))
    }

    fn volume(name: &str, size: &str, extra: Value) -> Arc<PersistentVolume> {
        let mut value = json!({
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": {"storage": size}},
        });
        for (key, field) in extra.as_object().expect("object") {
            value["spec"][key] = field.clone();
        }
        Arc::new(serde_json::from_value(value).expect("volume"))
    }

    #[test]
    fn claims_find_their_way() {
        let local = class("local", PROVISIONER, "WaitForFirstConsumer", true);
        let now = class("now", PROVISIONER, "Immediate", false);
        let other = class("other", "example.com/x", "Immediate", false);
        let classes = [local, now, other];
        let selected = json!({"annotations": {SELECTED_NODE: "n2"}});
        let step = |c: Value, v: &[Arc<PersistentVolume>]| claim_step(&claim(c), v, &classes, "n1");
        let wait = |step: ClaimStep| match step {
            ClaimStep::Wait(_, reason, _) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(step(json!({}), &[]), ClaimStep::SetClass("local".into()));
        assert_eq!(
            wait(step(json!({"spec": {"storageClassName": "local"}}), &[])),
            "WaitForFirstConsumer"
        );
        let chosen = json!({"spec": {"storageClassName": "local"}, "metadata": selected});
        assert_eq!(step(chosen, &[]), ClaimStep::Provision("n2".into()));
        assert_eq!(
            step(json!({"spec": {"storageClassName": "now"}}), &[]),
            ClaimStep::Provision("n1".into())
        );
        assert_eq!(
            wait(step(json!({"spec": {"storageClassName": "other"}}), &[])),
            "ExternalProvisioning"
        );
        assert_eq!(
            wait(step(json!({"spec": {"storageClassName": "none"}}), &[])),
            "ProvisioningFailed"
        );
        assert_eq!(
            wait(step(
                json!({"spec": {"storageClassName": "now", "volumeMode": "Block"}}),
                &[]
            )),
            "ProvisioningFailed"
        );
        assert_eq!(
            wait(step(json!({"spec": {"storageClassName": ""}}), &[])),
            "FailedBinding"
        );
        let by_hand = [
            volume("small", "500Mi", json!({})),
            volume("large", "9Gi", json!({})),
            volume("right", "2Gi", json!({})),
            volume(
                "taken",
                "1Gi",
                json!({"claimRef": {"name": "x", "namespace": "n"}}),
            ),
        ];
        assert_eq!(
            step(json!({"spec": {"storageClassName": ""}}), &by_hand),
            ClaimStep::Bind("right".into())
        );
        let reserved = [volume(
            "mine",
            "1Mi",
            json!({"claimRef": {"name": "c", "namespace": "n"}}),
        )];
        assert_eq!(
            step(json!({"spec": {"storageClassName": "local"}}), &reserved),
            ClaimStep::Bind("mine".into())
        );
        let gone = json!({"spec": {"volumeName": "v"}, "metadata": {"annotations": {BIND_COMPLETED: "yes"}}});
        assert!(matches!(step(gone, &[]), ClaimStep::Lost(_)));
        assert_eq!(
            step(json!({"spec": {"volumeName": "right"}}), &by_hand),
            ClaimStep::Bind("right".into())
        );
        assert_eq!(
            wait(step(json!({"spec": {"volumeName": "taken"}}), &by_hand)),
            "FailedBinding"
        );
    }

    #[test]
    fn data_go_only_when_asked_and_only_ours() {
        let claim = claim(json!({}));
        let class = class("local", PROVISIONER, "Immediate", true);
        let mut ours = provisioned(&claim, &class, Path::new("/v"), "n1");
        assert_eq!(volume_step(&ours, true, true), VolumeStep::Phase("Bound"));
        assert_eq!(volume_step(&ours, false, true), VolumeStep::Reclaim);
        assert_eq!(
            volume_step(&ours, false, false),
            VolumeStep::Phase("Released")
        );
        assert_eq!(directory(&ours, Path::new("/v")), Some("/v/pvc-u".into()));
        assert_eq!(directory(&ours, Path::new("/w")), None);
        ours.metadata.name = Some("pvc-../../etc".into());
        assert_eq!(directory(&ours, Path::new("/v")), None);
        ours.metadata.annotations = None;
        assert_eq!(volume_step(&ours, false, true), VolumeStep::Stuck);
        assert_eq!(
            volume_step(&volume("x", "1Gi", json!({})), false, true),
            VolumeStep::Phase("Available")
        );
    }
}
