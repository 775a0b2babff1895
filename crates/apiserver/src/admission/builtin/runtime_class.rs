//! RuntimeClass: its overhead and its wishes about nodes go into the pods that name it.

use crate::admission::Change;
use crate::record;
use serde_json::Value;
use towpath_api::resources;
use towpath_api::status::Failure;

fn class_of(change: &Change<'_>, pod: &Value) -> Result<Option<Value>, Failure> {
    let Some(class) = pod["spec"]["runtimeClassName"].as_str() else {
        return Ok(None);
    };
    match change
        .state
        .get("node.k8s.io/runtimeclasses", &towpath_store::key("", class))
    {
        Some(rec) => Ok(Some(record::decode(rec))),
        None => Err(refuse(
            change,
            pod,
            &format!("pod rejected: RuntimeClass {class:?} not found"),
        )),
    }
}

fn refuse(change: &Change<'_>, pod: &Value, why: &str) -> Failure {
    change.forbidden(pod["metadata"]["name"].as_str().unwrap_or_default(), why)
}

fn same(a: &Value, b: &Value) -> bool {
    resources::read(a) == resources::read(b)
}

const OTHER: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

pub(super) fn mutate(change: &Change<'_>, pod: &mut Value) -> Result<(), Failure> {
    if !change.creates("", "pods") {
        return Ok(());
    }
    let Some(class) = class_of(change, pod)? else {
        return Ok(());
    };
    if class["overhead"].is_object() {
        let fixed = &class["overhead"]["podFixed"];
        let given = &pod["spec"]["overhead"];
        if given.as_object().is_some_and(|map| !map.is_empty()) && !same(given, fixed) {
            return Err(refuse(change, pod, OTHER));
        }
        pod["spec"]["overhead"] = fixed.clone();
    }
    let wishes = &class["scheduling"];
    for (key, value) in wishes["nodeSelector"].as_object().into_iter().flatten() {
        let given = &pod["spec"]["nodeSelector"][key.as_str()];
        if !given.is_null() && given != value {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(given)
            );
            return Err(refuse(change, pod, &why));
        }
        pod["spec"]["nodeSelector"][key.as_str()] = value.clone();
    }
    if let Some(more) = wishes["tolerations"]
        .as_array()
        .filter(|more| !more.is_empty())
    {
        let mut all = pod["spec"]["tolerations"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let new: Vec<Value> = more.iter().filter(|t| !all.contains(t)).cloned().collect();
        all.extend(new);
        pod["spec"]["tolerations"] = all.into();
    }
    Ok(())
}

pub(super) fn validate(change: &Change<'_>, pod: &Value) -> Result<(), Failure> {
    if !change.creates("", "pods") {
        return Ok(());
    }
    match class_of(change, pod)? {
        Some(class) if class["overhead"].is_object() => {
            match same(&class["overhead"]["podFixed"], &pod["spec"]["overhead"]) {
                true => Ok(()),
                false => Err(refuse(change, pod, OTHER)),
            }
        }
        _ if pod["spec"]["overhead"].is_null() => Ok(()),
        _ => {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            Err(refuse(change, pod, why))
        }
    }
}
