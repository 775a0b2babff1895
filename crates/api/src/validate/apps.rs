//! Rules of workloads and of what scales and protects them.

use super::check::{Check, list, missing, percent, selects, text};
use super::pod;
use crate::field::FieldError;
use serde_json::{Value, json};

const STATEFUL_SET_UPDATE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// Selector given, not empty, matching the template.
fn selector_and_template(spec: &Value, what: &str, check: &mut Check) {
    let selector = &spec["selector"];
    if selector.is_null() {
        if what != "daemonset" {
            check.add(FieldError::required("spec.selector", ""));
        }
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

/// A strategy that does not exist is shown whole.
fn strategy(value: &Value, path: &str, kinds: &[&str], check: &mut Check) {
    let kind = text(&value["type"]);
    if !kinds.contains(&kind) {
        let shown = json!({"Type": kind, "RollingUpdate": value["rollingUpdate"]});
        check.add(FieldError::unsupported(path, shown, kinds));
    }
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
    } else if !spec["template"].is_null() {
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
    // Upstream has it so.
    selector_and_template(&new["spec"], "deployment", check);
    long_running(&new["spec"]["template"], "ReplicaSet", check);
    same_selector(new, old, check);
}

pub(super) fn deployment(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    counts(spec, check);
    selector_and_template(spec, "deployment", check);
    long_running(&spec["template"], "ReplicaSet", check);
    let strategy = &spec["strategy"];
    let kinds = ["Recreate", "RollingUpdate"];
    self::strategy(strategy, "spec.strategy", &kinds, check);
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

pub(super) fn not_over_100(path: &str, value: &Value, check: &mut Check) {
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
    let kinds = ["RollingUpdate", "OnDelete"];
    strategy(
        &spec["updateStrategy"],
        "spec.updateStrategy",
        &kinds,
        check,
    );
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    if !rolling.is_null() {
        let path = "spec.updateStrategy.rollingUpdate";
        for name in ["maxUnavailable", "maxSurge"] {
            not_over_100(&format!("{path}.{name}"), &rolling[name], check);
        }
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
    for name in ["replicas", "minReadySeconds"] {
        check.not_negative(&format!("spec.{name}"), &spec[name]);
    }
    check.not_negative("spec.ordinals.start", &spec["ordinals"]["start"]);
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    if spec["updateStrategy"]["type"] == "OnDelete" && !rolling.is_null() {
        let shown = json!({
            "Partition": rolling["partition"],
            "MaxUnavailable": rolling["maxUnavailable"],
        });
        let why = "only allowed for updateStrategy 'RollingUpdate'";
        check.invalid("spec.updateStrategy.rollingUpdate", shown, why);
    }
    let path = "spec.updateStrategy.rollingUpdate.partition";
    check.not_negative(path, &rolling["partition"]);
    let retention = &spec["persistentVolumeClaimRetentionPolicy"];
    for name in ["whenDeleted", "whenScaled"] {
        let kinds = ["Retain", "Delete"];
        if !missing(&retention[name]) && !kinds.contains(&text(&retention[name])) {
            let path = format!("spec.persistentVolumeClaimRetentionPolicy.{name}");
            check.one_of(&path, &retention[name], &kinds);
        }
    }
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
