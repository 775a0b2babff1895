//! Nodes and namespaces.

use super::show::{Row, Show, flag, name};
use crate::family::Kind::Gauge;
use k8s_openapi::api::core::v1::{Namespace, Node};

pub(super) fn node(object: &Node) -> Vec<(&'static str, &str)> {
    vec![("node", name(&object.metadata))]
}

pub(super) fn namespace(object: &Namespace) -> Vec<(&'static str, &str)> {
    vec![("namespace", name(&object.metadata))]
}

fn info(node: &Node, show: &mut Show<'_>) {
    let status = node.status.as_ref();
    let facts = status.and_then(|s| s.node_info.clone()).unwrap_or_default();
    let spec = node.spec.as_ref();
    let mut addresses = status
        .and_then(|s| s.addresses.as_ref())
        .into_iter()
        .flatten();
    let internal = addresses.rfind(|a| a.type_ == "InternalIP");
    show.info(&[
        ("kernel_version", &facts.kernel_version),
        ("os_image", &facts.os_image),
        (
            "container_runtime_version",
            &facts.container_runtime_version,
        ),
        ("kubelet_version", &facts.kubelet_version),
        ("kubeproxy_version", "deprecated"),
        (
            "provider_id",
            spec.and_then(|s| s.provider_id.as_deref())
                .unwrap_or_default(),
        ),
        (
            "pod_cidr",
            spec.and_then(|s| s.pod_cidr.as_deref()).unwrap_or_default(),
        ),
        ("system_uuid", &facts.system_uuid),
        ("internal_ip", internal.map_or("", |a| &a.address)),
    ]);
}

const ROLE: &str = "node-role.kubernetes.io/";

pub(super) const NODES: &[Row<Node>] = &[
    (
        "kube_node_info",
        Gauge,
        "Information about a cluster node.",
        info,
    ),
    (
        "kube_node_role",
        Gauge,
        "The role of a cluster node.",
        |n, s| {
            for label in n.metadata.labels.iter().flat_map(|labels| labels.keys()) {
                if let Some(role) = label.strip_prefix(ROLE) {
                    s.info(&[("role", role)]);
                }
            }
        },
    ),
    (
        "kube_node_spec_taint",
        Gauge,
        "The taint of a cluster node.",
        |n, s| {
            for taint in n.spec.iter().flat_map(|spec| spec.taints.iter().flatten()) {
                s.info(&[
                    ("key", &taint.key),
                    ("value", taint.value.as_deref().unwrap_or_default()),
                    ("effect", &taint.effect),
                ]);
            }
        },
    ),
    (
        "kube_node_spec_unschedulable",
        Gauge,
        "Whether a node can schedule new pods.",
        |n, s| {
            s.value(flag(
                n.spec
                    .as_ref()
                    .is_some_and(|spec| spec.unschedulable == Some(true)),
            ));
        },
    ),
    (
        "kube_node_status_allocatable",
        Gauge,
        "The allocatable for different resources of a node that are available for scheduling.",
        |n, s| {
            s.resources(
                &[],
                n.status.as_ref().and_then(|t| t.allocatable.as_ref()),
                true,
            );
        },
    ),
    (
        "kube_node_status_capacity",
        Gauge,
        "The capacity for different resources of a node.",
        |n, s| {
            s.resources(
                &[],
                n.status.as_ref().and_then(|t| t.capacity.as_ref()),
                true,
            );
        },
    ),
    (
        "kube_node_status_condition",
        Gauge,
        "The condition of a cluster node.",
        |n, s| {
            for condition in n.status.iter().flat_map(|t| t.conditions.iter().flatten()) {
                s.status(
                    &[("condition", &condition.type_)],
                    "status",
                    &condition.status,
                );
            }
        },
    ),
    (
        "kube_node_status_addresses",
        Gauge,
        "Node address information.",
        |n, s| {
            for address in n.status.iter().flat_map(|t| t.addresses.iter().flatten()) {
                s.info(&[("type", &address.type_), ("address", &address.address)]);
            }
        },
    ),
];

pub(super) const NAMESPACES: &[Row<Namespace>] = &[
    (
        "kube_namespace_status_phase",
        Gauge,
        "kubernetes namespace status phase.",
        |n, s| {
            let phase = n.status.as_ref().and_then(|t| t.phase.as_deref());
            s.one_of(
                "phase",
                &["Active", "Terminating"],
                phase.unwrap_or_default(),
            );
        },
    ),
    (
        "kube_namespace_status_condition",
        Gauge,
        "The condition of a namespace.",
        |n, s| {
            for condition in n.status.iter().flat_map(|t| t.conditions.iter().flatten()) {
                s.status(
                    &[("condition", &condition.type_)],
                    "status",
                    &condition.status,
                );
            }
        },
    ),
];
