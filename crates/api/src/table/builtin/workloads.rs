//! What makes pods, and what scales it.

use crate::table::cells::*;
use serde_json::Value;

pub(super) fn replicas(o: &Value, now: i64) -> Vec<Value> {
    let (names, images) = containers(o, "spec.template.spec.containers");
    vec![
        name(o),
        number(o, "spec.replicas").into(),
        number(o, "status.replicas").into(),
        number(o, "status.readyReplicas").into(),
        age(o, now),
        names,
        images,
    ]
}

pub(super) fn deployment(o: &Value, now: i64) -> Vec<Value> {
    let (names, images) = containers(o, "spec.template.spec.containers");
    let ready = format!(
        "{}/{}",
        number(o, "status.readyReplicas"),
        number(o, "spec.replicas")
    );
    let selector = crate::selector::Label::from_object(at(o, "spec.selector"));
    let selector = selector.map_or_else(|_| "<invalid>".to_string(), |label| label.to_string());
    vec![
        name(o),
        ready.into(),
        number(o, "status.updatedReplicas").into(),
        number(o, "status.availableReplicas").into(),
        age(o, now),
        names,
        images,
        selector.into(),
    ]
}

pub(super) fn daemon_set(o: &Value, now: i64) -> Vec<Value> {
    let (names, images) = containers(o, "spec.template.spec.containers");
    let count = |key: &str| Value::from(number(o, &format!("status.{key}")));
    vec![
        name(o),
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        labels(o, "spec.template.spec.nodeSelector"),
        age(o, now),
        names,
        images,
        selector(o, "spec.selector"),
    ]
}

pub(super) fn controller(o: &Value) -> Value {
    let Some(owner) = items(o, "metadata.ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true)
    else {
        return "<none>".into();
    };
    let version = text(owner, "apiVersion");
    let (group, _) = crate::facts::split_api_version(&version);
    let kind = crate::status::qualified(group, &text(owner, "kind")).to_lowercase();
    format!("{kind}/{}", text(owner, "name")).into()
}

pub(super) fn job(o: &Value, now: i64) -> Vec<Value> {
    let succeeded = number(o, "status.succeeded");
    let parallelism = number(o, "spec.parallelism");
    let completions = match at(o, "spec.completions").as_i64() {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let stamp = |path: &str| at(o, path).as_str().and_then(crate::time::parse_rfc3339);
    let duration = match (stamp("status.startTime"), stamp("status.completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => crate::time::human(end.unwrap_or(now) - start),
    };
    let deleting = !at(o, "metadata.deletionTimestamp").is_null();
    let status = if has_condition(o, "Complete") {
        "Complete"
    } else if has_condition(o, "Failed") {
        "Failed"
    } else if deleting {
        "Terminating"
    } else if has_condition(o, "Suspended") {
        "Suspended"
    } else if has_condition(o, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(o, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let (names, images) = containers(o, "spec.template.spec.containers");
    vec![
        name(o),
        status.into(),
        completions.into(),
        duration.into(),
        age(o, now),
        names,
        images,
        selector(o, "spec.selector"),
    ]
}

pub(super) fn cron_job(o: &Value, now: i64) -> Vec<Value> {
    let last = match at(o, "status.lastScheduleTime") {
        Value::Null => "<none>".to_string(),
        _ => since(o, "status.lastScheduleTime", now),
    };
    let suspend = at(o, "spec.suspend")
        .as_bool()
        .map_or("<unset>", |flag| if flag { "True" } else { "False" });
    let (names, images) = containers(o, "spec.jobTemplate.spec.template.spec.containers");
    vec![
        name(o),
        text(o, "spec.schedule").into(),
        text_or(o, "spec.timeZone", "<none>"),
        suspend.into(),
        items(o, "status.active").len().into(),
        last.into(),
        age(o, now),
        names,
        images,
        selector(o, "spec.jobTemplate.spec.selector"),
    ]
}

pub(super) fn autoscaler(o: &Value, now: i64) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        text(o, "spec.scaleTargetRef.kind"),
        text(o, "spec.scaleTargetRef.name")
    );
    vec![
        name(o),
        reference.into(),
        metrics(o).into(),
        text_or(o, "spec.minReplicas", "<unset>"),
        number(o, "spec.maxReplicas").into(),
        number(o, "status.currentReplicas").into(),
        age(o, now),
    ]
}

fn metrics(o: &Value) -> String {
    let current = items(o, "status.currentMetrics");
    if let Some(target) = at(o, "spec.targetCPUUtilizationPercentage").as_i64() {
        let now = at(o, "status.currentCPUUtilizationPercentage").as_i64();
        return format!(
            "cpu: {}/{target}%",
            now.map_or("<unknown>".into(), |n| format!("{n}%"))
        );
    }
    let list: Vec<String> = items(o, "spec.metrics")
        .iter()
        .enumerate()
        .map(|(index, spec)| metric(spec, current.get(index)))
        .collect();
    if list.is_empty() {
        "<none>".into()
    } else {
        some_of(list, 2, ", ")
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (key, named) = match text(spec, "type").as_str() {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".into(),
    };
    let target = at(spec, key);
    let value = |what: &str| {
        let found = status.map(|status| text(status, &format!("{key}.current.{what}")));
        found
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "<unknown>".into())
    };
    let wanted = text(target, "target.averageValue");
    let shown = if !wanted.is_empty() {
        let average = if matches!(key, "external" | "object") {
            " (avg)"
        } else {
            ""
        };
        format!("{}/{wanted}{average}", value("averageValue"))
    } else if named {
        let wanted = text(target, "target.averageUtilization");
        let wanted = if wanted.is_empty() {
            "<auto>".into()
        } else {
            format!("{wanted}%")
        };
        let now = value("averageUtilization");
        let now = if now == "<unknown>" {
            now
        } else {
            format!("{now}%")
        };
        format!("{now}/{wanted}")
    } else {
        format!("{}/{}", value("value"), text(target, "target.value"))
    };
    if named {
        format!("{}: {shown}", text(target, "name"))
    } else {
        shown
    }
}
