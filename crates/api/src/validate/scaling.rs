//! Rules of what scales workloads and of what protects them from eviction.

use super::apps::not_over_100;
use super::check::{Check, list, missing, text};
use crate::field::FieldError;
use crate::names;
use crate::quantity::Quantity;
use serde_json::{Value, json};

const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

pub(super) fn autoscaler(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    reference(&spec["scaleTargetRef"], "spec.scaleTargetRef", check);
    let target = &spec["scaleTargetRef"];
    let version = text(&target["apiVersion"]);
    if !version.contains('/') && text(&target["kind"]) != "ReplicationController" {
        check.invalid(
            "spec.scaleTargetRef.apiVersion",
            version,
            "apiVersion must specify API group",
        );
    }
    let metrics = list(&spec["metrics"]);
    let min = spec["minReplicas"].as_i64();
    if let Some(min) = min.filter(|min| *min < 1) {
        let why = "must be greater than or equal to 1";
        check.invalid("spec.minReplicas", min, why);
    }
    if min == Some(0) {
        let from_outside = |metric: &Value| matches!(text(&metric["type"]), "Object" | "External");
        if !metrics.iter().any(from_outside) {
            let why = "must specify at least one Object or External metric to support scaling to zero replicas";
            check.add(FieldError::forbidden("spec.metrics", why));
        }
    }
    let max = spec["maxReplicas"].as_i64().unwrap_or(0);
    if max == 0 {
        let why = "must be set and greater than 0";
        check.add(FieldError::required("spec.maxReplicas", why));
    } else if max < 1 {
        check.invalid("spec.maxReplicas", max, "must be greater than 0");
    }
    if max != 0 && min.is_some_and(|min| max < min) {
        let why = "must be greater than or equal to `minReplicas`";
        check.invalid("spec.maxReplicas", max, why);
    }
    for (at, metric) in metrics.iter().enumerate() {
        self::metric(metric, &format!("spec.metrics[{at}]"), check);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &spec["behavior"][direction];
        if !rules.is_null() {
            behavior(rules, &format!("spec.behavior.{direction}"), check);
        }
    }
}

fn reference(target: &Value, path: &str, check: &mut Check) {
    for key in ["kind", "name"] {
        let at = format!("{path}.{key}");
        if check.required(&at, &target[key], "") {
            let value = text(&target[key]);
            check.names(&at, value, names::path_segment(value));
        }
    }
}

fn metric(metric: &Value, path: &str, check: &mut Check) {
    let kind = text(&metric["type"]);
    if check.required(
        &format!("{path}.type"),
        &metric["type"],
        "must specify a metric source type",
    ) && !SOURCES.iter().any(|(known, _)| *known == kind)
    {
        let known = SOURCES.map(|(known, _)| known);
        return check.one_of(&format!("{path}.type"), &metric["type"], &known);
    }
    let Some((_, key)) = SOURCES.iter().find(|(known, _)| *known == kind) else {
        return;
    };
    let source = &metric[*key];
    let path = format!("{path}.{key}");
    if source.is_null() {
        let why = "must populate information for the given metric source";
        return check.add(FieldError::required(path, why));
    }
    let target = &source["target"];
    let at = |name: &str| format!("{path}.target.{name}");
    check.positive(&at("averageUtilization"), &target["averageUtilization"]);
    let amount = |name: &str| target[name].as_str().and_then(|t| Quantity::parse(t).ok());
    for name in ["value", "averageValue"] {
        if amount(name).is_some_and(|amount| amount.sign() <= 0) {
            check.invalid(&at(name), target[name].clone(), "must be positive");
        }
    }
    let (value, average) = (
        !target["value"].is_null(),
        !target["averageValue"].is_null(),
    );
    let share = !target["averageUtilization"].is_null();
    match *key {
        "object" => {
            reference(
                &source["describedObject"],
                &format!("{path}.describedObject"),
                check,
            );
            identifier(&source["metric"], &format!("{path}.metric"), check);
            if !value && !average {
                let why = "must set either a target value for metric or a per-pod target";
                check.add(FieldError::required(at("averageValue"), why));
            }
        }
        "external" => {
            identifier(&source["metric"], &format!("{path}.metric"), check);
            if !value && !average {
                let why = "must set either a target value for metric or a per-pod target";
                check.add(FieldError::required(at("averageValue"), why));
            } else if value && average {
                let why = "may not set both a target value for metric and a per-pod target";
                check.add(FieldError::forbidden(at("value"), why));
            }
        }
        "pods" => {
            identifier(&source["metric"], &format!("{path}.metric"), check);
            if !average {
                let why = "must specify a positive target averageValue";
                check.add(FieldError::required(at("averageValue"), why));
            }
        }
        _ => {
            check.required(
                &format!("{path}.name"),
                &source["name"],
                "must specify a resource name",
            );
            if *key == "containerResource" {
                let why = "must specify a container";
                check.required(&format!("{path}.container"), &source["container"], why);
            }
            if !share && !average {
                let why = "must set either a target raw value or a target utilization";
                check.add(FieldError::required(at("averageUtilization"), why));
            } else if share && average {
                let why = "may not set both a target raw value and a target utilization";
                check.add(FieldError::forbidden(at("averageValue"), why));
            }
        }
    }
}

fn identifier(metric: &Value, path: &str, check: &mut Check) {
    let at = format!("{path}.name");
    if check.required(&at, &metric["name"], "must specify a metric name") {
        let name = text(&metric["name"]);
        check.names(&at, name, names::path_segment(name));
    }
}

fn behavior(rules: &Value, path: &str, check: &mut Check) {
    let at = format!("{path}.stabilizationWindowSeconds");
    match rules["stabilizationWindowSeconds"].as_i64() {
        Some(seconds) if seconds < 0 => {
            check.invalid(&at, seconds, "must be greater than or equal to zero");
        }
        Some(seconds) if seconds > 3600 => {
            check.invalid(&at, seconds, "must be less than or equal to 3600");
        }
        _ => {}
    }
    let tolerance = rules["tolerance"]
        .as_str()
        .and_then(|t| Quantity::parse(t).ok());
    if tolerance.is_some_and(|tolerance| tolerance.sign() < 0) {
        check.invalid(
            &format!("{path}.tolerance"),
            rules["tolerance"].clone(),
            "must be greater than or equal to 0",
        );
    }
    let choices = ["Disabled", "Max", "Min"];
    if !missing(&rules["selectPolicy"]) && !choices.contains(&text(&rules["selectPolicy"])) {
        let at = format!("{path}.selectPolicy");
        check.one_of(&at, &rules["selectPolicy"], &choices);
    }
    if missing(&rules["policies"]) {
        let why = "must specify at least one Policy";
        check.add(FieldError::required(format!("{path}.policies"), why));
    }
    for (index, policy) in list(&rules["policies"]).iter().enumerate() {
        let at = |name: &str| format!("{path}.policies[{index}].{name}");
        let number = |name: &str| policy[name].as_i64().unwrap_or(0);
        let kinds = ["Percent", "Pods"];
        if !kinds.contains(&text(&policy["type"])) {
            check.one_of(&at("type"), &policy["type"], &kinds);
        }
        for name in ["value", "periodSeconds"] {
            if number(name) <= 0 {
                check.invalid(&at(name), number(name), "must be greater than zero");
            }
        }
        if number("periodSeconds") > 1800 {
            let why = "must be less than or equal to 1800";
            check.invalid(&at("periodSeconds"), number("periodSeconds"), why);
        }
    }
}

pub(super) fn autoscaler_status(new: &Value, check: &mut Check) {
    for name in ["currentReplicas", "desiredReplicas"] {
        check.not_negative(&format!("status.{name}"), &new["status"][name]);
    }
}

pub(super) fn disruption_budget(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let shown = json!({"MinAvailable": spec["minAvailable"], "Selector": spec["selector"],
            "MaxUnavailable": spec["maxUnavailable"],
            "UnhealthyPodEvictionPolicy": spec["unhealthyPodEvictionPolicy"]});
        check.invalid(
            "spec",
            shown,
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    for name in ["minAvailable", "maxUnavailable"] {
        let path = format!("spec.{name}");
        check.count_or_percent(&path, &spec[name]);
        not_over_100(&path, &spec[name], check);
    }
    if !spec["selector"].is_null() {
        check.selector("spec.selector", &spec["selector"]);
    }
}
