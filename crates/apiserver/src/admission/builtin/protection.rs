//! StorageObjectInUseProtection: volumes and claims stay until nobody uses them; the controller
//! takes the finalizer away then.

use crate::admission::Change;
use serde_json::{Value, json};

pub(super) fn mutate(change: &Change<'_>, new: &mut Value) {
    let finalizer = if change.creates("", "persistentvolumeclaims") {
        "kubernetes.io/pvc-protection"
    } else if change.creates("", "persistentvolumes") {
        "kubernetes.io/pv-protection"
    } else {
        return;
    };
    let mut all = new["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if !all.iter().any(|f| f == finalizer) {
        all.push(json!(finalizer));
        new["metadata"]["finalizers"] = all.into();
    }
}
