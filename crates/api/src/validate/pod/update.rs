//! What may change in a pod that exists.

use crate::field::FieldError;
use crate::validate::check::{Check, list, text};
use serde_json::Value;

const UPDATE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What an update may change is put back before both are compared.
pub(super) fn update(new: &Value, old: &Value, check: &mut Check) {
    for kind in ["containers", "initContainers"] {
        if list(&new[kind]).len() != list(&old[kind]).len() {
            check.add(FieldError::forbidden(
                format!("spec.{kind}"),
                "pod updates may not add or remove containers",
            ));
            return;
        }
        for (index, container) in list(&new[kind]).iter().enumerate() {
            if text(&container["image"]).is_empty() {
                check.add(FieldError::required(
                    format!("spec.{kind}[{index}].image"),
                    "",
                ));
            }
        }
    }
    deadline(new, old, check);
    let added_only = list(&old["tolerations"])
        .iter()
        .all(|toleration| list(&new["tolerations"]).contains(toleration));
    if !added_only {
        check.add(FieldError::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    for (at, gate) in list(&new["schedulingGates"]).iter().enumerate() {
        if !list(&old["schedulingGates"]).contains(gate) {
            let name = text(&gate["name"]);
            check.add(FieldError::forbidden(
                format!("spec.schedulingGates[{at}].name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            ));
        }
    }
    let mut same = new.clone();
    for kind in ["containers", "initContainers"] {
        let images: Vec<Value> = list(&old[kind])
            .iter()
            .map(|container| container["image"].clone())
            .collect();
        for (container, image) in same[kind].as_array_mut().into_iter().flatten().zip(images) {
            container["image"] = image;
        }
    }
    let mut kept = vec!["activeDeadlineSeconds", "tolerations", "schedulingGates"];
    if old["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|s| s < 0)
        && same["terminationGracePeriodSeconds"] == 1
    {
        kept.push("terminationGracePeriodSeconds");
    }
    if !list(&old["schedulingGates"]).is_empty() {
        kept.extend(["nodeSelector", "affinity"]);
    }
    for key in ["initContainers"]
        .into_iter()
        .filter(|key| new.get(*key).is_none())
        .chain(kept)
    {
        match (old.get(key), same.as_object_mut()) {
            (Some(value), Some(same)) => {
                same.insert(key.into(), value.clone());
            }
            (None, Some(same)) => {
                same.shift_remove(key);
            }
            _ => {}
        }
    }
    if same != *old {
        check.add(FieldError::forbidden("spec", UPDATE));
    }
}

fn deadline(new: &Value, old: &Value, check: &mut Check) {
    let path = "spec.activeDeadlineSeconds";
    match (
        new["activeDeadlineSeconds"].as_i64(),
        old["activeDeadlineSeconds"].as_i64(),
    ) {
        (Some(new), Some(old)) if new > old => {
            check.invalid(path, new, "must be less than or equal to previous value")
        }
        (None, Some(_)) => check.invalid(
            path,
            Value::Null,
            "must not update from a positive integer to nil value",
        ),
        _ => {}
    }
}

/// Containers for debugging come, and stay as they are.
pub(in crate::validate) fn ephemeral(new: &Value, old: &Value, check: &mut Check) {
    let path = "spec.ephemeralContainers";
    for known in list(&old["ephemeralContainers"]) {
        let name = text(&known["name"]);
        let mut now = list(&new["ephemeralContainers"]).iter();
        match now.find(|container| container["name"] == known["name"]) {
            None => check.add(FieldError::forbidden(
                path,
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            )),
            Some(container) if container != known => check.add(FieldError::forbidden(
                path,
                format!("existing ephemeral containers {name:?} may not be changed\n"),
            )),
            Some(_) => {}
        }
    }
}
