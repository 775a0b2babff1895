//! Rules of network policies.

use super::address::{cidr, is_within};
use crate::field::FieldError;
use crate::validate::check::{Check, list, text};
use serde_json::Value;

pub(in crate::validate) fn network_policy(new: &Value, check: &mut Check) {
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
