//! Rules of claims to devices, and of what offers them.

use super::check::{Check, IMMUTABLE, list, missing, text};
use crate::field::FieldError;
use crate::names;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) fn claim(new: &Value, old: Option<&Value>, check: &mut Check) {
    spec(&new["spec"], "spec", check);
    fixed(new, old, check);
}

pub(super) fn template(new: &Value, old: Option<&Value>, check: &mut Check) {
    check.labels("spec.metadata.labels", &new["spec"]["metadata"]["labels"]);
    spec(&new["spec"]["spec"], "spec.spec", check);
    fixed(new, old, check);
}

fn fixed(new: &Value, old: Option<&Value>, check: &mut Check) {
    if let Some(old) = old {
        check.immutable("spec", &new["spec"], &old["spec"]);
    }
}

fn spec(spec: &Value, path: &str, check: &mut Check) {
    let devices = &spec["devices"];
    let path = format!("{path}.devices");
    let mut known = HashSet::new();
    for (index, request) in list(&devices["requests"]).iter().enumerate() {
        let path = format!("{path}.requests[{index}]");
        let name = text(&request["name"]);
        if !known.insert(name.to_string()) {
            check.add(FieldError::duplicate(path.clone(), name));
        }
        for sub in list(&request["firstAvailable"]) {
            known.insert(format!("{name}/{}", text(&sub["name"])));
        }
        self::request(request, &path, check);
    }
    for (index, constraint) in list(&devices["constraints"]).iter().enumerate() {
        let path = format!("{path}.constraints[{index}]");
        for (at, name) in list(&constraint["requests"]).iter().map(text).enumerate() {
            if !known.contains(name) {
                let why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
                check.invalid(&format!("{path}.requests[{at}]"), name, why);
            }
        }
        if missing(&constraint["matchAttribute"]) && missing(&constraint["distinctAttribute"]) {
            let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
            check.add(FieldError::required(path, why));
        }
    }
    configs(&devices["config"], &format!("{path}.config"), check);
}

fn request(request: &Value, path: &str, check: &mut Check) {
    request_name(request, path, check);
    let (exactly, first) = (&request["exactly"], list(&request["firstAvailable"]));
    match (exactly.is_null(), first.is_empty()) {
        (true, true) => {
            let why = "exactly one of `exactly` or `firstAvailable` is required";
            check.add(FieldError::required(path, why));
        }
        (false, false) => {
            let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            check.invalid(path, Value::Null, why);
        }
        (false, true) => exact(exactly, &format!("{path}.exactly"), check),
        (true, false) => {
            for (index, sub) in first.iter().enumerate() {
                let path = format!("{path}.firstAvailable[{index}]");
                request_name(sub, &path, check);
                exact(sub, &path, check);
            }
        }
    }
}

fn request_name(request: &Value, path: &str, check: &mut Check) {
    let at = format!("{path}.name");
    if check.required(&at, &request["name"], "") {
        let name = text(&request["name"]);
        check.names(&at, name, names::dns1123_label(name));
    }
}

fn exact(exact: &Value, path: &str, check: &mut Check) {
    let at = format!("{path}.deviceClassName");
    if check.required(&at, &exact["deviceClassName"], "") {
        let name = text(&exact["deviceClassName"]);
        check.names(&at, name, names::dns1123_subdomain(name));
    }
    selectors(&exact["selectors"], &format!("{path}.selectors"), check);
    let at = format!("{path}.count");
    let count = exact["count"].as_i64();
    match text(&exact["allocationMode"]) {
        "All" if count.is_some_and(|count| count != 0) => {
            let why = "must not be specified when allocationMode is 'All'";
            check.invalid(&at, count.unwrap_or(0), why);
        }
        "ExactCount" if count.is_none_or(|count| count <= 0) => {
            check.invalid(&at, count.unwrap_or(0), "must be greater than zero");
        }
        _ => {}
    }
}

fn selectors(selectors: &Value, path: &str, check: &mut Check) {
    for (index, selector) in list(selectors).iter().enumerate() {
        let at = format!("{path}[{index}].cel");
        if selector["cel"].is_null() {
            check.add(FieldError::required(at, ""));
        } else {
            let why = "";
            check.required(
                &format!("{at}.expression"),
                &selector["cel"]["expression"],
                why,
            );
        }
    }
}

fn configs(configs: &Value, path: &str, check: &mut Check) {
    for (index, config) in list(configs).iter().enumerate() {
        let at = format!("{path}[{index}].opaque");
        if config["opaque"].is_null() {
            check.add(FieldError::required(at, ""));
        } else {
            check.required(&format!("{at}.driver"), &config["opaque"]["driver"], "");
        }
    }
}

pub(super) fn class(new: &Value, check: &mut Check) {
    selectors(&new["spec"]["selectors"], "spec.selectors", check);
    configs(&new["spec"]["config"], "spec.config", check);
}

pub(super) fn slice(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    for (path, value, rule) in [
        (
            "spec.driver",
            &spec["driver"],
            names::dns1123_subdomain as fn(&str) -> Vec<String>,
        ),
        (
            "spec.pool.name",
            &spec["pool"]["name"],
            names::dns1123_subdomain,
        ),
    ] {
        if check.required(path, value, "") {
            check.names(path, text(value), rule(text(value)));
        }
    }
    if let Some(old) = old {
        for key in ["nodeName", "driver"] {
            check.immutable(&format!("spec.{key}"), &spec[key], &old["spec"][key]);
        }
        let (pool, before) = (&spec["pool"]["name"], &old["spec"]["pool"]["name"]);
        if pool != before {
            check.invalid("spec.pool.name", json!(pool), IMMUTABLE);
        }
    }
}
