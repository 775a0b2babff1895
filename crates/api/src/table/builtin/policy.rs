//! Rights, certificates, admission, priority and device claims.

use crate::table::cells::*;
use serde_json::Value;

pub(super) fn binding(o: &Value, now: i64) -> Vec<Value> {
    let subjects = |kind: &str| {
        let names: Vec<String> = items(o, "subjects")
            .iter()
            .filter(|subject| subject["kind"] == kind)
            .map(|subject| match kind {
                "ServiceAccount" => {
                    format!("{}/{}", text(subject, "namespace"), text(subject, "name"))
                }
                _ => text(subject, "name"),
            })
            .collect();
        Value::from(names.join(", "))
    };
    let role = format!("{}/{}", text(o, "roleRef.kind"), text(o, "roleRef.name"));
    vec![
        name(o),
        role.into(),
        age(o, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

pub(super) fn signing_request(o: &Value, now: i64) -> Vec<Value> {
    let mut state = String::new();
    for condition in items(o, "status.conditions") {
        state = match text(condition, "type").as_str() {
            "Approved" | "Denied" if state.is_empty() => text(condition, "type"),
            "Failed" if state.is_empty() => "Failed".into(),
            "Failed" => format!("{state},Failed"),
            _ => state,
        };
    }
    if state.is_empty() {
        state = "Pending".into();
    }
    if !text(o, "status.certificate").is_empty() {
        state.push_str(",Issued");
    }
    let duration = at(o, "spec.expirationSeconds")
        .as_i64()
        .map_or("<none>".into(), crate::time::human);
    vec![
        name(o),
        age(o, now),
        text_or(o, "spec.signerName", "<none>"),
        text(o, "spec.username").into(),
        duration.into(),
        state.into(),
    ]
}

pub(super) fn param_kind(o: &Value) -> Value {
    match at(o, "spec.paramKind") {
        Value::Null => "<unset>".into(),
        kind => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")).into(),
    }
}

pub(super) fn param_reference(o: &Value) -> Value {
    let reference = at(o, "spec.paramRef");
    let (namespace, object) = (text(reference, "namespace"), text(reference, "name"));
    if !object.is_empty() {
        let namespace = if namespace.is_empty() {
            "*".into()
        } else {
            namespace
        };
        return format!("{namespace}/{object}").into();
    }
    if reference.get("selector").is_some() {
        selector(reference, "selector")
    } else {
        "<unset>".into()
    }
}

pub(super) fn flow_schema(o: &Value, now: i64) -> Vec<Value> {
    let dangling = items(o, "status.conditions")
        .iter()
        .find(|c| c["type"] == "Dangling");
    let missing = dangling.map_or("?".to_string(), |c| text(c, "status"));
    vec![
        name(o),
        text(o, "spec.priorityLevelConfiguration.name").into(),
        number(o, "spec.matchingPrecedence").into(),
        text_or(o, "spec.distinguisherMethod.type", "<none>"),
        age(o, now),
        missing.into(),
    ]
}

pub(super) fn priority_level(o: &Value, now: i64) -> Vec<Value> {
    let limited = |path: &str| match at(o, &format!("spec.limited.{path}")) {
        Value::Null => Value::from("<none>"),
        value => value.clone(),
    };
    let queuing = "limitResponse.queuing";
    vec![
        name(o),
        text(o, "spec.type").into(),
        limited("nominalConcurrencyShares"),
        limited(&format!("{queuing}.queues")),
        limited(&format!("{queuing}.handSize")),
        limited(&format!("{queuing}.queueLengthLimit")),
        age(o, now),
    ]
}

pub(super) fn claim_state(o: &Value) -> Value {
    let mut states = Vec::new();
    if !at(o, "metadata.deletionTimestamp").is_null() {
        states.push("deleted");
    }
    if at(o, "status.allocation").is_null() {
        if at(o, "metadata.deletionTimestamp").is_null() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        states.push(if items(o, "status.reservedFor").is_empty() {
            ""
        } else {
            "reserved"
        });
    }
    states.retain(|state| !state.is_empty());
    states.join(",").into()
}
