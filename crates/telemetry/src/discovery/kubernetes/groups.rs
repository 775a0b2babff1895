//! Groups of targets that one object makes by itself: nodes, services, ingresses.

use super::super::plain;
use super::labels::{address, described, put, service_labels, source, target};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;

use crate::scrape::Group;
use crate::scrape::relabel::Set;

pub(super) fn node_group(node: &Node) -> Option<Group> {
    let status = node.status.as_ref()?;
    let addresses = status.addresses.as_deref().unwrap_or_default();
    let first = |kind: &str| addresses.iter().find(|own| own.type_ == kind);
    let order = [
        "InternalIP",
        "InternalDNS",
        "ExternalIP",
        "ExternalDNS",
        "LegacyHostIP",
        "Hostname",
    ];
    let host = &order.into_iter().find_map(first)?.address;
    let port = status
        .daemon_endpoints
        .as_ref()
        .and_then(|own| own.kubelet_endpoint.as_ref());
    let mut set = target(address(host, port.map_or(0, |own| own.port)));
    set.insert("instance".to_owned(), node.name_any());
    for own in addresses.iter().rev() {
        put(
            &mut set,
            &format!("node_address_{}", plain(&own.type_)),
            own.address.clone(),
        );
    }
    let mut labels = Set::new();
    let provider = node.spec.as_ref().and_then(|spec| spec.provider_id.clone());
    put(
        &mut labels,
        "node_provider_id",
        provider.unwrap_or_default(),
    );
    described(&mut labels, &node.metadata, "node");
    let source = format!("node/{}", node.name_any());
    Some(Group {
        source,
        targets: vec![set],
        labels,
    })
}

pub(super) fn service_group(service: &Service) -> Group {
    let namespace = service.namespace().unwrap_or_default();
    let spec = service.spec.clone().unwrap_or_default();
    let kind = spec.type_.clone().unwrap_or_else(|| "ClusterIP".to_owned());
    let host = format!("{}.{namespace}.svc", service.name_any());
    let ports = spec.ports.iter().flatten().map(|port| {
        let mut set = target(address(&host, port.port));
        put(
            &mut set,
            "service_port_name",
            port.name.clone().unwrap_or_default(),
        );
        put(&mut set, "service_port_number", port.port.to_string());
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        put(&mut set, "service_port_protocol", protocol);
        put(&mut set, "service_type", kind.clone());
        match kind.as_str() {
            "ExternalName" => {
                let name = spec.external_name.clone().unwrap_or_default();
                put(&mut set, "service_external_name", name);
            }
            _ => put(
                &mut set,
                "service_cluster_ip",
                spec.cluster_ip.clone().unwrap_or_default(),
            ),
        }
        if kind == "LoadBalancer" {
            let ip = spec.load_balancer_ip.clone().unwrap_or_default();
            put(&mut set, "service_loadbalancer_ip", ip);
        }
        set
    });
    let targets = ports.collect();
    Group {
        source: source("svc", &service.metadata),
        targets,
        labels: service_labels(service),
    }
}

pub(super) fn ingress_group(ingress: &Ingress) -> Group {
    let mut labels = Set::new();
    put(
        &mut labels,
        "namespace",
        ingress.namespace().unwrap_or_default(),
    );
    let spec = ingress.spec.clone().unwrap_or_default();
    put(
        &mut labels,
        "ingress_class_name",
        spec.ingress_class_name.clone().unwrap_or_default(),
    );
    described(&mut labels, &ingress.metadata, "ingress");
    let mut targets = Vec::new();
    for rule in spec.rules.iter().flatten() {
        let host = rule.host.clone().unwrap_or_default();
        let mut names = spec
            .tls
            .iter()
            .flatten()
            .flat_map(|tls| tls.hosts.iter().flatten());
        let secure = names.any(|pattern| covers(pattern, &host));
        let paths: Vec<String> = match &rule.http {
            Some(http) => http
                .paths
                .iter()
                .map(|own| own.path.clone().unwrap_or_default())
                .collect(),
            None => vec![String::new()],
        };
        for path in paths {
            let mut set = target(host.clone());
            put(
                &mut set,
                "ingress_scheme",
                if secure { "https" } else { "http" },
            );
            put(&mut set, "ingress_host", host.clone());
            put(
                &mut set,
                "ingress_path",
                if path.is_empty() {
                    "/".to_owned()
                } else {
                    path
                },
            );
            targets.push(set);
        }
    }
    Group {
        source: source("ingress", &ingress.metadata),
        targets,
        labels,
    }
}

pub(super) fn covers(pattern: &str, host: &str) -> bool {
    let rest = pattern.strip_prefix("*.");
    pattern == host || rest.is_some_and(|rest| host.split_once('.').is_some_and(|h| h.1 == rest))
}
