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
            if object["spec"]["schedulingGates"]
                .as_array()
                .is_some_and(|gates| !gates.is_empty())
            {
                status["conditions"] = json!([{
                    "type": "PodScheduled",
                    "status": "False",
                    "lastProbeTime": null,
                    "lastTransitionTime": object["metadata"]["creationTimestamp"],
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }]);
            }
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
        ("", "Service") => cluster_ips(&mut object["spec"], None),
        ("", "PersistentVolumeClaim") => data_source(&mut object["spec"]),
        ("coordination.k8s.io", "Lease") => lease(object),
        ("batch", "Job") if object["spec"]["manualSelector"] != true => job_selector(object),
        _ => {}
    }
}

/// What a claim is filled from is said in two places; who says it in one, says it in both.
pub(super) fn data_source(spec: &mut Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    for (from, to) in [
        ("dataSource", "dataSourceRef"),
        ("dataSourceRef", "dataSource"),
    ] {
        let source = &spec[from];
        if source.is_object() && spec[to].is_null() && text(&source["namespace"]).is_empty() {
            spec[to] = source.clone();
        }
    }
    for part in ["dataSource", "dataSourceRef"] {
        if spec[part].is_object() && text(&spec[part]["apiGroup"]).is_empty() {
            let map = spec[part].as_object().into_iter().flatten();
            let rest = map.filter(|(key, _)| *key != "apiGroup");
            let rest = rest.map(|(key, value)| (key.clone(), value.clone()));
            let whole = [("apiGroup".to_string(), Value::Null)]
                .into_iter()
                .chain(rest);
            spec[part] = Value::Object(whole.collect());
        }
    }
}

/// Leases by agreement are not switched on.
pub(super) fn lease(lease: &mut Value) {
    if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
        spec.shift_remove("strategy");
        spec.shift_remove("preferredHolder");
    }
}

/// The one address and the list of them say the same; the one that was changed wins.
pub(super) fn cluster_ips(spec: &mut Value, old: Option<&Value>) {
    let Some(spec) = spec.as_object_mut() else {
        return;
    };
    let one = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_string();
    let list = spec
        .get("clusterIPs")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let same_list = old.is_none_or(|old| {
        old.get("clusterIPs")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
            == list
    });
    let same_one = old.is_some_and(|old| old["clusterIP"].as_str().unwrap_or_default() == one);
    if list.is_empty() && !one.is_empty() {
        spec.insert("clusterIPs".into(), json!([one]));
    } else if old.is_some() && same_list && !same_one && !list.is_empty() {
        if one.is_empty() {
            spec.shift_remove("clusterIPs");
        } else {
            let rest = list.into_iter().skip(1);
            spec.insert(
                "clusterIPs".into(),
                [Value::from(one)].into_iter().chain(rest).collect(),
            );
        }
    } else if one.is_empty() && old.is_some() && !list.is_empty() {
        spec.insert("clusterIP".into(), list[0].clone());
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
pub fn quality(spec: &Value) -> &'static str {
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
