//! Which parts of an object a write may change: never its identity, and through a subresource
//! only what that is about.

use crate::kinds::Resource;
use crate::route::Target;
use serde_json::{Value, json};
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};

/// Whether an object that is being deleted has nothing left to wait for.
pub(super) fn is_finished(resource: &Resource, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let waits = |list: &Value| list.as_array().is_some_and(|l| !l.is_empty());
    let held = waits(&metadata["finalizers"])
        || resource.is("", "namespaces") && waits(&object["spec"]["finalizers"]);
    let grace = metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
    !metadata["deletionTimestamp"].is_null() && !held && grace == 0
}

/// What no update may change is put back; a wrong UID is a conflict.
pub(super) fn keep_identity(target: &Target, new: &mut Value, old: &Value) -> Result<(), Failure> {
    let resource = &target.resource;
    let uid = new["metadata"]["uid"].as_str().unwrap_or_default();
    let known = old["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != known {
        return Err(status::uid_precondition(
            &resource.group,
            &resource.plural,
            &target.name,
            uid,
            known,
        ));
    }
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    let Some(metadata) = new["metadata"].as_object_mut() else {
        return Ok(());
    };
    for key in [
        "uid",
        "name",
        "namespace",
        "creationTimestamp",
        "generateName",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        match old["metadata"].get(key) {
            Some(value) => {
                metadata.insert(key.into(), value.clone());
            }
            None => {
                metadata.remove(key);
            }
        }
    }
    metadata.remove("selfLink");
    if !old["metadata"]["deletionTimestamp"].is_null() {
        let had = |value: &Value| {
            old["metadata"]["finalizers"]
                .as_array()
                .is_some_and(|l| l.contains(value))
        };
        let added: Vec<String> = metadata
            .get("finalizers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|value| !had(value))
            .map(Value::to_string)
            .collect();
        if !added.is_empty() {
            let text = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers [{}]",
                added.join(", ")
            );
            let error = FieldError::forbidden("metadata.finalizers", text);
            return Err(status::invalid(
                &resource.group,
                &resource.kind,
                &target.name,
                &[error],
            ));
        }
    }
    Ok(())
}

fn take(new: &mut Value, sent: &Value, part: &str, key: &str) {
    match sent[part].get(key) {
        Some(value) => new[part][key] = value.clone(),
        None => {
            if let Some(part) = new.get_mut(part).and_then(Value::as_object_mut) {
                part.remove(key);
            }
        }
    }
}

/// Other subresources may change one part of the object.
pub(super) fn keep_but(new: &mut Value, old: &Value, subresource: &str) {
    let sent = std::mem::replace(new, old.clone());
    match subresource {
        "finalize" => take(new, &sent, "spec", "finalizers"),
        "ephemeralcontainers" => {
            take(new, &sent, "spec", "ephemeralContainers");
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = (generation + 1).into();
        }
        "approval" => {
            new["metadata"] = sent["metadata"].clone();
            take(new, &sent, "status", "conditions");
        }
        "resize" => {
            for list in ["containers", "initContainers"] {
                let path = format!("/spec/{list}");
                let Some(containers) = new.pointer_mut(&path).and_then(Value::as_array_mut) else {
                    continue;
                };
                for container in containers {
                    let same = sent["spec"][list]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .find(|c| c["name"] == container["name"]);
                    if let Some(same) = same {
                        container["resources"] = same["resources"].clone();
                    }
                }
            }
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = (generation + 1).into();
        }
        _ => {}
    }
}
