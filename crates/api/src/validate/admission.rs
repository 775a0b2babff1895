//! Rules of webhook configurations.

use super::check::{Check, list, text};
use crate::field::FieldError;
use crate::names;
use serde_json::Value;
use std::collections::HashSet;

pub(super) fn webhooks(new: &Value, check: &mut Check) {
    let mut seen = HashSet::new();
    for (at, webhook) in list(&new["webhooks"]).iter().enumerate() {
        let path = |name: &str| format!("webhooks[{at}].{name}");
        let name = text(&webhook["name"]);
        if name.is_empty() {
            check.add(FieldError::required(path("name"), ""));
        } else if name.split('.').filter(|label| !label.is_empty()).count() < 3 {
            check.invalid(
                &path("name"),
                name,
                "should be a domain with at least three segments separated by dots",
            );
        } else {
            check.names(&path("name"), name, names::dns1123_subdomain(name));
        }
        if !name.is_empty() && !seen.insert(name) {
            check.add(FieldError::duplicate(path("name"), name));
        }
        client(&webhook["clientConfig"], &path("clientConfig"), check);
        let effects = text(&webhook["sideEffects"]);
        if effects.is_empty() {
            check.add(FieldError::required(
                path("sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        } else if !matches!(effects, "None" | "NoneOnDryRun") {
            check.one_of(
                &path("sideEffects"),
                &webhook["sideEffects"],
                &["None", "NoneOnDryRun"],
            );
        }
        if list(&webhook["admissionReviewVersions"]).is_empty() {
            check.add(FieldError::required(
                path("admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            ));
        }
        if let Some(seconds) = webhook["timeoutSeconds"]
            .as_i64()
            .filter(|seconds| !(1..=30).contains(seconds))
        {
            check.invalid(
                &path("timeoutSeconds"),
                seconds,
                "the timeout value must be between 1 and 30 seconds",
            );
        }
        for part in ["namespaceSelector", "objectSelector"] {
            if !webhook[part].is_null() {
                check.selector(&path(part), &webhook[part]);
            }
        }
        conditions(&webhook["matchConditions"], &path("matchConditions"), check);
    }
}

fn conditions(conditions: &Value, path: &str, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, condition) in list(conditions).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = text(&condition["name"]);
        check.required(&format!("{path}.name"), &condition["name"], "");
        check.required(&format!("{path}.expression"), &condition["expression"], "");
        if !name.is_empty() && !seen.insert(name) {
            check.add(FieldError::duplicate(format!("{path}.name"), name));
        }
    }
}

fn client(client: &Value, path: &str, check: &mut Check) {
    let (url, service) = (&client["url"], &client["service"]);
    if url.is_null() == service.is_null() {
        return check.add(FieldError::required(
            path,
            "exactly one of url or service is required",
        ));
    }
    if let Some(url) = url.as_str() {
        self::url(url, &format!("{path}.url"), check);
        return;
    }
    let path = format!("{path}.service");
    for key in ["name", "namespace"] {
        check.required(&format!("{path}.{key}"), &service[key], "");
    }
    if let Some(port) = service["port"].as_i64() {
        for why in names::port_number(port) {
            let why = format!("port is not valid: {why}");
            check.invalid(&format!("{path}.port"), port, why);
        }
    }
    if let Some(place) = service["path"].as_str() {
        service_path(place, &format!("{path}.path"), check);
    }
}

fn url(url: &str, path: &str, check: &mut Check) {
    const FORM: &str = "desired format: https://host[/path]";
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    if scheme != "https" {
        let why = format!("'https' is the only allowed URL scheme; {FORM}");
        check.invalid(path, scheme, why);
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        let why = format!("host must be specified; {FORM}");
        check.invalid(path, host, why);
    }
    if !user.is_empty() {
        let why = "user information is not permitted in the URL";
        check.invalid(path, user, why);
    }
    for (part, what) in [(fragment, "fragments are"), (query, "query parameters are")] {
        if !part.is_empty() {
            check.invalid(path, part, format!("{what} not permitted in the URL"));
        }
    }
}

fn service_path(place: &str, path: &str, check: &mut Check) {
    if place.is_empty() || place == "/" {
        return;
    }
    if place == "//" {
        return check.invalid(path, place, "segment[0] may not be empty");
    }
    if !place.starts_with('/') {
        check.invalid(path, place, "must start with a '/'");
    }
    let inner = place.get(1..).unwrap_or_default();
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    for (index, segment) in inner.split('/').enumerate() {
        if segment.is_empty() {
            check.invalid(path, place, format!("segment[{index}] may not be empty"));
            continue;
        }
        for why in names::dns1123_subdomain(segment) {
            check.invalid(path, place, format!("segment[{index}]: {why}"));
        }
    }
}
