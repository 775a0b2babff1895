//! The older `Endpoints` of a service, for clients that still read them.

use super::backends::{Backend, Port, backends, families, is_headless, target};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// More addresses than this are cut, as upstream does.
const MOST_ADDRESSES: usize = 1000;

/// Whether endpoints without a service are left over from this controller.
pub(crate) fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints
        .metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(MANAGED_BY))
        .is_some_and(|m| m == MANAGER)
}

/// What the service's endpoints should be; in the first address family only.
pub(crate) fn wanted(service: &Service, pods: &[Arc<Pod>]) -> Endpoints {
    let family = families(service)
        .into_iter()
        .next()
        .unwrap_or_else(|| "IPv4".into());
    let mut groups: BTreeMap<Vec<Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> =
        BTreeMap::new();
    let all = backends(service, pods, &family);
    // Pods on their way out are in slices only.
    for backend in all
        .iter()
        .filter(|b| !b.terminating || b.ready)
        .take(MOST_ADDRESSES)
    {
        let mut ports = backend.ports.clone();
        ports.sort();
        let group = groups.entry(ports).or_default();
        if backend.ready {
            group.0.push(address(backend))
        } else {
            group.1.push(address(backend))
        }
    }
    let list = |v: Vec<EndpointAddress>| (!v.is_empty()).then_some(v);
    let has_ports = service
        .spec
        .as_ref()
        .and_then(|s| s.ports.as_ref())
        .is_some_and(|p| !p.is_empty());
    let subsets: Vec<EndpointSubset> = groups
        .into_iter()
        .filter(|(ports, _)| !ports.is_empty() || !has_ports)
        .map(|(ports, (ready, not_ready))| EndpointSubset {
            addresses: list(ready),
            not_ready_addresses: list(not_ready),
            ports: (!ports.is_empty()).then(|| ports.into_iter().map(port).collect()),
        })
        .collect();
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

fn port(port: Port) -> EndpointPort {
    EndpointPort {
        name: (!port.name.is_empty()).then_some(port.name),
        port: port.number,
        protocol: Some(port.protocol),
        app_protocol: port.app_protocol,
    }
}

fn address(backend: &Backend) -> EndpointAddress {
    EndpointAddress {
        ip: backend.address.clone(),
        hostname: backend.hostname.clone(),
        node_name: crate::pods::node(&backend.pod).map(str::to_string),
        target_ref: Some(target(&backend.pod)),
    }
}
