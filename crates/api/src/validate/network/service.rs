//! Rules of services.

use super::address::{BAD_IP, endpoint_ip};
use crate::field::FieldError;
use crate::names;
use crate::validate::check::{Check, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

pub(in crate::validate) fn service(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    let kind = text(&spec["type"]);
    let headless = list(&spec["clusterIPs"])
        .first()
        .or(Some(&spec["clusterIP"]))
        == Some(&json!("None"));
    let ports = list(&spec["ports"]);
    if ports.is_empty() && !headless && kind != "ExternalName" {
        check.add(FieldError::required("spec.ports", ""));
    }
    if kind == "LoadBalancer" && headless {
        check.invalid(
            "spec.clusterIPs[0]",
            "None",
            "may not be set to 'None' for LoadBalancer services",
        );
    }
    if kind == "NodePort" && headless {
        check.invalid(
            "spec.clusterIPs[0]",
            "None",
            "may not be set to 'None' for NodePort services",
        );
    }
    if kind == "ExternalName" {
        if !text(&spec["clusterIP"]).is_empty() {
            check.add(FieldError::forbidden(
                "spec.clusterIPs",
                "may not be set when `type` is 'ExternalName'",
            ));
        }
        let name = text(&spec["externalName"]).trim_end_matches('.');
        if name.is_empty() {
            check.add(FieldError::required("spec.externalName", ""));
        } else {
            check.names("spec.externalName", name, names::dns1123_subdomain(name));
        }
    }
    service_ports(ports, kind, check);
    check.labels("spec.selector", &spec["selector"]);
    cluster_ip(spec, check);
    for (at, ip) in list(&spec["externalIPs"]).iter().enumerate() {
        endpoint_ip(&format!("spec.externalIPs[{at}]"), text(ip), check);
    }
    if !spec["externalTrafficPolicy"].is_null() {
        let outside =
            matches!(kind, "LoadBalancer" | "NodePort") || !list(&spec["externalIPs"]).is_empty();
        if !outside {
            let value = spec["externalTrafficPolicy"].clone();
            check.invalid(
                "spec.externalTrafficPolicy",
                value,
                "may only be set for externally-accessible services",
            );
        }
    }
    let seconds = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if let Some(given) = seconds
        .as_i64()
        .filter(|given| !(1..=86_400).contains(given))
    {
        check.invalid(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            given,
            "must be greater than 0 and less than 86400",
        );
    }
    if let Some(old) = old {
        service_update(spec, &old["spec"], check);
    }
}

fn service_ports(ports: &[Value], kind: &str, check: &mut Check) {
    let (mut seen_names, mut seen, mut nodes) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (at, port) in ports.iter().enumerate() {
        let path = |name: &str| format!("spec.ports[{at}].{name}");
        let name = text(&port["name"]);
        if name.is_empty() {
            if ports.len() > 1 {
                check.add(FieldError::required(path("name"), ""));
            }
        } else {
            check.names(&path("name"), name, names::dns1123_label(name));
            if !seen_names.insert(name) {
                check.add(FieldError::duplicate(path("name"), name));
            }
        }
        check.port(&path("port"), &port["port"]);
        check.port_or_name(&path("targetPort"), &port["targetPort"]);
        let application = text(&port["appProtocol"]);
        if !application.is_empty() {
            check.names(
                &path("appProtocol"),
                application,
                names::qualified_name(application),
            );
        }
        let protocol = text(&port["protocol"]);
        let number = port["port"].as_i64().unwrap_or(0);
        if !seen.insert((protocol, number)) {
            check.add(FieldError::duplicate(
                format!("spec.ports[{at}]"),
                json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0, "NodePort": 0}),
            ));
        }
        let node = port["nodePort"].as_i64().unwrap_or(0);
        if node != 0 {
            if kind == "ClusterIP" || kind == "ExternalName" {
                let why = format!("may not be used when `type` is '{kind}'");
                check.add(FieldError::forbidden(path("nodePort"), why));
            } else if !nodes.insert((protocol, node)) {
                check.add(FieldError::duplicate(path("nodePort"), node));
            }
        }
    }
}

fn cluster_ip(spec: &Value, check: &mut Check) {
    let (ip, ips) = (text(&spec["clusterIP"]), list(&spec["clusterIPs"]));
    if let Some(first) = ips.first()
        && !ip.is_empty()
        && text(first) != ip
    {
        check.invalid(
            "spec.clusterIPs",
            spec["clusterIPs"].clone(),
            "first value must match `clusterIP`",
        );
    }
    if ips.len() > 2 {
        check.invalid(
            "spec.clusterIPs",
            spec["clusterIPs"].clone(),
            "may only hold up to 2 values",
        );
    }
    let given: Vec<&str> = if ips.is_empty() && !ip.is_empty() {
        vec![ip]
    } else {
        ips.iter().map(text).collect()
    };
    for (at, ip) in given.iter().enumerate() {
        let fits = *ip == "None" || ip.is_empty() || ip.parse::<IpAddr>().is_ok();
        if !fits {
            check.invalid(&format!("spec.clusterIPs[{at}]"), *ip, BAD_IP);
        }
    }
}

fn service_update(new: &Value, old: &Value, check: &mut Check) {
    let external = |spec: &Value| text(&spec["type"]) == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    let ip = |spec: &Value| {
        list(&spec["clusterIPs"])
            .first()
            .map(text)
            .unwrap_or(text(&spec["clusterIP"]))
            .to_string()
    };
    let before = ip(old);
    if !before.is_empty() && before != ip(new) {
        let shown = if new["clusterIPs"].is_null() {
            json!([])
        } else {
            new["clusterIPs"].clone()
        };
        check.invalid("spec.clusterIPs[0]", shown, "may not change once set");
    }
}
