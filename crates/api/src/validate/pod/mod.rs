//! Rules of pods and pod templates.
//!
//! A pod is checked in the order upstream does it: volumes first, because containers may mount
//! only what is declared there, then containers, then what the pod says about itself.

mod container;
mod environment;
mod probes;
pub(super) mod update;
mod volumes;

use super::check::{Check, list, text};
use crate::field::FieldError;
use crate::names;
use serde_json::Value;
use std::collections::HashSet;

pub(super) fn pod(new: &Value, old: Option<&Value>, check: &mut Check) {
    spec(&new["spec"], "spec", check);
    if old.is_none() && !list(&new["spec"]["ephemeralContainers"]).is_empty() {
        let why = "cannot be set on create";
        check.add(FieldError::forbidden("spec.ephemeralContainers", why));
    }
    if let Some(old) = old {
        update::update(&new["spec"], &old["spec"], check);
    }
}

pub(super) fn template(template: &Value, path: &str, check: &mut Check) {
    check.labels(&format!("{path}.labels"), &template["metadata"]["labels"]);
    spec(&template["spec"], &format!("{path}.spec"), check);
}

pub(super) fn spec(spec: &Value, path: &str, check: &mut Check) {
    let at = |name: &str| format!("{path}.{name}");
    let volumes = volumes::volumes(&spec["volumes"], &at("volumes"), check);
    let mut seen = HashSet::new();
    let containers = list(&spec["containers"]);
    if containers.is_empty() {
        check.add(FieldError::required(at("containers"), ""));
    }
    for (kind, containers) in [
        ("containers", containers),
        ("initContainers", list(&spec["initContainers"])),
    ] {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{}[{index}]", at(kind));
            let init = kind == "initContainers";
            container::container(container, &path, &volumes, init, check);
            let name = text(&container["name"]);
            if !name.is_empty() && !seen.insert(name.to_string()) {
                check.add(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
    }
    container::ephemeral(spec, &at("ephemeralContainers"), &volumes, check);
    container::host_ports(containers, &at("containers"), check);
    check.labels(&at("nodeSelector"), &spec["nodeSelector"]);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        check.invalid(
            &at("activeDeadlineSeconds"),
            seconds,
            "must be between 1 and 2147483647, inclusive",
        );
    }
    for (name, rule) in [
        (
            "serviceAccountName",
            names::dns1123_subdomain as fn(&str) -> Vec<String>,
        ),
        ("nodeName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("priorityClassName", names::dns1123_subdomain),
        ("runtimeClassName", names::dns1123_subdomain),
    ] {
        let value = text(&spec[name]);
        if !value.is_empty() {
            check.names(&at(name), value, rule(value));
        }
    }
    tolerations(&spec["tolerations"], &at("tolerations"), check);
    for (index, constraint) in list(&spec["topologySpreadConstraints"]).iter().enumerate() {
        let path = format!("{}[{index}]", at("topologySpreadConstraints"));
        check.required(
            &format!("{path}.topologyKey"),
            &constraint["topologyKey"],
            "can not be empty",
        );
        if let Some(skew) = constraint["maxSkew"].as_i64().filter(|skew| *skew <= 0) {
            check.invalid(
                &format!("{path}.maxSkew"),
                skew,
                "must be greater than zero",
            );
        }
    }
    host_aliases(&spec["hostAliases"], &at("hostAliases"), check);
    sysctls(
        &spec["securityContext"]["sysctls"],
        &at("securityContext.sysctls"),
        check,
    );
    if text(&spec["dnsPolicy"]) == "None" && spec["dnsConfig"].is_null() {
        let why = "must provide `dnsConfig` when `dnsPolicy` is None";
        check.add(FieldError::required(at("dnsConfig"), why));
    } else if text(&spec["dnsPolicy"]) == "None"
        && list(&spec["dnsConfig"]["nameservers"]).is_empty()
    {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        check.add(FieldError::required(
            format!("{}.nameservers", at("dnsConfig")),
            why,
        ));
    }
}

fn sysctls(sysctls: &Value, path: &str, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, sysctl) in list(sysctls).iter().enumerate() {
        let (name, at) = (text(&sysctl["name"]), format!("{path}[{index}].name"));
        let wrong = names::sysctl_name(name);
        if name.is_empty() {
            check.add(FieldError::required(at, ""));
        } else if !wrong.is_empty() {
            check.names(&at, name, wrong);
        } else if !seen.insert(name) {
            check.add(FieldError::duplicate(at, name));
        }
    }
}

fn host_aliases(aliases: &Value, path: &str, check: &mut Check) {
    for (index, alias) in list(aliases).iter().enumerate() {
        let ip = text(&alias["ip"]);
        if ip.parse::<std::net::IpAddr>().is_err() {
            check.invalid(
                &format!("{path}[{index}].ip"),
                ip,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
        for (at, host) in list(&alias["hostnames"]).iter().enumerate() {
            check.names(
                &format!("{path}[{index}].hostnames[{at}]"),
                text(host),
                names::dns1123_subdomain(text(host)),
            );
        }
    }
}

pub(super) fn tolerations(tolerations: &Value, path: &str, check: &mut Check) {
    for (index, toleration) in list(tolerations).iter().enumerate() {
        let at = |name: &str| format!("{path}[{index}].{name}");
        let (key, value) = (text(&toleration["key"]), text(&toleration["value"]));
        let operator = text(&toleration["operator"]);
        if !key.is_empty() {
            check.names(&at("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            check.invalid(&at("operator"), operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        }
        if !toleration["tolerationSeconds"].is_null() && text(&toleration["effect"]) != "NoExecute"
        {
            let effect = text(&toleration["effect"]);
            check.invalid(
                &at("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        if operator == "Exists" && !value.is_empty() {
            check.invalid(
                &at("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            );
        }
    }
}
