//! What a new object starts with beyond what its author wrote.

use crate::defaults;
use crate::schema::builtin;
use serde_json::{Map, Value, json};

/// Replaces the status by the one a new object of the kind has. Nodes bring their own.
pub(super) fn status(group: &str, version: &str, kind: &str, object: &mut Map<String, Value>) {
    if (group, kind) == ("", "Node") {
        return;
    }
    let mut status = json!({});
    if let Some(slot) = builtin(group, version, kind).and_then(|schema| schema.field("status")) {
        defaults::fill(slot.schema(), &mut status);
    }
    match (group, kind) {
        ("", "Pod") => {
            status["phase"] = "Pending".into();
            status["qosClass"] = quality(&object["spec"]).into();
        }
        ("", "PersistentVolume") => {
            status["lastPhaseTransitionTime"] = object["metadata"]["creationTimestamp"].clone();
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            status["storedVersions"] = object["status"]["storedVersions"].clone();
        }
        _ => {}
    }
    object.insert("status".into(), status);
}

/// Other parts that a kind's strategy adds.
pub(super) fn parts(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Namespace") => {
            let finalizers = object["spec"]["finalizers"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
                let all = finalizers
                    .into_iter()
                    .chain([Value::from("kubernetes")])
                    .collect();
                object["spec"]["finalizers"] = Value::Array(all);
            }
        }
        ("apps", "DaemonSet") if object["metadata"]["annotations"].is_object() => {
            object["metadata"]["annotations"][defaults::TEMPLATE_GENERATION] = "1".into();
        }
        ("batch", "Job") if object["spec"]["manualSelector"] != true => job_selector(object),
        _ => {}
    }
}

/// A job selects its pods by its own UID unless its author took that on.
fn job_selector(job: &mut Value) {
    const UID: &str = "batch.kubernetes.io/controller-uid";
    let (name, uid) = (
        job["metadata"]["name"].clone(),
        job["metadata"]["uid"].clone(),
    );
    if !job["spec"]["template"]["metadata"]["labels"].is_object() {
        job["spec"]["template"]["metadata"]["labels"] = json!({});
    }
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    for (key, value) in [
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        (UID, &uid),
    ] {
        if labels[key].is_null() {
            labels[key] = value.clone();
        }
    }
    if !job["spec"]["selector"]["matchLabels"].is_object() {
        job["spec"]["selector"]["matchLabels"] = json!({});
    }
    let selector = &mut job["spec"]["selector"]["matchLabels"];
    if selector[UID].is_null() {
        selector[UID] = uid;
    }
}

/// The quality-of-service class of a pod: from its own resources, or those of its containers.
fn quality(spec: &Value) -> &'static str {
    let all = |key: &str| spec[key].as_array().into_iter().flatten();
    let own = spec
        .get("resources")
        .filter(|resources| !resources.is_null());
    let parts: Vec<&Value> = match own {
        Some(resources) => vec![resources],
        None => all("containers")
            .chain(all("initContainers"))
            .map(|container| &container["resources"])
            .collect(),
    };
    let set = |resources: &Value, kind: &str, name: &str| {
        resources[kind][name]
            .as_str()
            .filter(|amount| *amount != "0")
            .map(str::to_string)
    };
    let names = ["cpu", "memory"];
    let nothing = |resources: &&Value| {
        names.iter().all(|name| {
            set(resources, "limits", name).is_none() && set(resources, "requests", name).is_none()
        })
    };
    if parts.iter().all(nothing) {
        return "BestEffort";
    }
    let whole = |resources: &&Value| {
        names.iter().all(|name| {
            let limit = set(resources, "limits", name);
            let request = set(resources, "requests", name);
            limit.is_some() && (request.is_none() || request == limit)
        })
    };
    if parts.iter().all(whole) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
