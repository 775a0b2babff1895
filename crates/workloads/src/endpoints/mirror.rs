//! Endpoints that people keep themselves, of services without a selector, mirrored to slices:
//! everything that follows services reads slices only.

use super::slices::{MANAGED_BY, MOST_ENDPOINTS, SERVICE_NAME};
use crate::ownership::controller_reference;
use crate::template_hash::hash;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations of tools, about the endpoints alone.
const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Addresses of one subset that are mirrored.
const MOST_ADDRESSES: usize = 1000;

/// Whether a slice is kept by this controller.
pub(super) fn is_ours(slice: &EndpointSlice) -> bool {
    let labels = slice.metadata.labels.as_ref();
    labels
        .and_then(|l| l.get(MANAGED_BY))
        .is_some_and(|m| m == MANAGER)
}

/// Whether these are to be mirrored for their service.
pub(super) fn wants(endpoints: &Endpoints, service: &Service) -> bool {
    let meta = &endpoints.metadata;
    let skips = meta
        .labels
        .as_ref()
        .and_then(|l| l.get(SKIP))
        .is_some_and(|v| v == "true");
    let leads = meta
        .annotations
        .as_ref()
        .is_some_and(|a| a.contains_key(LEADER));
    let selects = service
        .spec
        .as_ref()
        .is_some_and(|s| s.selector.as_ref().is_some_and(|s| !s.is_empty()));
    let going = meta.deletion_timestamp.is_some() || service.metadata.deletion_timestamp.is_some();
    !(skips || leads || selects || going)
}

/// The slices, by name.
pub(super) fn wanted(endpoints: &Endpoints) -> BTreeMap<String, EndpointSlice> {
    let mut all = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let mut by_family: BTreeMap<&str, Vec<Endpoint>> = BTreeMap::new();
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let waiting = subset
            .not_ready_addresses
            .iter()
            .flatten()
            .map(|a| (a, false));
        for (address, ready) in ready.chain(waiting).take(MOST_ADDRESSES) {
            let family = match address.ip.parse() {
                Ok(IpAddr::V4(_)) => "IPv4",
                Ok(IpAddr::V6(_)) => "IPv6",
                Err(_) => continue,
            };
            by_family
                .entry(family)
                .or_default()
                .push(endpoint(address, ready));
        }
        for (family, found) in by_family {
            for (part, found) in found.chunks(MOST_ENDPOINTS).enumerate() {
                let slice = slice(endpoints, subset, family, part, found);
                all.insert(slice.metadata.name.clone().unwrap_or_default(), slice);
            }
        }
    }
    all
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn slice(
    endpoints: &Endpoints,
    subset: &EndpointSubset,
    family: &str,
    part: usize,
    found: &[Endpoint],
) -> EndpointSlice {
    let name = endpoints.metadata.name.as_deref().unwrap_or_default();
    let ports: Vec<EndpointPort> = subset
        .ports
        .iter()
        .flatten()
        .map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(port.port),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    let key: Vec<_> = ports
        .iter()
        .map(|p| (&p.name, &p.protocol, p.port))
        .collect();
    let suffix = hash(&("mirror", family, key, part), 0);
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), name.into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| key != LAST_CHANGE && key != LAST_APPLIED);
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{suffix}")),
            generate_name: Some(format!("{name}-")),
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: family.into(),
        endpoints: Some(found.to_vec()),
        ports: Some(ports),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn subsets_become_slices_by_family() {
        let endpoints: Endpoints = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "u", "labels": {"a": "b"}, "annotations": {(LAST_APPLIED): "{}"}},
            "subsets": [
                {"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "notReadyAddresses": [{"ip": "192.0.2.2", "hostname": "h"}],
                 "ports": [{"name": "sql", "port": 5432}]},
                {"addresses": [{"ip": "192.0.2.3"}], "ports": [{"port": 80}]}
            ]
        }))
        .expect("endpoints");
        let service: Service =
            serde_json::from_value(json!({"metadata": {"name": "db"}, "spec": {}}))
                .expect("service");
        assert!(wants(&endpoints, &service));
        let slices: Vec<EndpointSlice> = wanted(&endpoints).into_values().collect();
        assert_eq!(slices.len(), 3);
        let ready: Vec<(String, Option<bool>)> = slices
            .iter()
            .flat_map(|s| s.endpoints.iter().flatten())
            .map(|e| {
                (
                    e.addresses[0].clone(),
                    e.conditions.as_ref().and_then(|c| c.ready),
                )
            })
            .collect();
        for (address, wanted) in [
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("192.0.2.3", true),
            ("2001:db8::1", true),
        ] {
            assert!(ready.contains(&(address.into(), Some(wanted))), "{ready:?}");
        }
        assert!(
            slices
                .iter()
                .all(|s| is_ours(s) && s.metadata.annotations.is_none())
        );
        assert_eq!(wanted(&endpoints).len(), 3);
    }

    #[test]
    fn selecting_services_and_leaders_are_left_alone() {
        let of = |endpoints: serde_json::Value, spec: serde_json::Value| {
            let endpoints =
                serde_json::from_value(json!({ "metadata": endpoints })).expect("endpoints");
            let service =
                serde_json::from_value(json!({"metadata": {}, "spec": spec})).expect("service");
            wants(&endpoints, &service)
        };
        assert!(of(json!({}), json!({})));
        assert!(!of(json!({}), json!({"selector": {"a": "b"}})));
        assert!(!of(json!({"labels": {(SKIP): "true"}}), json!({})));
        assert!(!of(json!({"annotations": {(LEADER): "{}"}}), json!({})));
    }
}
