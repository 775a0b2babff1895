//! Conversion between groups and versions that show the same stored object.
//!
//! Two kinds have two faces: events (core and events.k8s.io) and horizontal pod autoscalers (v1
//! and v2). What v1 of the autoscaler cannot say travels in an annotation, so that nothing is lost
//! on the way there and back.

use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";

/// Core names of event fields and their names in events.k8s.io.
const EVENT: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Turns `object` of `kind` into its form in `group` and `version`, whatever form it has now.
/// Kinds with one form get the `apiVersion` set and nothing else.
pub fn object(group: &str, version: &str, kind: &str, object: &mut Value) {
    let wanted = crate::facts::api_version(group, version);
    if object["apiVersion"] == wanted.as_str() {
        return;
    }
    match (kind, group, version) {
        ("Event", "events.k8s.io", _) => rename(object, |(core, events)| (core, events)),
        ("Event", "", _) => rename(object, |(core, events)| (events, core)),
        ("HorizontalPodAutoscaler", "autoscaling", "v1") => downgrade(object),
        ("HorizontalPodAutoscaler", "autoscaling", "v2") => upgrade(object),
        _ => {}
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), wanted.into());
    }
}

fn rename(
    object: &mut Value,
    pair: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let renamed: Map<String, Value> = std::mem::take(map)
        .into_iter()
        .map(|(key, value)| {
            let new = EVENT
                .iter()
                .map(|names| pair(*names))
                .find(|(from, _)| *from == key);
            (new.map_or(key, |(_, to)| to.to_string()), value)
        })
        .collect();
    *map = renamed;
}

fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn note(object: &mut Value, key: &str, value: Option<Value>) {
    let Some(value) = value else { return };
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][key] = value.to_string().into();
}

fn take_note(object: &mut Value, key: &str) -> Option<Value> {
    let annotations = object["metadata"].get_mut("annotations")?.as_object_mut()?;
    let text = annotations.shift_remove(key)?;
    if annotations.is_empty()
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.shift_remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn take(object: &mut Value, part: &str, key: &str) -> Option<Value> {
    object.get_mut(part)?.as_object_mut()?.shift_remove(key)
}

fn set(object: &mut Value, part: &str, key: &str, value: Option<Value>) {
    let Some(value) = value else { return };
    if !object[part].is_object() {
        object[part] = json!({});
    }
    object[part][key] = value;
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn downgrade(object: &mut Value) {
    let mut metrics = list(take(object, "spec", "metrics"));
    let cpu = metrics.iter().position(|metric| {
        is_cpu_utilization(metric) && metric["resource"]["target"]["averageUtilization"].is_number()
    });
    if let Some(at) = cpu {
        let target = metrics.remove(at)["resource"]["target"]["averageUtilization"].clone();
        object["spec"]["targetCPUUtilizationPercentage"] = target;
    }
    note(
        object,
        METRICS,
        (!metrics.is_empty()).then_some(Value::Array(metrics)),
    );
    let behavior = take(object, "spec", "behavior");
    note(object, BEHAVIOR, behavior);
    let conditions = take(object, "status", "conditions")
        .filter(|c| c.as_array().is_some_and(|c| !c.is_empty()));
    note(object, CONDITIONS, conditions);
    let mut current = list(take(object, "status", "currentMetrics"));
    let cpu = current.iter().position(|metric| {
        is_cpu_utilization(metric)
            && metric["resource"]["current"]["averageUtilization"].is_number()
    });
    if let Some(at) = cpu {
        let now = current[at]["resource"]["current"]["averageUtilization"].clone();
        object["status"]["currentCPUUtilizationPercentage"] = now;
        // The raw value beside it has no field in v1.
        if current[at]["resource"]["current"]["averageValue"].is_null() {
            current.remove(at);
        }
    }
    note(
        object,
        CURRENT,
        (!current.is_empty()).then_some(Value::Array(current)),
    );
}

fn upgrade(object: &mut Value) {
    let mut metrics = list(take_note(object, METRICS));
    if let Some(target) =
        take(object, "spec", "targetCPUUtilizationPercentage").filter(Value::is_number)
    {
        let target = json!({"type": "Utilization", "averageUtilization": target});
        metrics.insert(
            0,
            json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}),
        );
    }
    set(
        object,
        "spec",
        "metrics",
        (!metrics.is_empty()).then_some(Value::Array(metrics)),
    );
    let behavior = take_note(object, BEHAVIOR);
    let conditions = take_note(object, CONDITIONS);
    let mut current = list(take_note(object, CURRENT));
    let percent =
        take(object, "status", "currentCPUUtilizationPercentage").filter(Value::is_number);
    if let Some(percent) = percent
        && !current.iter().any(is_cpu_utilization)
    {
        let now = json!({"averageUtilization": percent});
        current.insert(
            0,
            json!({"type": "Resource", "resource": {"name": "cpu", "current": now}}),
        );
    }
    set(object, "spec", "behavior", behavior);
    set(object, "status", "conditions", conditions);
    set(
        object,
        "status",
        "currentMetrics",
        (!current.is_empty()).then_some(Value::Array(current)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_two_faces() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "a"}, "message": "m", "count": 2, "type": "Normal"});
        let mut event = core.clone();
        object("events.k8s.io", "v1", "Event", &mut event);
        assert_eq!(
            event,
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "regarding": {"name": "a"}, "note": "m", "deprecatedCount": 2, "type": "Normal"})
        );
        object("", "v1", "Event", &mut event);
        assert_eq!(event, core);
    }

    #[test]
    fn autoscalers_survive_the_older_version() {
        let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}}}],
                "behavior": {"scaleUp": {"selectPolicy": "Max"}}},
            "status": {"currentReplicas": 1, "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "5m"}}}]}});
        let mut value = v2.clone();
        object("autoscaling", "v1", "HorizontalPodAutoscaler", &mut value);
        assert_eq!(value["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(value["status"]["currentCPUUtilizationPercentage"], 5);
        assert!(value["spec"].get("metrics").is_none());
        object("autoscaling", "v2", "HorizontalPodAutoscaler", &mut value);
        assert_eq!(value, v2);
    }
}
