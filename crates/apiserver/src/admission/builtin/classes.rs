//! DefaultStorageClass and DefaultIngressClass: the class that is marked as the default one, for
//! claims and ingresses that name none.

use crate::admission::Change;
use crate::record;
use serde_json::Value;
use towpath_store::Snapshot;

pub(super) fn mutate(change: &Change<'_>, new: &mut Value) {
    if change.creates("", "persistentvolumeclaims") {
        storage_class(change, new);
    } else if change.creates("networking.k8s.io", "ingresses") {
        ingress_class(change, new);
    }
}

/// Name of the object of a table that is marked as the default one.
fn marked_default(state: &Snapshot, table: &str, annotation: &str) -> Option<String> {
    let marked = state.range(table, "", None).filter_map(|rec| {
        let object = record::decode(rec);
        (object["metadata"]["annotations"][annotation] == "true")
            .then_some((rec.created, rec.name().to_string()))
    });
    // Of several, the youngest, as upstream.
    marked
        .max_by_key(|(created, _)| *created)
        .map(|(_, name)| name)
}

fn storage_class(change: &Change<'_>, new: &mut Value) {
    let old = &new["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    if old.is_null()
        && new["spec"]["storageClassName"].is_null()
        && let Some(class) = marked_default(
            change.state,
            "storage.k8s.io/storageclasses",
            "storageclass.kubernetes.io/is-default-class",
        )
    {
        new["spec"]["storageClassName"] = class.into();
    }
}

fn ingress_class(change: &Change<'_>, new: &mut Value) {
    let asked = !new["spec"]["ingressClassName"].is_null()
        || !new["metadata"]["annotations"]["kubernetes.io/ingress.class"].is_null();
    if !asked
        && let Some(class) = marked_default(
            change.state,
            "networking.k8s.io/ingressclasses",
            "ingressclass.kubernetes.io/is-default-class",
        )
    {
        new["spec"]["ingressClassName"] = class.into();
    }
}
