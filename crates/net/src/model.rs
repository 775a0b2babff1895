//! Services and their endpoints as this crate sees them.
//!
//! One [`Model`] is fed by watches and read by rules, DNS and ingress. It holds only what they
//! need, already parsed; each of them derives its own view as a pure function of it.

use crate::rules::{Balance, Listener, Protocol, ServicePort, Wanted};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use towpath_kit::cache::Key;

/// What became of `spec.clusterIP`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not given out yet.
    #[default]
    Pending,
    /// Has addresses.
    Addresses(Vec<Ipv4Addr>),
    /// `None`: names lead to the endpoints themselves.
    Headless,
    /// `ExternalName`.
    External(String),
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) node_port: Option<u16>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceView {
    pub(crate) kind: Kind,
    pub(crate) external_ips: Vec<Ipv4Addr>,
    pub(crate) ports: Vec<Port>,
    pub(crate) balance: Balance,
    pub(crate) publish_not_ready: bool,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointView {
    pub(crate) address: Ipv4Addr,
    pub(crate) ready: bool,
    /// Still answers although it is on its way out.
    pub(crate) serving: bool,
    pub(crate) hostname: Option<String>,
}

/// One slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SliceView {
    pub(crate) service: Key,
    pub(crate) ports: Vec<(String, Protocol, u16)>,
    pub(crate) endpoints: Vec<EndpointView>,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    services: BTreeMap<Key, ServiceView>,
    slices: BTreeMap<Key, SliceView>,
    by_service: BTreeMap<Key, BTreeSet<Key>>,
    namespaces: BTreeSet<String>,
}

fn addresses(texts: &[String]) -> Vec<Ipv4Addr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

impl ServiceView {
    /// From the object; node ports outside the range are left out.
    pub(crate) fn of(service: &Service, node_ports: &RangeInclusive<u16>) -> Self {
        let Some(spec) = &service.spec else {
            return Self::default();
        };
        let cluster_ip = spec.cluster_ip.clone().unwrap_or_default();
        let kind = if spec.type_.as_deref() == Some("ExternalName") {
            Kind::External(spec.external_name.clone().unwrap_or_default())
        } else if cluster_ip == "None" {
            Kind::Headless
        } else {
            let mut found = addresses(&[cluster_ip]);
            for more in addresses(spec.cluster_ips.as_deref().unwrap_or_default()) {
                if !found.contains(&more) {
                    found.push(more);
                }
            }
            if found.is_empty() {
                Kind::Pending
            } else {
                Kind::Addresses(found)
            }
        };
        let ports = spec.ports.iter().flatten().filter_map(|one| {
            Some(Port {
                name: one.name.clone().unwrap_or_default(),
                protocol: Protocol::parse(one.protocol.as_deref())?,
                port: port(one.port)?,
                node_port: one
                    .node_port
                    .and_then(port)
                    .filter(|port| node_ports.contains(port)),
            })
        });
        let by_client = spec.session_affinity.as_deref() == Some("ClientIP");
        Self {
            kind,
            external_ips: addresses(spec.external_ips.as_deref().unwrap_or_default()),
            ports: ports.collect(),
            balance: if by_client {
                Balance::Client
            } else {
                Balance::Random
            },
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
        }
    }
}

impl SliceView {
    /// From the object; `None` where it belongs to no service or is not IPv4.
    pub(crate) fn of(slice: &EndpointSlice) -> Option<Self> {
        if slice.address_type != "IPv4" {
            return None;
        }
        let service = slice
            .metadata
            .labels
            .as_ref()?
            .get("kubernetes.io/service-name")?;
        let namespace = slice.metadata.namespace.clone().unwrap_or_default();
        let ports = slice.ports.iter().flatten().filter_map(|one| {
            let name = one.name.clone().unwrap_or_default();
            Some((
                name,
                Protocol::parse(one.protocol.as_deref())?,
                port(one.port?)?,
            ))
        });
        let endpoints = slice.endpoints.iter().flatten().filter_map(|one| {
            // All addresses of one endpoint are interchangeable: the first is enough.
            let address = addresses(&one.addresses).first().copied()?;
            let conditions = one.conditions.as_ref();
            // An absent condition counts as ready.
            let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
            Some(EndpointView {
                address,
                ready,
                serving,
                hostname: one.hostname.clone(),
            })
        });
        Some(Self {
            service: Key::new(namespace, service.clone()),
            ports: ports.collect(),
            endpoints: endpoints.collect(),
        })
    }
}

impl Model {
    /// Takes a service in, or out.
    pub(crate) fn set_service(&mut self, key: &Key, service: Option<ServiceView>) -> bool {
        match service {
            Some(new) => self.services.insert(key.clone(), new.clone()).as_ref() != Some(&new),
            None => self.services.remove(key).is_some(),
        }
    }

    /// Takes a slice in, or out.
    pub(crate) fn set_slice(&mut self, key: &Key, slice: Option<SliceView>) -> bool {
        let old = match &slice {
            Some(new) => self.slices.insert(key.clone(), new.clone()),
            None => self.slices.remove(key),
        };
        if old == slice {
            return false;
        }
        if let Some(old) = &old
            && let Some(keys) = self.by_service.get_mut(&old.service)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_service.remove(&old.service);
            }
        }
        if let Some(new) = slice {
            self.by_service
                .entry(new.service)
                .or_default()
                .insert(key.clone());
        }
        true
    }

    /// Takes a namespace in, or out.
    pub(crate) fn set_namespace(&mut self, name: &str, there: bool) {
        if there {
            self.namespaces.insert(name.to_string());
        } else {
            self.namespaces.remove(name);
        }
    }

    /// Whether a namespace is there, or something in it.
    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name)
            || self
                .services
                .range(Key::new(name, "")..)
                .next()
                .is_some_and(|(key, _)| key.namespace == name)
    }

    /// One service.
    pub(crate) fn service(&self, key: &Key) -> Option<&ServiceView> {
        self.services.get(key)
    }

    /// All services.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&Key, &ServiceView)> {
        self.services.iter()
    }

    /// The slices of a service.
    pub(crate) fn slices(&self, service: &Key) -> impl Iterator<Item = &SliceView> {
        self.by_service
            .get(service)
            .into_iter()
            .flatten()
            .filter_map(|key| self.slices.get(key))
    }

    /// Where connections to a port of a service may go: ready endpoints; where there are none,
    /// those that still serve while they end, so that a rollout of a single pod is not a gap.
    pub(crate) fn endpoints(&self, service: &Key, port: &Port) -> BTreeSet<(Ipv4Addr, u16)> {
        let all = || {
            self.slices(service).flat_map(move |slice| {
                let target = slice
                    .ports
                    .iter()
                    .find(|(name, protocol, _)| *name == port.name && *protocol == port.protocol)
                    .map(|(_, _, number)| *number);
                slice
                    .endpoints
                    .iter()
                    .filter_map(move |one| Some((one, target?)))
            })
        };
        let pick = |test: &dyn Fn(&EndpointView) -> bool| -> BTreeSet<_> {
            all()
                .filter(|(one, _)| test(one))
                .map(|(one, target)| (one.address, target))
                .collect()
        };
        let ready = pick(&|one| one.ready);
        if ready.is_empty() {
            pick(&|one| one.serving)
        } else {
            ready
        }
    }

    /// Everything the kernel is to translate.
    pub(crate) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::new();
        for (key, service) in &self.services {
            let Kind::Addresses(cluster_ips) = &service.kind else {
                continue;
            };
            for port in &service.ports {
                let endpoints = self.endpoints(key, port);
                let routed = ServicePort {
                    balance: service.balance,
                    endpoints,
                };
                for address in cluster_ips.iter().chain(&service.external_ips) {
                    let listener = Listener::Address(*address, port.protocol, port.port);
                    wanted.insert(listener, routed.clone());
                }
                if let Some(node_port) = port.node_port {
                    wanted.insert(Listener::NodePort(port.protocol, node_port), routed);
                }
            }
        }
        wanted
    }
}
