//! Services, endpoints, ingress and addresses.

use crate::table::cells::*;
use serde_json::Value;

/// Addresses a load balancer got, sorted.
fn balancer(o: &Value) -> Vec<String> {
    let mut list: Vec<String> = items(o, "status.loadBalancer.ingress")
        .iter()
        .map(|ingress| {
            let ip = text(ingress, "ip");
            if ip.is_empty() {
                text(ingress, "hostname")
            } else {
                ip
            }
        })
        .filter(|address| !address.is_empty())
        .collect();
    list.sort();
    list.dedup();
    list
}

pub(super) fn service(o: &Value, now: i64) -> Vec<Value> {
    let inside = items(o, "spec.clusterIPs")
        .first()
        .map(|ip| ip.as_str().unwrap_or_default().to_string());
    let inside = inside.unwrap_or_else(|| "<none>".into());
    let external: Vec<String> = items(o, "spec.externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_string)
        .collect();
    let kind = text(o, "spec.type");
    let outside = match kind.as_str() {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_string(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let all: Vec<String> = balancer(o).into_iter().chain(external).collect();
            if all.is_empty() {
                "<pending>".into()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => text(o, "spec.externalName"),
        _ => "<unknown>".into(),
    };
    let ports: Vec<String> = items(o, "spec.ports")
        .iter()
        .map(|port| {
            let (number_, node) = (number(port, "port"), number(port, "nodePort"));
            let protocol = text(port, "protocol");
            if node > 0 {
                format!("{number_}:{node}/{protocol}")
            } else {
                format!("{number_}/{protocol}")
            }
        })
        .collect();
    let ports = if ports.is_empty() {
        "<none>".into()
    } else {
        ports.join(",")
    };
    vec![
        name(o),
        kind.into(),
        inside.into(),
        outside.into(),
        ports.into(),
        age(o, now),
        labels(o, "spec.selector"),
    ]
}

pub(super) fn ingress(o: &Value, now: i64) -> Vec<Value> {
    let rules = items(o, "spec.rules");
    let hosts: Vec<String> = rules
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|host| !host.is_empty())
        .collect();
    let hosts = if hosts.is_empty() {
        "*".into()
    } else {
        some_of(hosts, 3, ",")
    };
    let ports = if items(o, "spec.tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        name(o),
        text_or(o, "spec.ingressClassName", "<none>"),
        hosts.into(),
        balancer(o).join(",").into(),
        ports.into(),
        age(o, now),
    ]
}

pub(super) fn ingress_class(o: &Value, now: i64) -> Vec<Value> {
    let mut shown = text(o, "metadata.name");
    if is_default_class(o, "ingressclass.kubernetes.io/is-default-class") {
        shown.push_str(" (default)");
    }
    let parameters = at(o, "spec.parameters");
    let parameters = if parameters.is_null() {
        "<none>".to_string()
    } else {
        format!(
            "{}/{}",
            crate::status::qualified(&text(parameters, "apiGroup"), &text(parameters, "kind")),
            text(parameters, "name")
        )
    };
    vec![
        shown.into(),
        text(o, "spec.controller").into(),
        parameters.into(),
        age(o, now),
    ]
}

pub(super) fn parent(o: &Value) -> Value {
    let parent = at(o, "spec.parentRef");
    if parent.is_null() {
        return "<none>".into();
    }
    let mut shown =
        crate::status::qualified(&text(parent, "group"), &text(parent, "resource")).to_lowercase();
    for key in ["namespace", "name"] {
        let part = text(parent, key);
        if !part.is_empty() {
            shown.push_str(&format!("/{part}"));
        }
    }
    shown.into()
}

pub(super) fn endpoints(o: &Value) -> Value {
    let subsets = items(o, "subsets");
    if subsets.is_empty() {
        return "<none>".into();
    }
    let mut list = Vec::new();
    for subset in subsets {
        let addresses: Vec<String> = items(subset, "addresses")
            .iter()
            .map(|a| text(a, "ip"))
            .collect();
        let ports = items(subset, "ports");
        if ports.is_empty() {
            list.extend(addresses.iter().cloned());
        }
        for port in ports {
            list.extend(addresses.iter().map(|ip| {
                let port = number(port, "port");
                if ip.contains(':') {
                    format!("[{ip}]:{port}")
                } else {
                    format!("{ip}:{port}")
                }
            }));
        }
    }
    some_of(list, 3, ",").into()
}

pub(super) fn endpoint_slice(o: &Value, now: i64) -> Vec<Value> {
    let ports: Vec<String> = items(o, "ports")
        .iter()
        .map(|port| match port["port"].as_i64() {
            Some(number) => number.to_string(),
            None => port["name"].as_str().unwrap_or("*").to_string(),
        })
        .collect();
    let addresses: Vec<String> = items(o, "endpoints")
        .iter()
        .flat_map(|endpoint| {
            items(endpoint, "addresses")
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_string)
        })
        .collect();
    let shown = |list: Vec<String>| {
        if list.is_empty() {
            "<unset>".to_string()
        } else {
            some_of(list, 3, ",")
        }
    };
    vec![
        name(o),
        text(o, "addressType").into(),
        shown(ports).into(),
        shown(addresses).into(),
        age(o, now),
    ]
}
