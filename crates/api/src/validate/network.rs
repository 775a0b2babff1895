//! Rules of services, endpoints, ingresses and network policies.

use super::check::{Check, list, text};
use crate::field::FieldError;
use crate::names;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

const BAD_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

pub(super) fn service(new: &Value, old: Option<&Value>, check: &mut Check) {
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

pub(super) fn endpoints(new: &Value, check: &mut Check) {
    for (at, subset) in list(&new["subsets"]).iter().enumerate() {
        let path = format!("subsets[{at}]");
        let (ready, waiting) = (
            list(&subset["addresses"]),
            list(&subset["notReadyAddresses"]),
        );
        if ready.is_empty() && waiting.is_empty() {
            check.add(FieldError::required(
                path.clone(),
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for (kind, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            for (index, address) in addresses.iter().enumerate() {
                let path = format!("{path}.{kind}[{index}]");
                let ip = text(&address["ip"]);
                if ip.parse::<IpAddr>().is_err() {
                    // It is looked at twice, in other words.
                    let at = format!("{path}.ip");
                    check.invalid(&at, ip, "must be a valid IP address");
                }
                endpoint_ip(&format!("{path}.ip"), ip, check);
                endpoint_names(address, &path, check);
            }
        }
        for (index, port) in list(&subset["ports"]).iter().enumerate() {
            let name = text(&port["name"]);
            if !name.is_empty() {
                let at = format!("{path}.ports[{index}].name");
                check.names(&at, name, names::dns1123_label(name));
            }
            check.port(&format!("{path}.ports[{index}].port"), &port["port"]);
            if list(&subset["ports"]).len() > 1 {
                check.required(&format!("{path}.ports[{index}].name"), &port["name"], "");
            }
        }
    }
}

/// Host and node name of an endpoint.
fn endpoint_names(endpoint: &Value, path: &str, check: &mut Check) {
    let host = text(&endpoint["hostname"]);
    if !host.is_empty() {
        check.names(
            &format!("{path}.hostname"),
            host,
            names::dns1123_label(host),
        );
    }
    if let Some(node) = endpoint["nodeName"].as_str() {
        check.names(
            &format!("{path}.nodeName"),
            node,
            names::dns1123_subdomain(node),
        );
    }
}

fn endpoint_ip(path: &str, ip: &str, check: &mut Check) {
    match ip.parse::<IpAddr>() {
        Err(_) => check.invalid(path, ip, BAD_IP),
        Ok(address) if address.is_unspecified() => {
            check.invalid(path, ip, format!("may not be unspecified ({ip})"));
        }
        Ok(address) if address.is_loopback() => {
            check.invalid(
                path,
                ip,
                "may not be in the loopback range (127.0.0.0/8, ::1/128)",
            );
        }
        Ok(IpAddr::V4(address)) if address.is_link_local() => {
            let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
            check.invalid(path, ip, why);
        }
        Ok(IpAddr::V4(address)) if address.octets()[..3] == [224, 0, 0] => {
            let why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
            check.invalid(path, ip, why);
        }
        Ok(IpAddr::V6(address)) if address.segments()[0] & 0xffc0 == 0xfe80 => {
            let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
            check.invalid(path, ip, why);
        }
        Ok(_) => {}
    }
}

pub(super) fn endpoint_slice(new: &Value, old: Option<&Value>, check: &mut Check) {
    let kind = text(&new["addressType"]);
    let supported = ["FQDN", "IPv4", "IPv6"];
    if kind.is_empty() {
        check.add(FieldError::required("addressType", ""));
    } else if !supported.contains(&kind) {
        check.one_of("addressType", &new["addressType"], &supported);
    }
    // What is there already is not looked at again.
    let same = old.is_some_and(|old| old["endpoints"] == new["endpoints"]);
    let endpoints = if same { &[] } else { list(&new["endpoints"]) };
    for (at, endpoint) in endpoints.iter().enumerate() {
        let addresses = list(&endpoint["addresses"]);
        let path = format!("endpoints[{at}].addresses");
        if addresses.is_empty() {
            check.add(FieldError::required(
                path.clone(),
                "must contain at least 1 address",
            ));
        }
        endpoint_names(endpoint, &format!("endpoints[{at}]"), check);
        let whole = path.clone();
        for (index, address) in addresses.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match kind {
                "IPv4" | "IPv6" => slice_ip(&path, &whole, text(address), kind, check),
                _ => check.names(
                    &path,
                    text(address),
                    names::dns1123_subdomain(text(address)),
                ),
            }
        }
    }
    let mut seen = HashSet::new();
    for (at, port) in list(&new["ports"]).iter().enumerate() {
        let name = text(&port["name"]);
        if !name.is_empty() {
            check.names(
                &format!("ports[{at}].name"),
                name,
                names::dns1123_label(name),
            );
        }
        if !seen.insert(name) {
            check.add(FieldError::duplicate(format!("ports[{at}].name"), name));
        }
        let protocols = ["SCTP", "TCP", "UDP"];
        if !protocols.contains(&text(&port["protocol"])) {
            check.one_of(
                &format!("ports[{at}].protocol"),
                &port["protocol"],
                &protocols,
            );
        }
        let application = text(&port["appProtocol"]);
        if !application.is_empty() {
            let path = format!("ports[{at}].appProtocol");
            check.names(&path, application, names::qualified_name(application));
        }
    }
    if let Some(old) = old {
        check.immutable("addressType", &new["addressType"], &old["addressType"]);
    }
}

/// An address of a slice's family.
fn slice_ip(path: &str, whole: &str, ip: &str, kind: &str, check: &mut Check) {
    endpoint_ip(path, ip, check);
    let family = match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => "IPv4",
        Ok(IpAddr::V6(_)) => "IPv6",
        Err(_) => return,
    };
    if family != kind {
        check.invalid(whole, ip, format!("must be an {kind} address"));
    }
}

pub(super) fn ingress_status(new: &Value, check: &mut Check) {
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

pub(super) fn ingress_class(new: &Value, old: Option<&Value>, check: &mut Check) {
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

pub(super) fn service_cidr(new: &Value, old: Option<&Value>, check: &mut Check) {
    let path = "spec.cidrs";
    let cidrs = list(&new["spec"]["cidrs"]);
    if cidrs.is_empty() {
        check.add(FieldError::required(path, "at least one CIDR required"));
    } else if cidrs.len() > 2 {
        let why = "may only hold up to 2 values";
        check.invalid(path, new["spec"]["cidrs"].clone(), why);
    } else if let [a, b] = cidrs {
        let six = |cidr: &Value| text(cidr).contains(':');
        if six(a) == six(b) {
            let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            check.invalid(path, new["spec"]["cidrs"].clone(), why);
        }
    }
    for (index, cidr) in cidrs.iter().map(text).enumerate() {
        let at = format!("{path}[{index}]");
        let before = check.errors.len();
        self::cidr(&at, cidr, check);
        if check.errors.len() == before && !is_network(cidr) {
            check.invalid(&at, cidr, "must not have bits set beyond the prefix length");
        }
    }
    if let Some(old) = old {
        let (now, before) = (&new["spec"]["cidrs"], &old["spec"]["cidrs"]);
        let grown =
            list(before).len() == 1 && list(now).len() == 2 && list(now)[0] == list(before)[0];
        if !grown {
            check.immutable(path, now, before);
        }
    }
}

/// Whether a range is written as its first address.
fn is_network(cidr: &str) -> bool {
    let Some((ip, bits)) = cidr.split_once('/') else {
        return false;
    };
    let bits = bits.parse::<u32>().unwrap_or(0);
    match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => u32::from(ip) & u32::MAX.checked_shr(bits).unwrap_or(0) == 0,
        Ok(IpAddr::V6(ip)) => u128::from(ip) & u128::MAX.checked_shr(bits).unwrap_or(0) == 0,
        Err(_) => false,
    }
}

pub(super) fn ip_address(new: &Value, old: Option<&Value>, check: &mut Check) {
    let parent = &new["spec"]["parentRef"];
    if parent.is_null() {
        check.add(FieldError::required("spec.parentRef", ""));
    } else {
        for key in ["resource", "name"] {
            let at = format!("spec.parentRef.{key}");
            if check.required(&at, &parent[key], "") {
                check.names(
                    &at,
                    text(&parent[key]),
                    names::path_segment(text(&parent[key])),
                );
            }
        }
    }
    if let Some(old) = old
        && *parent != old["spec"]["parentRef"]
    {
        let shown = json!({
            "Group": text(&parent["group"]),
            "Resource": text(&parent["resource"]),
            "Namespace": text(&parent["namespace"]),
            "Name": text(&parent["name"]),
        });
        check.invalid("spec.parentRef", shown, super::check::IMMUTABLE);
    }
}

pub(super) fn ingress(new: &Value, check: &mut Check) {
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

pub(super) fn network_policy(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    check.selector("spec.podSelector", &spec["podSelector"]);
    let directions = ["Ingress", "Egress"];
    for (index, direction) in list(&spec["policyTypes"]).iter().enumerate() {
        if !directions.contains(&text(direction)) {
            check.one_of(
                &format!("spec.policyTypes[{index}]"),
                direction,
                &directions,
            );
        }
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in list(&spec[direction]).iter().enumerate() {
            let path = format!("spec.{direction}[{at}]");
            for (index, port) in list(&rule["ports"]).iter().enumerate() {
                policy_port(port, &format!("{path}.ports[{index}]"), check);
            }
            for (index, peer) in list(&rule[peers]).iter().enumerate() {
                let path = format!("{path}.{peers}[{index}]");
                let block = &peer["ipBlock"];
                let selects =
                    !peer["podSelector"].is_null() || !peer["namespaceSelector"].is_null();
                if block.is_null() && !selects {
                    check.add(FieldError::required(path, "must specify a peer"));
                } else if !block.is_null() && selects {
                    check.add(FieldError::forbidden(
                        path,
                        "may not specify both ipBlock and another peer",
                    ));
                } else if !block.is_null() {
                    ip_block(block, &format!("{path}.ipBlock"), check);
                }
            }
        }
    }
}

fn policy_port(port: &Value, path: &str, check: &mut Check) {
    let protocols = ["TCP", "UDP", "SCTP"];
    let protocol = text(&port["protocol"]);
    if !protocol.is_empty() && !protocols.contains(&protocol) {
        check.one_of(&format!("{path}.protocol"), &port["protocol"], &protocols);
    }
    let given = &port["port"];
    if !given.is_null() {
        check.port_or_name(&format!("{path}.port"), given);
    }
    let at = format!("{path}.endPort");
    let Some(end) = port["endPort"].as_i64() else {
        return;
    };
    match given.as_i64() {
        _ if given.is_null() => {
            check.invalid(
                &at,
                end,
                "may not be specified when `port` is not specified",
            );
        }
        None => check.invalid(&at, end, "may not be specified when `port` is non-numeric"),
        Some(begin) if end < begin => {
            check.invalid(&at, begin, "must be greater than or equal to `port`");
        }
        Some(_) => check.port(&at, &port["endPort"]),
    }
}

/// A range of addresses without some within it.
fn ip_block(block: &Value, path: &str, check: &mut Check) {
    let whole = text(&block["cidr"]);
    let before = check.errors.len();
    if check.required(&format!("{path}.cidr"), &block["cidr"], "") {
        cidr(&format!("{path}.cidr"), whole, check);
    }
    if check.errors.len() > before {
        return;
    }
    for (index, except) in list(&block["except"]).iter().map(text).enumerate() {
        let at = format!("{path}.except[{index}]");
        let before = check.errors.len();
        cidr(&at, except, check);
        if check.errors.len() == before && !is_within(except, whole) {
            check.invalid(&at, except, "must be a strict subset of `cidr`");
        }
    }
}

fn is_within(inner: &str, outer: &str) -> bool {
    let read = |cidr: &str| -> Option<(u128, u32, bool)> {
        let (ip, bits) = cidr.split_once('/')?;
        let bits = bits.parse().ok()?;
        Some(match ip.parse::<IpAddr>().ok()? {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, bits, false),
            IpAddr::V6(ip) => (u128::from(ip), bits, true),
        })
    };
    let (Some((a, inner_bits, a_six)), Some((b, outer_bits, b_six))) = (read(inner), read(outer))
    else {
        return false;
    };
    let mask = u128::MAX.checked_shl(128 - outer_bits).unwrap_or(0);
    a_six == b_six && inner_bits > outer_bits && a & mask == b & mask
}

pub(super) fn cidr(path: &str, value: &str, check: &mut Check) {
    let fits = value.split_once('/').is_some_and(|(ip, bits)| {
        let most = match ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if !fits {
        check.invalid(
            path,
            value,
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
    }
}
