//! Which pods stand behind a service, and in what state.

use crate::pods;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::IpAddr;
use std::sync::Arc;

/// One resolved port of one pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) number: i32,
    pub(crate) app_protocol: Option<String>,
}

/// A pod behind a service at one address.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) pod: Arc<Pod>,
    pub(crate) address: String,
    pub(crate) ports: Vec<Port>,
    pub(crate) ready: bool,
    pub(crate) serving: bool,
    pub(crate) terminating: bool,
    pub(crate) hostname: Option<String>,
}

/// Whether a service has no cluster address by intent.
pub(crate) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None")
}

/// Whether its endpoints are ours to keep.
pub(crate) fn is_selecting(service: &Service) -> bool {
    let Some(spec) = &service.spec else {
        return false;
    };
    spec.selector.as_ref().is_some_and(|s| !s.is_empty())
        && spec.type_.as_deref() != Some("ExternalName")
}

/// Address families of a service: `IPv4`, `IPv6`.
pub(crate) fn families(service: &Service) -> Vec<String> {
    let spec = service.spec.as_ref();
    if let Some(families) = spec
        .and_then(|s| s.ip_families.clone())
        .filter(|f| !f.is_empty())
    {
        return families;
    }
    let v6 = spec
        .and_then(|s| s.cluster_ip.as_deref())
        .is_some_and(|ip| ip.contains(':'));
    vec![if v6 { "IPv6" } else { "IPv4" }.into()]
}

fn address(pod: &Pod, family: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let listed = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut all = listed.chain(status.pod_ip.as_deref());
    let fits = |ip: &&str| match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    };
    all.find(fits).map(str::to_string)
}

// A port by name is the container's port of that name and protocol, so it may differ per pod; a
// pod without it has no such endpoint.
fn resolve(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let named = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(text)) if text.is_empty() => return Some(port.port),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut ports = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|c| c.ports.iter().flatten());
    ports
        .find(|p| {
            p.name.as_ref() == Some(named) && p.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .map(|p| p.container_port)
}

/// Backends of a service in one address family, in order of address. Pods that ended or have no
/// address stand behind nothing.
pub(crate) fn backends(service: &Service, pods: &[Arc<Pod>], family: &str) -> Vec<Backend> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let publish_all = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut found: Vec<Backend> = pods
        .iter()
        .filter(|p| !pods::is_terminal(p))
        .filter_map(|pod| {
            let address = address(pod, family)?;
            let ports = spec.ports.iter().flatten().filter_map(|port| {
                Some(Port {
                    name: port.name.clone().unwrap_or_default(),
                    protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                    number: resolve(port, pod)?,
                    app_protocol: port.app_protocol.clone(),
                })
            });
            let (serving, terminating) = (pods::is_ready(pod), pods::is_deleting(pod));
            let pod_spec = pod.spec.as_ref();
            let belongs =
                pod_spec.and_then(|s| s.subdomain.as_ref()) == service.metadata.name.as_ref();
            Some(Backend {
                ports: ports.collect(),
                address,
                ready: publish_all || (serving && !terminating),
                serving,
                terminating,
                hostname: pod_spec
                    .and_then(|s| s.hostname.clone())
                    .filter(|h| belongs && !h.is_empty()),
                pod: pod.clone(),
            })
        })
        .collect();
    found.sort_by(|a, b| a.address.cmp(&b.address));
    found
}

/// Reference to a backend's pod.
pub(crate) fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
