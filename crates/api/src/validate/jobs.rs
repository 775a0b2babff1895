//! Rules of jobs and what makes them.

use super::check::{Check, IMMUTABLE, list, selects, text};
use super::pod;
use crate::cron;
use crate::field::FieldError;
use crate::names;
use serde_json::{Value, json};
use std::collections::HashSet;

const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;

pub(super) fn job(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    job_spec(spec, "spec", check);
    if spec["selector"].is_null() {
        check.add(FieldError::required("spec.selector", ""));
    } else if spec["manualSelector"] != true && old.is_none() {
        generated(new, check);
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
        check.invalid("spec.template", spec["template"].clone(), IMMUTABLE);
    }
}

/// A selector that the server makes is its own alone.
fn generated(job: &Value, check: &mut Check) {
    let selector = &job["spec"]["selector"];
    let uid = &job["metadata"]["uid"];
    let wanted = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    let legacy = json!({"matchLabels": {"controller-uid": uid}});
    if !uid.is_null() && *selector != wanted && *selector != legacy {
        check.invalid(
            "spec.selector",
            sorted(selector),
            "`selector` not auto-generated",
        );
    }
}

/// Maps as Go prints them: by key.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_str());
            pairs
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn job_spec(spec: &Value, path: &str, check: &mut Check) {
    let at = |name: &str| format!("{path}.{name}");
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
        "ttlSecondsAfterFinished",
    ] {
        check.not_negative(&at(name), &spec[name]);
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        let why = "when maxFailedIndexes is specified";
        check.add(FieldError::required(at("backoffLimitPerIndex"), why));
    }
    if let Some(by) = spec["managedBy"].as_str() {
        check.domain_path(&at("managedBy"), by);
    }
    match text(&spec["completionMode"]) {
        "Indexed" => indexed(spec, path, check),
        "" | "NonIndexed" => {
            for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(given) = spec[name].as_i64() {
                    check.invalid(&at(name), given, "requires indexed completion mode");
                }
            }
        }
        other => check.add(FieldError::unsupported(
            at("completionMode"),
            other,
            &["NonIndexed", "Indexed"],
        )),
    }
    if !spec["podFailurePolicy"].is_null() {
        failure_policy(spec, &at("podFailurePolicy"), check);
    }
    if !spec["successPolicy"].is_null() {
        success_policy(spec, &at("successPolicy"), check);
    }
    let replacement = text(&spec["podReplacementPolicy"]);
    if !spec["podFailurePolicy"].is_null() && replacement == "TerminatingOrFailed" {
        let error = FieldError::unsupported(at("podReplacementPolicy"), replacement, &["Failed"]);
        check.add(error);
    }
    pod::template(&spec["template"], &at("template"), check);
    let policy = text(&spec["template"]["spec"]["restartPolicy"]);
    let at = at("template.spec.restartPolicy");
    match policy {
        "OnFailure" if !spec["podFailurePolicy"].is_null() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            check.invalid(&at, policy, why);
        }
        "" | "Always" => {
            check.add(FieldError::required(
                at,
                "valid values: \"OnFailure\", \"Never\"",
            ));
        }
        _ => {}
    }
}

fn indexed(spec: &Value, path: &str, check: &mut Check) {
    let number = |name: &str| spec[name].as_i64();
    if spec["completions"].is_null() {
        check.add(FieldError::required(
            format!("{path}.completions"),
            "when completion mode is Indexed",
        ));
    }
    if let Some(parallelism) = number("parallelism").filter(|n| *n > 100_000) {
        check.invalid(
            &format!("{path}.parallelism"),
            parallelism,
            "must be less than or equal to 100000 when completion mode is Indexed",
        );
    }
    if let (Some(failed), Some(all)) = (number("maxFailedIndexes"), number("completions"))
        && failed > all
    {
        check.invalid(
            &format!("{path}.maxFailedIndexes"),
            failed,
            "must be less than or equal to completions",
        );
    }
}

fn failure_policy(spec: &Value, path: &str, check: &mut Check) {
    let rules = list(&spec["podFailurePolicy"]["rules"]);
    if rules.len() > MOST_RULES {
        let at = format!("{path}.rules");
        check.add(FieldError::too_many(at, rules.len(), MOST_RULES));
    }
    let template = &spec["template"]["spec"];
    let names: HashSet<&str> = list(&template["containers"])
        .iter()
        .chain(list(&template["initContainers"]))
        .map(|container| text(&container["name"]))
        .collect();
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}.rules[{index}]");
        let action = text(&rule["action"]);
        if action == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
            let why = "requires the backoffLimitPerIndex to be set";
            check.invalid(&format!("{path}.action"), action, why);
        } else if action.is_empty() {
            let why = "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]";
            check.add(FieldError::required(format!("{path}.action"), why));
        }
        let (codes, conditions) = (&rule["onExitCodes"], list(&rule["onPodConditions"]));
        if !codes.is_null() {
            exit_codes(codes, &format!("{path}.onExitCodes"), &names, check);
        }
        for (at, condition) in conditions.iter().enumerate() {
            let path = format!("{path}.onPodConditions[{at}]");
            let kind = text(&condition["type"]);
            check.names(&format!("{path}.type"), kind, names::qualified_name(kind));
            let supported = ["False", "True", "Unknown"];
            if !supported.contains(&text(&condition["status"])) {
                check.one_of(&format!("{path}.status"), &condition["status"], &supported);
            }
        }
        let both = match (codes.is_null(), conditions.is_empty()) {
            (false, false) => "both OnExitCodes and OnPodConditions is not supported",
            (true, true) => "one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        check.invalid_plain(&path, format!("specifying {both}"));
    }
}

fn exit_codes(codes: &Value, path: &str, names: &HashSet<&str>, check: &mut Check) {
    if let Some(name) = codes["containerName"].as_str()
        && !names.contains(name)
    {
        check.invalid(
            &format!("{path}.containerName"),
            name,
            "must be one of the container or initContainer names in the pod template",
        );
    }
    let at = format!("{path}.values");
    let values: Vec<i64> = list(&codes["values"])
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    if values.is_empty() {
        check.invalid(&at, json!([]), "at least one value is required");
    } else if values.len() > MOST_CODES {
        check.add(FieldError::too_many(at.clone(), values.len(), MOST_CODES));
    }
    let mut seen = HashSet::new();
    for (index, code) in values.iter().enumerate() {
        if text(&codes["operator"]) == "In" && *code == 0 {
            let why = "must not be 0 for the In operator";
            check.invalid(&format!("{at}[{index}]"), *code, why);
        }
        if !seen.insert(code) {
            check.add(FieldError::duplicate(format!("{at}[{index}]"), *code));
        }
    }
    if !values.is_sorted() {
        check.invalid(&at, json!(values), "must be ordered");
    }
}

fn success_policy(spec: &Value, path: &str, check: &mut Check) {
    let rules = list(&spec["successPolicy"]["rules"]);
    if text(&spec["completionMode"]) != "Indexed" {
        let shown: Vec<Value> = rules
            .iter()
            .map(|rule| {
                json!({"SucceededIndexes": rule["succeededIndexes"], "SucceededCount": rule["succeededCount"]})
            })
            .collect();
        let why = "requires indexed completion mode";
        return check.invalid(path, json!({"Rules": shown}), why);
    }
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        check.add(FieldError::required(format!("{path}.rules"), why));
    }
    if rules.len() > MOST_RULES {
        let at = format!("{path}.rules");
        check.add(FieldError::too_many(at, rules.len(), MOST_RULES));
    }
    let all = spec["completions"].as_i64().unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}.rules[{index}]");
        let (count, indexes) = (
            rule["succeededCount"].as_i64(),
            rule["succeededIndexes"].as_str(),
        );
        if count.is_none() && indexes.is_none() {
            let why = "at least one of succeededCount or succeededIndexes must be specified";
            check.add(FieldError::required(path.clone(), why));
        }
        let mut named = None;
        if let Some(text) = indexes {
            match count_indexes(text, all) {
                Ok(count) => named = Some(count),
                Err(why) => {
                    named = Some(0);
                    let why = format!("error parsing succeededIndexes: {why}");
                    check.invalid(&format!("{path}.succeededIndexes"), text, why);
                }
            }
        }
        let Some(count) = count else { continue };
        let at = format!("{path}.succeededCount");
        check.not_negative(&at, &rule["succeededCount"]);
        if count > all {
            let why = format!(
                "must be less than or equal to {all} (the number of specified completions)"
            );
            check.invalid(&at, count, why);
        }
        if let Some(named) = named.filter(|named| count > *named) {
            let why = format!(
                "must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
            );
            check.invalid(&at, count, why);
        }
    }
}

/// How many indexes `0,2-4` names; they grow, and none is beyond the last.
fn count_indexes(text: &str, all: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let (mut last, mut count) = (None::<i64>, 0);
    for part in text.split(',') {
        let bounds: Vec<&str> = part.split('-').collect();
        if bounds.len() > 2 {
            return Err(format!("the fraction \"{part}\" is invalid"));
        }
        let mut first = None;
        for bound in bounds {
            let number: i64 = bound.parse().map_err(|_| {
                format!(
                    "cannot convert string to integer for index: {}",
                    crate::field::quote(bound)
                )
            })?;
            if number >= all {
                return Err(format!("too large index: {}", crate::field::quote(bound)));
            }
            if let Some(last) = last.filter(|last| *last >= number) {
                return Err(format!(
                    "non-increasing order, previous: {last}, current: {number}"
                ));
            }
            last = Some(number);
            first.get_or_insert(number);
        }
        count += last.unwrap_or(0) - first.unwrap_or(0) + 1;
    }
    Ok(count)
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
    let path = "spec.jobTemplate.spec";
    let job = &spec["jobTemplate"]["spec"];
    if job["manualSelector"] == true {
        let at = format!("{path}.manualSelector");
        check.add(FieldError::unsupported(at, true, &["nil", "false"]));
    }
    job_spec(job, path, check);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted() {
        assert_eq!(count_indexes("0,2-4", 5), Ok(4));
        assert_eq!(count_indexes("", 5), Ok(0));
        for bad in ["2-1", "0-7", "a", "1,1", "0-1-2"] {
            assert!(count_indexes(bad, 5).is_err(), "{bad}");
        }
    }
}
