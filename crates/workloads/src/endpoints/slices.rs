//! Endpoint slices of a service: one per combination of resolved ports, in parts of 100.
//!
//! Names are derived from service, family, ports and part, so a pass that is repeated meets its
//! own slices.

use super::backends::{Backend, Port, backends, families, is_headless, target};
use crate::ownership::controller_reference;
use crate::template_hash::hash;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const MOST_ENDPOINTS: usize = 100;
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Whether a slice is kept by this controller.
pub(crate) fn is_ours(slice: &EndpointSlice) -> bool {
    slice
        .metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(MANAGED_BY))
        .is_some_and(|m| m == MANAGER)
}

/// Name of the service a slice belongs to.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<&str> {
    slice
        .metadata
        .labels
        .as_ref()?
        .get(SERVICE_NAME)
        .map(String::as_str)
}

/// What to write.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) update: Vec<EndpointSlice>,
    pub(crate) delete: Vec<Arc<EndpointSlice>>,
}

/// Compares the slices a service should have with those it has.
pub(crate) fn plan(service: &Service, pods: &[Arc<Pod>], have: &[Arc<EndpointSlice>]) -> Plan {
    let mut wanted: BTreeMap<String, EndpointSlice> = BTreeMap::new();
    for family in families(service) {
        for slice in wanted_slices(service, pods, &family) {
            wanted.insert(slice.metadata.name.clone().unwrap_or_default(), slice);
        }
    }
    compare(wanted, have)
}

/// What makes the slices that are there those that are wanted.
pub(super) fn compare(
    mut wanted: BTreeMap<String, EndpointSlice>,
    have: &[Arc<EndpointSlice>],
) -> Plan {
    let mut plan = Plan::default();
    for old in have {
        match wanted.remove(old.metadata.name.as_deref().unwrap_or_default()) {
            None => plan.delete.push(old.clone()),
            Some(new) => plan.update.extend(changed(old, new)),
        }
    }
    plan.create = wanted.into_values().collect();
    plan
}

fn changed(old: &EndpointSlice, new: EndpointSlice) -> Option<EndpointSlice> {
    let list = |s: &EndpointSlice| s.endpoints.clone().unwrap_or_default();
    let ports = |s: &EndpointSlice| s.ports.clone().unwrap_or_default();
    if list(old) == list(&new)
        && ports(old) == ports(&new)
        && old.metadata.labels == new.metadata.labels
    {
        return None;
    }
    let mut next = old.clone();
    next.metadata.labels = new.metadata.labels;
    next.endpoints = new.endpoints;
    next.ports = new.ports;
    Some(next)
}

fn wanted_slices(service: &Service, pods: &[Arc<Pod>], family: &str) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Backend>> = BTreeMap::new();
    for backend in backends(service, pods, family) {
        let mut ports = backend.ports.clone();
        ports.sort();
        groups.entry(ports).or_default().push(backend);
    }
    if groups.is_empty() {
        // Clients may wait for a slice, so there is always one.
        groups.insert(Vec::new(), Vec::new());
    }
    let mut slices = Vec::new();
    for (ports, group) in groups {
        let parts: Vec<&[Backend]> = if group.is_empty() {
            vec![&[]]
        } else {
            group.chunks(MOST_ENDPOINTS).collect()
        };
        for (number, part) in parts.into_iter().enumerate() {
            slices.push(slice(service, family, &ports, number, part));
        }
    }
    slices
}

fn slice(
    service: &Service,
    family: &str,
    ports: &[Port],
    part: usize,
    group: &[Backend],
) -> EndpointSlice {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let key: Vec<_> = ports
        .iter()
        .map(|p| (&p.name, &p.protocol, p.number))
        .collect();
    let suffix = hash(&(family, key, part), 0);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.into(), name.into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{suffix}")),
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.into(),
        endpoints: Some(group.iter().map(endpoint).collect()),
        ports: Some(
            ports
                .iter()
                .map(|p| EndpointPort {
                    name: Some(p.name.clone()),
                    port: Some(p.number),
                    protocol: Some(p.protocol.clone()),
                    app_protocol: p.app_protocol.clone(),
                })
                .collect(),
        ),
    }
}

fn endpoint(backend: &Backend) -> Endpoint {
    Endpoint {
        addresses: vec![backend.address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        hostname: backend.hostname.clone(),
        node_name: crate::pods::node(&backend.pod).map(str::to_string),
        target_ref: Some(target(&backend.pod)),
        ..Endpoint::default()
    }
}
