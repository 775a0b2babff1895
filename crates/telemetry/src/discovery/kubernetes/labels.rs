//! The `__meta_kubernetes_*` labels, named as upstream names them.

use super::super::plain;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use std::collections::BTreeMap;

use crate::scrape::relabel::Set;

pub(super) const META: &str = "__meta_kubernetes_";

pub(super) fn put(set: &mut Set, name: &str, value: impl Into<String>) {
    let value = value.into();
    if !value.is_empty() {
        set.insert(format!("{META}{name}"), value);
    }
}

/// Name, labels and annotations of an object.
pub(super) fn described(set: &mut Set, meta: &ObjectMeta, role: &str) {
    put(
        set,
        &format!("{role}_name"),
        meta.name.clone().unwrap_or_default(),
    );
    let mut pairs = |pairs: &Option<BTreeMap<String, String>>, what: &str| {
        for (name, value) in pairs.iter().flatten() {
            let name = plain(name);
            put(set, &format!("{role}_{what}_{name}"), value.clone());
            put(set, &format!("{role}_{what}present_{name}"), "true");
        }
    };
    pairs(&meta.labels, "label");
    pairs(&meta.annotations, "annotation");
}

pub(super) fn address(host: &str, port: impl std::fmt::Display) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

pub(super) fn target(address: String) -> Set {
    Set::from([("__address__".to_owned(), address)])
}

pub(super) fn source(kind: &str, meta: &ObjectMeta) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{kind}/{}/{}", part(&meta.namespace), part(&meta.name))
}

pub(super) fn pod_ip(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.pod_ip.as_deref())
        .unwrap_or_default()
}

pub(super) fn pod_labels(pod: &Pod) -> Set {
    let mut set = Set::new();
    let status = pod.status.as_ref();
    let mut conditions = status
        .and_then(|own| own.conditions.as_deref())
        .into_iter()
        .flatten();
    let ready = conditions.find(|condition| condition.type_ == "Ready");
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    put(&mut set, "pod_ip", pod_ip(pod));
    put(
        &mut set,
        "pod_ready",
        ready.map_or("unknown".into(), |own| own.status.to_lowercase()),
    );
    put(
        &mut set,
        "pod_phase",
        text(status.and_then(|own| own.phase.as_ref())),
    );
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    put(&mut set, "pod_node_name", text(node));
    put(
        &mut set,
        "pod_host_ip",
        text(status.and_then(|own| own.host_ip.as_ref())),
    );
    put(&mut set, "pod_uid", text(pod.metadata.uid.as_ref()));
    described(&mut set, &pod.metadata, "pod");
    let owner = pod
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    if let Some(owner) = owner {
        put(&mut set, "pod_controller_kind", owner.kind.clone());
        put(&mut set, "pod_controller_name", owner.name.clone());
    }
    set
}

/// Containers, then those that run before them; whether one is of the latter.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let spec = pod.spec.as_ref();
    let main = spec
        .map(|spec| spec.containers.as_slice())
        .unwrap_or_default();
    let init = spec
        .and_then(|spec| spec.init_containers.as_deref())
        .unwrap_or_default();
    main.iter()
        .map(|own| (own, false))
        .chain(init.iter().map(|own| (own, true)))
}

pub(super) fn container_labels(set: &mut Set, container: &Container, init: bool) {
    put(set, "pod_container_name", container.name.clone());
    put(
        set,
        "pod_container_image",
        container.image.clone().unwrap_or_default(),
    );
    put(set, "pod_container_init", init.to_string());
}

pub(super) fn port_labels(
    set: &mut Set,
    name: Option<&String>,
    number: i32,
    protocol: Option<&String>,
) {
    put(
        set,
        "pod_container_port_name",
        name.cloned().unwrap_or_default(),
    );
    put(set, "pod_container_port_number", number.to_string());
    put(
        set,
        "pod_container_port_protocol",
        protocol.cloned().unwrap_or_else(|| "TCP".to_owned()),
    );
}

pub(super) fn service_labels(service: &Service) -> Set {
    let mut set = Set::new();
    put(
        &mut set,
        "namespace",
        service.namespace().unwrap_or_default(),
    );
    described(&mut set, &service.metadata, "service");
    set
}

pub(super) fn container_id(pod: &Pod, name: &str, init: bool) -> String {
    let statuses = pod.status.as_ref().and_then(|status| match init {
        true => status.init_container_statuses.as_deref(),
        false => status.container_statuses.as_deref(),
    });
    let named = |own: &&ContainerStatus| own.name == name;
    let status = statuses.unwrap_or_default().iter().find(named);
    status
        .and_then(|status| status.container_id.clone())
        .unwrap_or_default()
}

pub(super) fn node_name(reference: Option<&ObjectReference>) -> Option<&str> {
    let node = reference.filter(|own| own.kind.as_deref() == Some("Node"))?;
    node.name.as_deref()
}

pub(super) fn referred(set: &mut Set, prefix: &str, reference: Option<&ObjectReference>) {
    if let Some(own) = reference {
        put(
            set,
            &format!("{prefix}_kind"),
            own.kind.clone().unwrap_or_default(),
        );
        put(
            set,
            &format!("{prefix}_name"),
            own.name.clone().unwrap_or_default(),
        );
    }
}

pub(super) fn slice_port(set: &mut Set, port: &discovery::EndpointPort) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    put(set, "endpointslice_port_name", text(&port.name));
    put(set, "endpointslice_port_protocol", text(&port.protocol));
    let number = port.port.map(|number| number.to_string());
    put(set, "endpointslice_port", number.unwrap_or_default());
    put(
        set,
        "endpointslice_port_app_protocol",
        text(&port.app_protocol),
    );
}

pub(super) fn slice_endpoint(set: &mut Set, endpoint: &discovery::Endpoint) {
    let conditions = endpoint.conditions.as_ref();
    for (name, value) in [
        ("ready", conditions.and_then(|own| own.ready)),
        ("serving", conditions.and_then(|own| own.serving)),
        ("terminating", conditions.and_then(|own| own.terminating)),
    ] {
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        put(
            set,
            &format!("endpointslice_endpoint_conditions_{name}"),
            value,
        );
    }
    for (name, value) in [
        ("hostname", &endpoint.hostname),
        ("node_name", &endpoint.node_name),
        ("zone", &endpoint.zone),
    ] {
        put(
            set,
            &format!("endpointslice_endpoint_{name}"),
            value.clone().unwrap_or_default(),
        );
    }
    for (name, value) in endpoint.deprecated_topology.iter().flatten() {
        let name = plain(name);
        put(
            set,
            &format!("endpointslice_endpoint_topology_{name}"),
            value.clone(),
        );
        put(
            set,
            &format!("endpointslice_endpoint_topology_present_{name}"),
            "true",
        );
    }
    referred(
        set,
        "endpointslice_address_target",
        endpoint.target_ref.as_ref(),
    );
}
