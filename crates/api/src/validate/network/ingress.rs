//! Rules of ingresses and their classes.

use super::address::BAD_IP;
use crate::field::FieldError;
use crate::names;
use crate::validate::check::{Check, list, text};
use serde_json::Value;
use std::net::IpAddr;

pub(in crate::validate) fn ingress_status(new: &Value, check: &mut Check) {
    let balancer = &new["status"]["loadBalancer"]["ingress"];
    for (index, ingress) in list(balancer).iter().enumerate() {
        let path = format!("status.loadBalancer.ingress[{index}]");
        let (ip, host) = (text(&ingress["ip"]), text(&ingress["hostname"]));
        if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
            check.invalid(&format!("{path}.ip"), ip, BAD_IP);
        }
        if host.is_empty() {
            continue;
        }
        let at = format!("{path}.hostname");
        match host.parse::<IpAddr>() {
            Ok(_) => check.invalid(&at, host, "must be a DNS name, not an IP address"),
            Err(_) => check.names(&at, host, names::dns1123_subdomain(host)),
        }
    }
}

pub(in crate::validate) fn ingress_class(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    if check.required("spec.controller", &spec["controller"], "") {
        check.domain_path("spec.controller", text(&spec["controller"]));
    }
    if let Some(old) = old {
        check.immutable(
            "spec.controller",
            &spec["controller"],
            &old["spec"]["controller"],
        );
    }
    let parameters = &spec["parameters"];
    if parameters.is_null() {
        return;
    }
    let path = "spec.parameters";
    let group = text(&parameters["apiGroup"]);
    if !group.is_empty() {
        let at = format!("{path}.apiGroup");
        check.names(&at, group, names::dns1123_subdomain(group));
    }
    for key in ["kind", "name"] {
        let at = format!("{path}.{key}");
        if check.required(&at, &parameters[key], "") {
            let value = text(&parameters[key]);
            check.names(&at, value, names::path_segment(value));
        }
    }
    let namespace = &parameters["namespace"];
    let at = format!("{path}.namespace");
    match text(&parameters["scope"]) {
        "Namespace" => {
            let why = "`parameters.scope` is set to 'Namespace'";
            check.required(&at, namespace, why);
        }
        "Cluster" if !namespace.is_null() => {
            let why = "`parameters.scope` is set to 'Cluster'";
            check.add(FieldError::forbidden(at, why));
        }
        "" | "Cluster" => {}
        _ => {
            let known = ["Cluster", "Namespace"];
            check.one_of(&format!("{path}.scope"), &parameters["scope"], &known);
        }
    }
}

pub(in crate::validate) fn ingress(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    if list(&spec["rules"]).is_empty() && spec["defaultBackend"].is_null() {
        check.invalid(
            "spec",
            spec["rules"].clone(),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if !spec["defaultBackend"].is_null() {
        backend(&spec["defaultBackend"], "spec.defaultBackend", check);
    }
    for (at, rule) in list(&spec["rules"]).iter().enumerate() {
        let path = format!("spec.rules[{at}]");
        let host = text(&rule["host"]);
        if host.parse::<IpAddr>().is_ok() {
            check.invalid(
                &format!("{path}.host"),
                host,
                "must be a DNS name, not an IP address",
            );
        } else if !host.is_empty() {
            let wrong = match host.contains('*') {
                true => names::wildcard_subdomain(host),
                false => names::dns1123_subdomain(host),
            };
            check.names(&format!("{path}.host"), host, wrong);
        }
        if rule["http"].is_null() {
            continue;
        }
        if list(&rule["http"]["paths"]).is_empty() {
            check.add(FieldError::required(format!("{path}.http.paths"), ""));
        }
        for (index, entry) in list(&rule["http"]["paths"]).iter().enumerate() {
            ingress_path(entry, &format!("{path}.http.paths[{index}]"), check);
        }
    }
    let class = text(&spec["ingressClassName"]);
    if !class.is_empty() {
        check.names(
            "spec.ingressClassName",
            class,
            names::dns1123_subdomain(class),
        );
    }
}

fn ingress_path(entry: &Value, path: &str, check: &mut Check) {
    let (kind, place) = (text(&entry["pathType"]), text(&entry["path"]));
    let at = format!("{path}.path");
    match kind {
        "" => check.add(FieldError::required(
            format!("{path}.pathType"),
            "pathType must be specified",
        )),
        "Exact" | "Prefix" => {
            if !place.starts_with('/') {
                check.invalid(&at, place, "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                if place.contains(bad) {
                    check.invalid(&at, place, format!("must not contain '{bad}'"));
                }
            }
            for bad in ["/..", "/."] {
                if place.ends_with(bad) {
                    check.invalid(&at, place, format!("cannot end with '{bad}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !place.is_empty() && !place.starts_with('/') {
                check.invalid(&at, place, "must be an absolute path");
            }
        }
        other => {
            let supported = ["Exact", "ImplementationSpecific", "Prefix"];
            check.add(FieldError::unsupported(
                format!("{path}.pathType"),
                other,
                &supported,
            ));
        }
    }
    backend(&entry["backend"], &format!("{path}.backend"), check);
}

fn backend(backend: &Value, path: &str, check: &mut Check) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_null(), resource.is_null()) {
        (true, true) => check.add(FieldError::required(
            path,
            "resource or service backend is required",
        )),
        (false, false) => check.invalid(path, "", "cannot set both resource and service backends"),
        (true, false) => {
            check.required(&format!("{path}.resource.kind"), &resource["kind"], "");
            check.required(&format!("{path}.resource.name"), &resource["name"], "");
        }
        (false, true) => {
            if check.required(&format!("{path}.service.name"), &service["name"], "") {
                let name = text(&service["name"]);
                check.names(
                    &format!("{path}.service.name"),
                    name,
                    names::dns1123_label(name),
                );
            }
            let port = &service["port"];
            let named = !text(&port["name"]).is_empty();
            let numbered = port["number"].as_i64().unwrap_or(0) != 0;
            match (named, numbered) {
                (true, true) => check.invalid(path, "", "cannot set both port name & port number"),
                (false, false) => check.add(FieldError::required(
                    path,
                    "port name or number is required",
                )),
                (true, false) => {
                    let name = text(&port["name"]);
                    check.names(
                        &format!("{path}.service.port.name"),
                        name,
                        names::port_name(name),
                    );
                }
                (false, true) => {
                    check.port(&format!("{path}.service.port.number"), &port["number"])
                }
            }
        }
    }
}
