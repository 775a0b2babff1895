//! Rules of endpoints and endpoint slices.

use super::address::endpoint_ip;
use crate::field::FieldError;
use crate::names;
use crate::validate::check::{Check, list, text};
use serde_json::Value;
use std::collections::HashSet;
use std::net::IpAddr;

pub(in crate::validate) fn endpoints(new: &Value, check: &mut Check) {
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

pub(in crate::validate) fn endpoint_slice(new: &Value, old: Option<&Value>, check: &mut Check) {
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
