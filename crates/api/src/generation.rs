//! Which parts of an object which path may write, and when `metadata.generation` moves.
//!
//! A write to the main path keeps the stored status; a write to a subresource keeps everything but
//! its own part. Generation starts at 1 and moves with the desired state only.

mod fresh;

pub use fresh::quality;

use serde_json::{Map, Value};

/// Kinds whose status is written through `status` only, and whose generation follows their spec.
pub fn has_status(group: &str, version: &str, kind: &str) -> bool {
    crate::facts::catalog()
        .kind(group, version, kind)
        .is_some_and(|resource| resource.subresource("status").is_some())
}

fn settle(group: &str, version: &str, kind: &str, object: &mut Value) {
    if let Some(schema) = crate::schema::builtin(group, version, kind) {
        crate::schema::settle(schema, object);
    }
}

/// Kinds upstream counts generations for.
fn counts_generation(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        (
            "apps",
            "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet"
        ) | ("", "Pod" | "ReplicationController")
            | ("batch", "Job" | "CronJob")
            | (
                "networking.k8s.io",
                "Ingress" | "NetworkPolicy" | "IngressClass"
            )
            | ("policy", "PodDisruptionBudget")
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("admissionregistration.k8s.io", _)
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("", "PodTemplate")
            | ("discovery.k8s.io", "EndpointSlice")
            | ("scheduling.k8s.io", "PriorityClass")
            | (
                "resource.k8s.io",
                "DeviceClass" | "ResourceSlice" | "DeviceTaintRule"
            )
    )
}

/// Readies a new object for its first write through the main path: a fresh status where it has a
/// path of its own, generation set where it is counted, and what upstream's strategies add
/// (selectors of jobs, the finalizer of namespaces). Name, UID and creation time are set before.
pub fn prepare_create(group: &str, version: &str, kind: &str, new: &mut Value) {
    settle(group, version, kind, new);
    if has_status(group, version, kind)
        && let Some(object) = new.as_object_mut()
    {
        fresh::status(group, version, kind, object);
    }
    fresh::parts(group, kind, new);
    if counts_generation(group, kind) {
        metadata(new, |metadata| {
            metadata.insert("generation".into(), 1.into());
        });
    }
}

/// Readies an update through the main path: status kept from `old`, generation moved when the
/// desired state differs.
pub fn prepare_update(group: &str, version: &str, kind: &str, new: &mut Value, old: &Value) {
    settle(group, version, kind, new);
    if has_status(group, version, kind) {
        keep(new, old, "status");
    }
    // Drivers are counted from their first change on.
    let counted = (counts_generation(group, kind) && kind != "PriorityClass")
        || (group, kind) == ("storage.k8s.io", "CSIDriver");
    match (group, kind) {
        ("apps", "DaemonSet") => template_generation(new, old),
        ("", "Service") => fresh::cluster_ips(&mut new["spec"], Some(&old["spec"])),
        ("", "PersistentVolumeClaim") => fresh::data_source(&mut new["spec"]),
        ("coordination.k8s.io", "Lease") => fresh::lease(new),
        // Only the finalize path changes these.
        ("", "Namespace") => keep_at(new, old, "spec", "finalizers"),
        _ => {}
    }
    bump(new, old, counted && desired_differs(kind, new, old));
}

fn keep_at(new: &mut Value, old: &Value, part: &str, key: &str) {
    match old[part].get(key) {
        Some(value) => new[part][key] = value.clone(),
        None => {
            if let Some(part) = new.get_mut(part).and_then(Value::as_object_mut) {
                part.shift_remove(key);
            }
        }
    }
}

/// The annotation that stands for a removed field moves with the template.
fn template_generation(new: &mut Value, old: &Value) {
    let key = crate::defaults::TEMPLATE_GENERATION;
    let before = old["metadata"]["annotations"][key]
        .as_str()
        .and_then(|text| text.parse::<i64>().ok());
    let moved = new["spec"]["template"] != old["spec"]["template"];
    let now = before.unwrap_or(0) + i64::from(moved);
    if new["metadata"]["annotations"].is_object() {
        new["metadata"]["annotations"][key] = now.to_string().into();
    }
}

/// Readies an update through `status`: everything but the status (and what upstream lets status
/// writers touch in metadata) kept from `old`.
pub fn prepare_status_update(group: &str, version: &str, kind: &str, new: &mut Value, old: &Value) {
    settle(group, version, kind, new);
    let Some(object) = new.as_object_mut() else {
        return;
    };
    let kept: Vec<String> = object
        .keys()
        .filter(|key| !matches!(key.as_str(), "status" | "metadata"))
        .cloned()
        .collect();
    for key in kept {
        object.remove(&key);
    }
    if let Some(old) = old.as_object() {
        for (key, value) in old {
            if key != "status" && key != "metadata" {
                object.insert(key.clone(), value.clone());
            }
        }
    }
    if (group, kind) == ("apps", "Deployment") {
        keep_at(new, old, "metadata", "labels");
    }
    if matches!(kind, "Pod") {
        let class = &old["status"]["qosClass"];
        if new["status"]["qosClass"].as_str().is_none_or(str::is_empty) && class.is_string() {
            new["status"]["qosClass"] = class.clone();
        }
        // Upstream keeps a pod's deletion grace and owners from status writers.
        let owners = old["metadata"].get("ownerReferences").cloned();
        metadata(new, |metadata| match owners {
            Some(owners) => {
                metadata.insert("ownerReferences".into(), owners);
            }
            None => {
                metadata.remove("ownerReferences");
            }
        });
    }
    bump(new, old, false);
}

/// The same for a custom resource; `status_path` = whether the version has the status subresource.
pub fn prepare_custom_create(new: &mut Value, status_path: bool) {
    if status_path && let Some(object) = new.as_object_mut() {
        object.remove("status");
    }
    metadata(new, |metadata| {
        metadata.insert("generation".into(), 1.into());
    });
}

/// Update of a custom resource through its main path. Without a status subresource every change
/// outside metadata moves the generation; with one, changes of the status do not.
pub fn prepare_custom_update(new: &mut Value, old: &Value, status_path: bool) {
    if status_path {
        keep(new, old, "status");
    }
    let differs =
        desired_differs("", new, old) || (!status_path && new.get("status") != old.get("status"));
    bump(new, old, differs);
}

fn keep(new: &mut Value, old: &Value, part: &str) {
    let Some(object) = new.as_object_mut() else {
        return;
    };
    match old.get(part) {
        Some(value) => {
            object.insert(part.to_string(), value.clone());
        }
        None => {
            object.remove(part);
        }
    }
}

fn bump(new: &mut Value, old: &Value, differs: bool) {
    let before = old["metadata"]["generation"].as_i64();
    metadata(new, |metadata| match (before, differs) {
        (None, false) => {
            metadata.remove("generation");
        }
        (before, differs) => {
            let generation = before.unwrap_or(0) + i64::from(differs);
            metadata.insert("generation".into(), generation.into());
        }
    });
}

/// Whether anything but metadata and status differs; for kinds without a spec that is all of it.
/// Deployments count their annotations too, since those reach the replica sets, and slices their
/// labels, since those name the service.
fn desired_differs(kind: &str, new: &Value, old: &Value) -> bool {
    let part = match kind {
        "Deployment" => "annotations",
        "EndpointSlice" => "labels",
        _ => "",
    };
    if !part.is_empty() && new["metadata"].get(part) != old["metadata"].get(part) {
        return true;
    }
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
        return new != old;
    };
    let desired = |key: &str| !matches!(key, "metadata" | "status" | "apiVersion" | "kind");
    new.iter()
        .any(|(key, value)| desired(key) && old.get(key) != Some(value))
        || old.keys().any(|key| desired(key) && !new.contains_key(key))
}

fn metadata(object: &mut Value, change: impl FnOnce(&mut Map<String, Value>)) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        change(metadata);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn generation_follows_the_spec() {
        let mut new =
            json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}, "status": {"replicas": 3}});
        prepare_create("apps", "v1", "Deployment", &mut new);
        assert_eq!(
            new,
            json!({"metadata": {"name": "a", "generation": 1}, "spec": {"replicas": 1}, "status": {}})
        );
        let old = json!({"metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
        let mut same = json!({"metadata": {"labels": {"a": "b"}, "generation": 9}, "spec": {"replicas": 1}, "status": {}});
        prepare_update("apps", "v1", "Deployment", &mut same, &old);
        assert_eq!(same["metadata"]["generation"], 1);
        assert_eq!(same["status"], json!({"replicas": 1}));
        let mut other = json!({"metadata": {}, "spec": {"replicas": 2}});
        prepare_update("apps", "v1", "Deployment", &mut other, &old);
        assert_eq!(other["metadata"]["generation"], 2);
        let mut status =
            json!({"metadata": {}, "spec": {"replicas": 7}, "status": {"replicas": 2}});
        prepare_status_update("apps", "v1", "Deployment", &mut status, &old);
        assert_eq!(
            (&status["spec"]["replicas"], &status["status"]["replicas"]),
            (&json!(1), &json!(2))
        );
    }

    #[test]
    fn config_maps_keep_the_generation_they_came_with() {
        let mut new = json!({"metadata": {"generation": 4}, "data": {}});
        prepare_create("", "v1", "ConfigMap", &mut new);
        assert_eq!(new["metadata"], json!({"generation": 4}));
    }
}
