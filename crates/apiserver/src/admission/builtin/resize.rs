//! PersistentVolumeClaimResize: only bound claims grow, and only where their class lets them.

use crate::admission::Change;
use crate::record;
use serde_json::Value;
use towpath_api::resources;
use towpath_api::status::Failure;

pub(super) fn validate(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let Some(old) = change
        .old
        .filter(|_| change.updates("", "persistentvolumeclaims"))
    else {
        return Ok(());
    };
    let size =
        |claim: &Value| resources::amount(&claim["spec"]["resources"]["requests"]["storage"]);
    match (size(new), size(old)) {
        (Some(new), Some(old)) if new > old => {}
        (Some(_), None) => {}
        _ => return Ok(()),
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    if old["status"]["phase"] != "Bound" {
        let why = "Only bound persistent volume claims can be expanded";
        return Err(change.forbidden(name, why));
    }
    let class = class_of(new);
    let found = change.state.get(
        "storage.k8s.io/storageclasses",
        &towpath_store::key("", class),
    );
    let grows = found.is_some_and(|rec| record::decode(rec)["allowVolumeExpansion"] == true);
    if class.is_empty() || class != class_of(old) || !grows {
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        return Err(change.forbidden(name, why));
    }
    Ok(())
}

fn class_of(claim: &Value) -> &str {
    let old = claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    old.or(claim["spec"]["storageClassName"].as_str())
        .unwrap_or_default()
}
