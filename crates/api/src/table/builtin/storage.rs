//! Volumes, claims, classes and drivers.

use crate::table::cells::*;
use serde_json::Value;

fn phase_or_terminating(o: &Value) -> Value {
    if at(o, "metadata.deletionTimestamp").is_null() {
        text(o, "status.phase").into()
    } else {
        "Terminating".into()
    }
}

/// The class of a volume or claim, with the annotation that came before the field.
fn class(o: &Value) -> Value {
    let old = text(
        &o["metadata"]["annotations"],
        "volume.beta.kubernetes.io/storage-class",
    );
    if old.is_empty() {
        text(o, "spec.storageClassName").into()
    } else {
        old.into()
    }
}

pub(super) fn volume(o: &Value, now: i64) -> Vec<Value> {
    let claim = match at(o, "spec.claimRef") {
        Value::Null => String::new(),
        claim => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
    };
    vec![
        name(o),
        text_or(o, "spec.capacity.storage", "0"),
        access_modes(o, "spec.accessModes"),
        text(o, "spec.persistentVolumeReclaimPolicy").into(),
        phase_or_terminating(o),
        claim.into(),
        class(o),
        text_or(o, "spec.volumeAttributesClassName", "<unset>"),
        text(o, "status.reason").into(),
        age(o, now),
        text_or(o, "spec.volumeMode", "<unset>"),
    ]
}

pub(super) fn claim(o: &Value, now: i64) -> Vec<Value> {
    let bound = !text(o, "spec.volumeName").is_empty();
    let capacity = if bound {
        text_or(o, "status.capacity.storage", "0")
    } else {
        "".into()
    };
    let modes = if bound {
        access_modes(o, "status.accessModes")
    } else {
        "".into()
    };
    vec![
        name(o),
        phase_or_terminating(o),
        text(o, "spec.volumeName").into(),
        capacity,
        modes,
        class(o),
        text_or(o, "spec.volumeAttributesClassName", "<unset>"),
        age(o, now),
        text_or(o, "spec.volumeMode", "<unset>"),
    ]
}

pub(super) fn storage_class(o: &Value, now: i64) -> Vec<Value> {
    let mut shown = text(o, "metadata.name");
    let default = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ];
    if default
        .iter()
        .any(|annotation| is_default_class(o, annotation))
    {
        shown.push_str(" (default)");
    }
    vec![
        shown.into(),
        text(o, "provisioner").into(),
        text_or(o, "reclaimPolicy", "Delete"),
        text_or(o, "volumeBindingMode", "Immediate"),
        flag(o, "allowVolumeExpansion", false),
        age(o, now),
    ]
}

pub(super) fn csi_driver(o: &Value, now: i64) -> Vec<Value> {
    let modes = joined(o, "spec.volumeLifecycleModes", ",");
    let modes = if modes == "" { "<none>".into() } else { modes };
    let tokens = match at(o, "spec.tokenRequests").as_array() {
        Some(list) => list
            .iter()
            .map(|t| text(t, "audience"))
            .collect::<Vec<_>>()
            .join(","),
        None => "<unset>".into(),
    };
    vec![
        name(o),
        flag(o, "spec.attachRequired", true),
        flag(o, "spec.podInfoOnMount", false),
        flag(o, "spec.storageCapacity", false),
        tokens.into(),
        flag(o, "spec.requiresRepublish", false),
        modes,
        age(o, now),
    ]
}
