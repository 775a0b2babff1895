//! Rules of one container, of whatever kind: its name, image, ports and resources, and what only
//! some kinds may have. Containers for debugging are others with less, so they are checked as
//! such without what they may not have.

use super::environment::environment;
use super::probes::{handler, probe};
use super::volumes::mounts;
use crate::field::FieldError;
use crate::names;
use crate::quantity::Quantity;
use crate::validate::check::{Check, entries, list, missing, text};
use serde_json::{Value, json};
use std::collections::HashSet;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn container(
    container: &Value,
    path: &str,
    volumes: &HashSet<String>,
    init: bool,
    check: &mut Check,
) {
    let at = |name: &str| format!("{path}.{name}");
    let name = text(&container["name"]);
    if name.is_empty() {
        check.add(FieldError::required(at("name"), ""));
    } else {
        check.names(&at("name"), name, names::dns1123_label(name));
    }
    let image = text(&container["image"]);
    if image.is_empty() {
        check.add(FieldError::required(at("image"), ""));
    } else if image.trim() != image {
        check.invalid(
            &at("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
    ports(&container["ports"], &at("ports"), check);
    environment(container, path, check);
    mounts(
        &container["volumeMounts"],
        &at("volumeMounts"),
        volumes,
        check,
    );
    resources(&container["resources"], &at("resources"), check);
    let sidecar = text(&container["restartPolicy"]) == "Always";
    if init && !sidecar {
        for name in [
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ] {
            if !container[name].is_null() {
                check.add(FieldError::forbidden(
                    at(name),
                    "may not be set for init containers without restartPolicy=Always",
                ));
            }
        }
        return;
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        probe(&container[name], &at(name), name != "readinessProbe", check);
    }
    for hook in ["postStart", "preStop"] {
        let value = &container["lifecycle"][hook];
        if !value.is_null() {
            handler(value, &format!("{}.{hook}", at("lifecycle")), check);
        }
    }
}

fn ports(ports: &Value, path: &str, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, port) in list(ports).iter().enumerate() {
        let at = |name: &str| format!("{path}[{index}].{name}");
        let name = text(&port["name"]);
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if wrong.is_empty() && !seen.insert(name) {
                check.add(FieldError::duplicate(at("name"), name));
            }
            check.names(&at("name"), name, wrong);
        }
        if port["containerPort"].as_i64().unwrap_or(0) == 0 {
            check.add(FieldError::required(at("containerPort"), ""));
        } else {
            check.port(&at("containerPort"), &port["containerPort"]);
        }
        if port["hostPort"].as_i64().unwrap_or(0) != 0 {
            check.port(&at("hostPort"), &port["hostPort"]);
        }
        // Other protocols are found by the closed list.
        if missing(&port["protocol"]) {
            check.one_of(&at("protocol"), &json!("TCP"), &PROTOCOLS);
        }
    }
}

pub(super) fn host_ports(containers: &[Value], path: &str, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (at, port) in list(&container["ports"]).iter().enumerate() {
            let number = port["hostPort"].as_i64().unwrap_or(0);
            if number == 0 {
                continue;
            }
            let key = format!(
                "{}/{}/{number}",
                text(&port["protocol"]),
                text(&port["hostIP"])
            );
            if !seen.insert(key.clone()) {
                check.add(FieldError::duplicate(
                    format!("{path}[{index}].ports[{at}].hostPort"),
                    key,
                ));
            }
        }
    }
}

/// Requests within limits; extended resources equal.
fn resources(resources: &Value, path: &str, check: &mut Check) {
    check.amounts(&format!("{path}.limits"), &resources["limits"]);
    check.amounts(&format!("{path}.requests"), &resources["requests"]);
    for (name, request) in entries(&resources["requests"]) {
        let read = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
        let Some(request_amount) = read(request) else {
            continue;
        };
        let limit = &resources["limits"][name.as_str()];
        let Some(limit_amount) = read(limit) else {
            continue;
        };
        let overcommits = !name.contains('/') && !name.starts_with("hugepages-");
        let at = format!("{path}.requests");
        if overcommits && request_amount > limit_amount {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                text(limit)
            );
            check.invalid(&at, request.clone(), why);
        } else if !overcommits && request_amount != limit_amount {
            check.invalid(
                &at,
                request.clone(),
                format!("must be equal to {name} limit of {}", text(limit)),
            );
        }
    }
}

/// Containers for debugging: named unlike all others, about one of them, and nothing that the
/// pod could come to rely on.
pub(super) fn ephemeral(spec: &Value, path: &str, volumes: &HashSet<String>, check: &mut Check) {
    let mut seen: HashSet<&str> = list(&spec["containers"])
        .iter()
        .chain(list(&spec["initContainers"]))
        .map(|container| text(&container["name"]))
        .collect();
    let others = seen.clone();
    for (index, container) in list(&spec["ephemeralContainers"]).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = text(&container["name"]);
        let mut bare = container.clone();
        let none = "cannot be set for an Ephemeral Container";
        for part in [
            "ports",
            "resources",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ] {
            let empty = match &container[part] {
                Value::Null => true,
                Value::Object(map) => part == "resources" && map.is_empty(),
                Value::Array(items) => items.is_empty(),
                _ => false,
            };
            if !empty {
                check.add(FieldError::forbidden(format!("{path}.{part}"), none));
            }
            if let Some(bare) = bare.as_object_mut() {
                bare.shift_remove(part);
            }
        }
        self::container(&bare, &path, volumes, false, check);
        if !seen.insert(name) {
            check.add(FieldError::duplicate(format!("{path}.name"), name));
        }
        let target = text(&container["targetContainerName"]);
        if !target.is_empty() && !others.contains(target) {
            let at = format!("{path}.targetContainerName");
            check.add(FieldError::not_found(at, target));
        }
        for (at, mount) in list(&container["volumeMounts"]).iter().enumerate() {
            for key in ["subPath", "subPathExpr"] {
                if !text(&mount[key]).is_empty() {
                    let path = format!("{path}.volumeMounts[{at}].{key}");
                    check.add(FieldError::forbidden(path, none));
                }
            }
        }
    }
}
