//! Rules of workloads and of what scales and protects them.

use super::check::{Check, list, missing, percent, selects, text};
use super::pod;
use crate::cron;
use crate::field::FieldError;
use serde_json::{Value, json};

const STATEFUL_SET_UPDATE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// Selector given, not empty, matching the template.
fn selector_and_template(spec: &Value, what: &str, check: &mut Check) {
    let selector = &spec["selector"];
    if selector.is_null() {
        check.add(FieldError::required("spec.selector", ""));
    } else {
        check.selector("spec.selector", selector);
        let empty = selector["matchLabels"]
            .as_object()
            .is_none_or(|map| map.is_empty())
            && list(&selector["matchExpressions"]).is_empty();
        if empty {
            check.invalid(
                "spec.selector",
                selector.clone(),
                format!("empty selector is invalid for {what}"),
            );
        }
    }
    selects(check, selector, &spec["template"], "spec.template");
}

fn long_running(template: &Value, what: &str, check: &mut Check) {
    pod::template(template, "spec.template", check);
    let policy = text(&template["spec"]["restartPolicy"]);
    if policy != "Always" {
        check.add(FieldError::unsupported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let why = format!("activeDeadlineSeconds in {what} is not Supported");
        check.add(FieldError::forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            why,
        ));
    }
}

fn counts(spec: &Value, check: &mut Check) {
    for name in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        check.not_negative(&format!("spec.{name}"), &spec[name]);
    }
}

fn same_selector(new: &Value, old: Option<&Value>, check: &mut Check) {
    if let Some(old) = old {
        check.immutable(
            "spec.selector",
            &new["spec"]["selector"],
            &old["spec"]["selector"],
        );
    }
}

pub(super) fn replication_controller(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    counts(spec, check);
    let selector = &spec["selector"];
    if selector.as_object().is_none_or(|map| map.is_empty()) {
        check.add(FieldError::required("spec.selector", ""));
    } else {
        selects(
            check,
            &json!({"matchLabels": selector}),
            &spec["template"],
            "spec.template",
        );
    }
    if check.required("spec.template", &spec["template"], "") {
        long_running(&spec["template"], "ReplicationController", check);
    }
}

pub(super) fn replica_set(new: &Value, old: Option<&Value>, check: &mut Check) {
    counts(&new["spec"], check);
    selector_and_template(&new["spec"], "replicaset", check);
    long_running(&new["spec"]["template"], "ReplicaSet", check);
    same_selector(new, old, check);
}

pub(super) fn deployment(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    counts(spec, check);
    selector_and_template(spec, "deployment", check);
    long_running(&spec["template"], "ReplicaSet", check);
    let strategy = &spec["strategy"];
    match text(&strategy["type"]) {
        "Recreate" if !strategy["rollingUpdate"].is_null() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            check.add(FieldError::forbidden("spec.strategy.rollingUpdate", why));
        }
        "RollingUpdate" => {
            let rolling = &strategy["rollingUpdate"];
            let path = "spec.strategy.rollingUpdate.maxUnavailable";
            check.count_or_percent(path, &rolling["maxUnavailable"]);
            check.count_or_percent("spec.strategy.rollingUpdate.maxSurge", &rolling["maxSurge"]);
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                check.invalid(
                    path,
                    rolling["maxUnavailable"].clone(),
                    "may not be 0 when `maxSurge` is 0",
                );
            }
            not_over_100(path, &rolling["maxUnavailable"], check);
        }
        _ => {}
    }
    let deadline = &spec["progressDeadlineSeconds"];
    check.not_negative("spec.progressDeadlineSeconds", deadline);
    if let Some(seconds) = deadline.as_i64()
        && seconds <= spec["minReadySeconds"].as_i64().unwrap_or(0)
    {
        check.invalid(
            "spec.progressDeadlineSeconds",
            seconds,
            "must be greater than minReadySeconds",
        );
    }
    same_selector(new, old, check);
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || value.as_str().is_some_and(|text| percent(text) == Some(0))
}

fn not_over_100(path: &str, value: &Value, check: &mut Check) {
    if value
        .as_str()
        .and_then(percent)
        .is_some_and(|percent| percent > 100)
    {
        check.invalid(path, value.clone(), "must not be greater than 100%");
    }
}

pub(super) fn daemon_set(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    counts(spec, check);
    selector_and_template(spec, "daemonset", check);
    long_running(&spec["template"], "DaemonSet", check);
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    if !rolling.is_null() {
        let path = "spec.updateStrategy.rollingUpdate";
        check.count_or_percent(
            &format!("{path}.maxUnavailable"),
            &rolling["maxUnavailable"],
        );
        check.count_or_percent(&format!("{path}.maxSurge"), &rolling["maxSurge"]);
        match (
            is_zero(&rolling["maxUnavailable"]),
            is_zero(&rolling["maxSurge"]),
        ) {
            (true, true) => check.add(FieldError::required(
                format!("{path}.maxUnavailable"),
                "cannot be 0 when maxSurge is 0",
            )),
            (false, false) if !rolling["maxSurge"].is_null() => {
                check.invalid(
                    &format!("{path}.maxSurge"),
                    rolling["maxSurge"].clone(),
                    "may not be set when maxUnavailable is non-zero",
                );
            }
            _ => {}
        }
    }
    same_selector(new, old, check);
}

pub(super) fn stateful_set(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    counts(spec, check);
    selector_and_template(spec, "statefulset", check);
    let policy = text(&spec["podManagementPolicy"]);
    if !matches!(policy, "OrderedReady" | "Parallel") {
        check.invalid(
            "spec.podManagementPolicy",
            policy,
            "must be 'OrderedReady' or 'Parallel'",
        );
    }
    let strategy = text(&spec["updateStrategy"]["type"]);
    if !matches!(strategy, "RollingUpdate" | "OnDelete") {
        let shown = json!({"Type": strategy, "RollingUpdate": null});
        check.invalid(
            "spec.updateStrategy",
            shown,
            "must be 'RollingUpdate' or 'OnDelete'",
        );
    }
    let name = text(&spec["serviceName"]);
    if !name.is_empty() && old.is_none() {
        check.names("spec.serviceName", name, crate::names::dns1123_label(name));
    }
    // Claims become volumes of the pods, so mounts may name them.
    let mut template = spec["template"].clone();
    let claims = list(&spec["volumeClaimTemplates"]);
    if !claims.is_empty() && template["spec"].is_object() {
        let claimed = |volume: &Value| {
            claims
                .iter()
                .any(|claim| claim["metadata"]["name"] == volume["name"])
        };
        let own = list(&template["spec"]["volumes"])
            .iter()
            .filter(|volume| !claimed(volume))
            .cloned();
        let added = claims.iter().map(|claim| {
            let name = &claim["metadata"]["name"];
            json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
        });
        template["spec"]["volumes"] = added.chain(own).collect();
    }
    long_running(&template, "StatefulSet", check);
    if old.is_none() {
        for (at, claim) in claims.iter().enumerate() {
            let path = format!("spec.volumeClaimTemplates[{at}]");
            check.required(
                &format!("{path}.metadata.name"),
                &claim["metadata"]["name"],
                "",
            );
            super::storage::claim_spec(&claim["spec"], &format!("{path}.spec"), check);
        }
    }
    if let Some(old) = old {
        let free = [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ];
        if differs_beyond(spec, &old["spec"], &free) {
            check.add(FieldError::forbidden("spec", STATEFUL_SET_UPDATE));
        }
    }
}

/// Whether two objects differ in other fields than the named ones. The status of claim templates
/// is no part of the wish.
fn differs_beyond(new: &Value, old: &Value, free: &[&str]) -> bool {
    let fixed = |value: &Value| {
        let mut value = value.clone();
        if let Some(map) = value.as_object_mut() {
            map.retain(|key, value| !free.contains(&key.as_str()) && !value.is_null());
        }
        for claim in value["volumeClaimTemplates"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            if let Some(claim) = claim.as_object_mut() {
                claim.shift_remove("status");
            }
        }
        value
    };
    fixed(new) != fixed(old)
}

pub(super) fn controller_revision(new: &Value, old: Option<&Value>, check: &mut Check) {
    check.not_negative("revision", &new["revision"]);
    if missing(&new["data"]) {
        check.add(FieldError::required("data", "data is mandatory"));
    }
    if let Some(old) = old {
        check.immutable("data", &new["data"], &old["data"]);
    }
}

pub(super) fn job(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    job_spec(spec, "spec", check);
    if spec["selector"].is_null() {
        check.add(FieldError::required("spec.selector", ""));
    }
    selects(check, &spec["selector"], &spec["template"], "spec.template");
    let Some(old) = old else { return };
    let before = &old["spec"];
    for name in [
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        check.immutable(&format!("spec.{name}"), &spec[name], &before[name]);
    }
    let elastic =
        text(&spec["completionMode"]) == "Indexed" && spec["completions"] == spec["parallelism"];
    if !elastic {
        check.immutable(
            "spec.completions",
            &spec["completions"],
            &before["completions"],
        );
    }
    let waits = before["suspend"] == true && old["status"]["startTime"].is_null();
    let (mut template, mut stored) = (spec["template"].clone(), before["template"].clone());
    if waits {
        for template in [&mut template, &mut stored] {
            template["metadata"] = Value::Null;
            if let Some(spec) = template["spec"].as_object_mut() {
                for key in ["nodeSelector", "tolerations", "affinity", "schedulingGates"] {
                    spec.shift_remove(key);
                }
            }
        }
    }
    if template != stored {
        check.invalid(
            "spec.template",
            spec["template"].clone(),
            super::check::IMMUTABLE,
        );
    }
}

fn job_spec(spec: &Value, path: &str, check: &mut Check) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
        "ttlSecondsAfterFinished",
    ] {
        check.not_negative(&format!("{path}.{name}"), &spec[name]);
    }
    if text(&spec["completionMode"]) == "Indexed" && spec["completions"].is_null() {
        check.add(FieldError::required(
            format!("{path}.completions"),
            "when completion mode is Indexed",
        ));
    }
    pod::template(&spec["template"], &format!("{path}.template"), check);
    let policy = text(&spec["template"]["spec"]["restartPolicy"]);
    let at = format!("{path}.template.spec.restartPolicy");
    match policy {
        "OnFailure" | "Never" => {}
        "" | "Always" => {
            check.add(FieldError::required(
                at,
                "valid values: \"OnFailure\", \"Never\"",
            ));
        }
        _ => {}
    }
}

pub(super) fn cron_job(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    if check.required("spec.schedule", &spec["schedule"], "") {
        let schedule = text(&spec["schedule"]);
        if schedule.contains("TZ") {
            check.invalid(
                "spec.schedule",
                schedule,
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            );
        } else if let Err(why) = cron::parse(schedule) {
            check.invalid("spec.schedule", schedule, why);
        }
    }
    for name in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        check.not_negative(&format!("spec.{name}"), &spec[name]);
    }
    job_spec(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", check);
}

pub(super) fn autoscaler(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    let target = &spec["scaleTargetRef"];
    check.required("spec.scaleTargetRef.kind", &target["kind"], "");
    check.required("spec.scaleTargetRef.name", &target["name"], "");
    let version = text(&target["apiVersion"]);
    if !version.contains('/') && text(&target["kind"]) != "ReplicationController" {
        check.invalid(
            "spec.scaleTargetRef.apiVersion",
            version,
            "apiVersion must specify API group",
        );
    }
    let min = spec["minReplicas"].as_i64();
    if let Some(min) = min.filter(|min| *min < 1) {
        check.invalid(
            "spec.minReplicas",
            min,
            "must be greater than or equal to 1",
        );
    }
    let max = spec["maxReplicas"].as_i64().unwrap_or(0);
    if max < 1 {
        check.invalid("spec.maxReplicas", max, "must be greater than 0");
    }
    if min.is_some_and(|min| max < min) {
        check.invalid(
            "spec.maxReplicas",
            max,
            "must be greater than or equal to `minReplicas`",
        );
    }
    for (at, metric) in list(&spec["metrics"]).iter().enumerate() {
        let path = format!("spec.metrics[{at}]");
        if check.required(
            &format!("{path}.type"),
            &metric["type"],
            "must specify a metric source type",
        ) && text(&metric["type"]) == "Resource"
        {
            check.required(
                &format!("{path}.resource.name"),
                &metric["resource"]["name"],
                "must specify a resource name",
            );
            let target = &metric["resource"]["target"];
            if target["averageUtilization"].is_null() && target["averageValue"].is_null() {
                check.add(FieldError::required(
                    format!("{path}.resource.target.averageUtilization"),
                    "must set either a target raw value or a target utilization",
                ));
            }
            check.positive(
                &format!("{path}.resource.target.averageUtilization"),
                &target["averageUtilization"],
            );
        }
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
