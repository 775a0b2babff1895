//! Priority: a pod's number and preemption policy from its class; one default class at most.

use crate::admission::Change;
use crate::record;
use serde_json::Value;
use towpath_api::status::Failure;

const TABLE: &str = "scheduling.k8s.io/priorityclasses";

pub(super) fn mutate(change: &Change<'_>, pod: &mut Value) -> Result<(), Failure> {
    if change.updates("", "pods") {
        // What was computed once stays, also where a client sends the pod without it.
        for key in ["priority", "preemptionPolicy"] {
            let before = change.old.map(|old| &old["spec"][key]);
            if let Some(before) = before.filter(|before| !before.is_null())
                && pod["spec"].is_object()
                && pod["spec"][key].is_null()
            {
                pod["spec"][key] = before.clone();
            }
        }
        return Ok(());
    }
    if !change.creates("", "pods") {
        return Ok(());
    }
    let class = class_of(change, pod)?;
    let name = pod["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let (value, policy) = match &class {
        Some(class) => {
            pod["spec"]["priorityClassName"] = class["metadata"]["name"].clone();
            (
                class["value"].as_i64().unwrap_or(0),
                class["preemptionPolicy"].as_str(),
            )
        }
        None => (0, Some("PreemptLowerPriority")),
    };
    if let Some(given) = pod["spec"]["priority"]
        .as_i64()
        .filter(|given| *given != value)
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(change.forbidden(&name, &why));
    }
    pod["spec"]["priority"] = value.into();
    let Some(policy) = policy else {
        return Ok(());
    };
    if let Some(given) = pod["spec"]["preemptionPolicy"]
        .as_str()
        .filter(|given| *given != policy)
    {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(change.forbidden(&name, &why));
    }
    pod["spec"]["preemptionPolicy"] = policy.into();
    Ok(())
}

fn class_of(change: &Change<'_>, pod: &Value) -> Result<Option<Value>, Failure> {
    let named = pod["spec"]["priorityClassName"]
        .as_str()
        .unwrap_or_default();
    if named.is_empty() {
        return Ok(default_class(change));
    }
    match change.state.get(TABLE, &towpath_store::key("", named)) {
        Some(rec) => Ok(Some(record::decode(rec))),
        None => {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let why = format!("no PriorityClass with name {named} was found");
            Err(change.forbidden(name, &why))
        }
    }
}

// Of several, which only a race can make, the lowest.
fn default_class(change: &Change<'_>) -> Option<Value> {
    let all = change
        .state
        .range(TABLE, "", None)
        .map(|rec| record::decode(rec));
    all.filter(|class| class["globalDefault"] == true)
        .min_by_key(|class| class["value"].as_i64())
}

pub(super) fn validate(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    if !change.is_of("scheduling.k8s.io", "priorityclasses") || new["globalDefault"] != true {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    match default_class(change) {
        Some(other) if change.old.is_none() || other["metadata"]["name"] != name => {
            let other = other["metadata"]["name"].as_str().unwrap_or_default();
            let why = format!(
                "PriorityClass {other} is already marked as default. Only one default can exist"
            );
            Err(change.forbidden(name, &why))
        }
        _ => Ok(()),
    }
}
