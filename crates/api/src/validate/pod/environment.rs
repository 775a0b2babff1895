//! Variables of a container: names, and that each value comes from one place that can be known
//! when the container starts.

use crate::field::FieldError;
use crate::names;
use crate::validate::check::{Check, list, text};
use serde_json::Value;

/// What of itself a pod can be told in its environment.
const ENVIRONMENT: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

pub(super) fn environment(container: &Value, path: &str, check: &mut Check) {
    for (index, variable) in list(&container["env"]).iter().enumerate() {
        let at = format!("{path}.env[{index}]");
        let name = text(&variable["name"]);
        if name.is_empty() {
            check.add(FieldError::required(format!("{at}.name"), ""));
        } else {
            check.names(&format!("{at}.name"), name, names::env_name(name));
        }
        let from = &variable["valueFrom"];
        let Some(from_map) = from.as_object() else {
            continue;
        };
        let at = format!("{at}.valueFrom");
        if !text(&variable["value"]).is_empty() {
            check.invalid(&at, "", "may not be specified when `value` is not empty");
        }
        match from_map.len() {
            0 => check.invalid(&at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"),
            1 => {}
            _ => check.invalid(&at, "", "may not have more than one field specified at a time"),
        }
        for reference in ["configMapKeyRef", "secretKeyRef"] {
            if !from[reference].is_null() {
                check.required(
                    &format!("{at}.{reference}.name"),
                    &from[reference]["name"],
                    "",
                );
                check.required(
                    &format!("{at}.{reference}.key"),
                    &from[reference]["key"],
                    "",
                );
            }
        }
        if !from["fieldRef"].is_null() {
            field_reference(&from["fieldRef"], &format!("{at}.fieldRef"), check);
        }
        if !from["resourceFieldRef"].is_null() {
            check.required(
                &format!("{at}.resourceFieldRef.resource"),
                &from["resourceFieldRef"]["resource"],
                "",
            );
        }
    }
    for (index, source) in list(&container["envFrom"]).iter().enumerate() {
        let at = format!("{path}.envFrom[{index}]");
        let given: Vec<&str> = ["configMapRef", "secretRef"]
            .into_iter()
            .filter(|name| !source[*name].is_null())
            .collect();
        match given.as_slice() {
            [] => check.invalid(
                &at,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            ),
            [name] => {
                check.required(&format!("{at}.{name}.name"), &source[*name]["name"], "");
            }
            _ => check.invalid(
                &at,
                "",
                "may not have more than one field specified at a time",
            ),
        }
    }
}

fn field_reference(reference: &Value, path: &str, check: &mut Check) {
    let at = format!("{path}.fieldPath");
    if !check.required(&at, &reference["fieldPath"], "") {
        return;
    }
    let field = text(&reference["fieldPath"]);
    let elsewhere = [
        "metadata.annotations",
        "metadata.labels",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
    ];
    if let Some((base, _)) = field
        .strip_suffix("']")
        .and_then(|field| field.split_once("['"))
    {
        if !matches!(base, "metadata.annotations" | "metadata.labels") {
            let why = format!(
                "error converting fieldPath: field label does not support subscript: {field}"
            );
            check.invalid(&at, field, why);
        }
    } else if elsewhere.contains(&field) {
        check.add(FieldError::unsupported(at, field, &ENVIRONMENT));
    } else if !ENVIRONMENT.contains(&field) && field != "spec.host" {
        let why = format!("error converting fieldPath: field label not supported: {field}");
        check.invalid(&at, field, why);
    }
}
