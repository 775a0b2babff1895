//! Nodes, events, quotas, and what the API server is made of.

use crate::table::cells::*;
use serde_json::{Value, json};

pub(super) fn node(o: &Value, now: i64) -> Vec<Value> {
    let ready = items(o, "status.conditions")
        .iter()
        .find(|c| c["type"] == "Ready");
    let mut status = match ready {
        Some(c) if c["status"] == "True" => "Ready".to_string(),
        Some(_) => "NotReady".into(),
        None => "Unknown".into(),
    };
    if at(o, "spec.unschedulable") == &json!(true) {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<String> = Vec::new();
    for (key, value) in at(o, "metadata.labels").as_object().into_iter().flatten() {
        let role = match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => role,
            None if key == "kubernetes.io/role" => value.as_str().unwrap_or_default(),
            None => continue,
        };
        if !role.is_empty() {
            roles.push(role.to_string());
        }
    }
    roles.sort();
    roles.dedup();
    let roles = if roles.is_empty() {
        "<none>".into()
    } else {
        roles.join(",")
    };
    let address = |kind: &str| {
        let found = items(o, "status.addresses")
            .iter()
            .find(|a| a["type"] == kind);
        found.map_or("<none>".to_string(), |a| text(a, "address"))
    };
    let info = |key: &str| text_or(o, &format!("status.nodeInfo.{key}"), "<unknown>");
    let mut kernel = info("kernelVersion")
        .as_str()
        .unwrap_or_default()
        .to_string();
    let architecture = text(o, "status.nodeInfo.architecture");
    if !architecture.is_empty() {
        kernel.push_str(&format!(" ({architecture})"));
    }
    vec![
        name(o),
        status.into(),
        roles.into(),
        age(o, now),
        text(o, "status.nodeInfo.kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        info("osImage"),
        kernel.into(),
        info("containerRuntimeVersion"),
    ]
}

/// Reads both forms of an event (core and events.k8s.io).
pub(super) fn event(o: &Value, now: i64) -> Vec<Value> {
    let either = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| text(o, path))
            .find(|t| !t.is_empty())
            .unwrap_or_default()
    };
    let seen = |paths: &[&str]| {
        let path = paths.iter().find(|path| !at(o, path).is_null());
        path.map(|path| since(o, path, now))
    };
    let unknown = || "<unknown>".to_string();
    let first =
        seen(&["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"]).unwrap_or_else(unknown);
    let mut last =
        seen(&["lastTimestamp", "deprecatedLastTimestamp"]).unwrap_or_else(|| first.clone());
    let mut count = number(o, "count").max(number(o, "deprecatedCount"));
    if !at(o, "series").is_null() {
        last = since(o, "series.lastObservedTime", now);
        count = number(o, "series.count");
    } else if count == 0 {
        count = 1;
    }
    let about = if o.get("regarding").is_some() {
        "regarding"
    } else {
        "involvedObject"
    };
    let kind = text(o, &format!("{about}.kind")).to_lowercase();
    let object = text(o, &format!("{about}.name"));
    let target = if object.is_empty() {
        kind
    } else {
        format!("{kind}/{object}")
    };
    let component = either(&[
        "source.component",
        "deprecatedSource.component",
        "reportingComponent",
        "reportingController",
    ]);
    let host = either(&["source.host", "deprecatedSource.host", "reportingInstance"]);
    let source = if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    };
    vec![
        last.into(),
        text(o, "type").into(),
        text(o, "reason").into(),
        target.into(),
        text(o, &format!("{about}.fieldPath")).into(),
        source.into(),
        either(&["message", "note"]).trim().into(),
        first.into(),
        count.into(),
        name(o),
    ]
}

pub(super) fn quota(o: &Value, now: i64) -> Vec<Value> {
    let hard = at(o, "status.hard")
        .as_object()
        .cloned()
        .unwrap_or_default();
    let used = at(o, "status.used");
    let mut names: Vec<&String> = hard.keys().collect();
    names.sort();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for key in names {
        let amount = |value: &Value| value.as_str().unwrap_or("0").to_string();
        let line = format!("{key}: {}/{}", amount(&used[key]), amount(&hard[key]));
        if key.starts_with("limits.") {
            limits.push(line)
        } else {
            requests.push(line)
        }
    }
    vec![
        name(o),
        requests.join(", ").into(),
        limits.join(", ").into(),
        age(o, now),
    ]
}

pub(super) fn api_service(o: &Value, now: i64) -> Vec<Value> {
    let service = match at(o, "spec.service") {
        Value::Null => "Local".to_string(),
        service => format!("{}/{}", text(service, "namespace"), text(service, "name")),
    };
    let available = items(o, "status.conditions")
        .iter()
        .find(|c| c["type"] == "Available");
    let available = match available {
        Some(c) if c["status"] == "True" => "True".to_string(),
        Some(c) => format!("{} ({})", text(c, "status"), text(c, "reason")),
        None => "Unknown".into(),
    };
    vec![name(o), service.into(), available.into(), age(o, now)]
}
