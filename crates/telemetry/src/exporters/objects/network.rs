//! Services and ingresses.

use super::jobs::version;
use super::show::{Row, Show, name, namespace, uid};
use crate::family::Kind::Gauge;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;

pub(super) fn service(object: &Service) -> Vec<(&'static str, &str)> {
    vec![
        ("namespace", namespace(&object.metadata)),
        ("service", name(&object.metadata)),
        ("uid", uid(&object.metadata)),
    ]
}

pub(super) fn ingress(object: &Ingress) -> Vec<(&'static str, &str)> {
    vec![
        ("namespace", namespace(&object.metadata)),
        ("ingress", name(&object.metadata)),
    ]
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

pub(super) const SERVICES: &[Row<Service>] = &[
    (
        "kube_service_info",
        Gauge,
        "Information about service.",
        |v, s| {
            let Some(spec) = &v.spec else { return };
            s.info(&[
                ("cluster_ip", text(&spec.cluster_ip)),
                ("external_name", text(&spec.external_name)),
                ("load_balancer_ip", text(&spec.load_balancer_ip)),
                (
                    "external_traffic_policy",
                    text(&spec.external_traffic_policy),
                ),
            ]);
        },
    ),
    (
        "kube_service_spec_type",
        Gauge,
        "Type about service.",
        |v, s| {
            s.info(&[("type", v.spec.as_ref().map_or("", |spec| text(&spec.type_)))]);
        },
    ),
    (
        "kube_service_spec_external_ip",
        Gauge,
        "Service external ips. One series for each ip",
        |v, s| {
            for ip in v
                .spec
                .iter()
                .flat_map(|spec| spec.external_ips.iter().flatten())
            {
                s.info(&[("external_ip", ip)]);
            }
        },
    ),
    (
        "kube_service_status_load_balancer_ingress",
        Gauge,
        "Service load balancer ingress status",
        |v, s| {
            let balancer = v.status.as_ref().and_then(|t| t.load_balancer.as_ref());
            for ingress in balancer.iter().flat_map(|b| b.ingress.iter().flatten()) {
                s.info(&[
                    ("ip", text(&ingress.ip)),
                    ("hostname", text(&ingress.hostname)),
                ]);
            }
        },
    ),
];

const CLASS: &str = "kubernetes.io/ingress.class";

fn paths(ingress: &Ingress, show: &mut Show<'_>) {
    let rules = ingress
        .spec
        .iter()
        .flat_map(|spec| spec.rules.iter().flatten());
    for rule in rules {
        for path in rule.http.iter().flat_map(|http| &http.paths) {
            let mut labels = vec![
                ("host", text(&rule.host)),
                ("path", text(&path.path)),
                ("path_type", &path.path_type),
            ];
            let (service, resource) = (&path.backend.service, &path.backend.resource);
            if let Some(service) = service {
                let port = service
                    .port
                    .as_ref()
                    .and_then(|port| port.number)
                    .unwrap_or(0);
                let port = port.to_string();
                labels.extend([("service_name", &*service.name), ("service_port", &port)]);
                show.info(&labels);
            } else if let Some(resource) = resource {
                labels.extend([
                    ("resource_api_group", text(&resource.api_group)),
                    ("resource_kind", &resource.kind),
                    ("resource_name", &resource.name),
                ]);
                show.info(&labels);
            }
        }
    }
}

pub(super) const INGRESSES: &[Row<Ingress>] = &[
    (
        "kube_ingress_info",
        Gauge,
        "Information about ingress.",
        |i, s| {
            let annotated = i.metadata.annotations.as_ref().and_then(|a| a.get(CLASS));
            let own = i
                .spec
                .as_ref()
                .and_then(|spec| spec.ingress_class_name.as_ref());
            s.info(&[(
                "ingressclass",
                annotated.or(own).map_or("_default", String::as_str),
            )]);
        },
    ),
    (
        "kube_ingress_metadata_resource_version",
        Gauge,
        "Resource version representing a specific version of ingress.",
        |i, s| version(s, i.metadata.resource_version.as_deref()),
    ),
    (
        "kube_ingress_path",
        Gauge,
        "Ingress host, paths and backend service information.",
        paths,
    ),
    (
        "kube_ingress_tls",
        Gauge,
        "Ingress TLS host and secret information.",
        |i, s| {
            for tls in i.spec.iter().flat_map(|spec| spec.tls.iter().flatten()) {
                for host in tls.hosts.iter().flatten() {
                    s.info(&[("tls_host", host), ("secret", text(&tls.secret_name))]);
                }
            }
        },
    ),
];
