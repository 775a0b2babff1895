//! Targets made of objects of the cluster, with upstream's labels `__meta_kubernetes_…`.
//!
//! What is found is a pure function of the objects; [`Objects`] holds watched copies of them.

mod groups;
mod labels;

use groups::{ingress_group, node_group, service_group};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, Endpoints, Node, ObjectReference, Pod, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_kit::cache::{Cache, Key};
use towpath_kit::copies::Copies;

use labels::{
    address, container_id, container_labels, containers, described, node_name, pod_ip, pod_labels,
    port_labels, put, referred, service_labels, slice_endpoint, slice_port, source, target,
};

use crate::scrape::Group;
use crate::scrape::relabel::Set;
use crate::scrape::written::{KubernetesDiscovery, Role};

/// Watched copies of what targets are made of. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    /// Pods; environments and probes of containers are not needed.
    pub pods: Cache<Pod>,
    /// Nodes.
    pub nodes: Cache<Node>,
    /// Services.
    pub services: Cache<Service>,
    /// Endpoints.
    pub endpoints: Cache<Endpoints>,
    /// Endpoint slices.
    pub slices: Cache<EndpointSlice>,
    /// Ingresses.
    pub ingresses: Cache<Ingress>,
}

impl Objects {
    /// Those among the copies that all components share.
    pub fn of(copies: &Copies) -> Self {
        Self {
            pods: copies.pods.clone(),
            nodes: copies.nodes.clone(),
            services: copies.services.clone(),
            endpoints: copies.endpoints.clone(),
            slices: copies.slices.clone(),
            ingresses: copies.ingresses.clone(),
        }
    }

    /// Waits until every watch has its first list.
    pub async fn ready(&self) {
        self.pods.ready().await;
        self.nodes.ready().await;
        self.services.ready().await;
        self.endpoints.ready().await;
        self.slices.ready().await;
        self.ingresses.ready().await;
    }

    /// Calls `changed` whenever any of the objects changes.
    pub fn on_change(&self, changed: impl Fn() + Clone + Send + Sync + 'static) {
        let call = || {
            let changed = changed.clone();
            move || changed()
        };
        let (a, b, c, d, e, f) = (call(), call(), call(), call(), call(), call());
        self.pods.on_change(move |_| a());
        self.nodes.on_change(move |_| b());
        self.services.on_change(move |_| c());
        self.endpoints.on_change(move |_| d());
        self.slices.on_change(move |_| e());
        self.ingresses.on_change(move |_| f());
    }

    /// The targets of a configuration, a group per object; with `annotated` only of pods, and
    /// endpoints of services, that ask to be scraped.
    pub fn groups(&self, config: &KubernetesDiscovery, annotated: bool) -> Vec<Group> {
        let names = &config.namespaces.names;
        let wanted = |meta: &ObjectMeta| {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let inside = names.is_empty() || names.iter().any(|name| name == namespace);
            let mut selectors = config
                .selectors
                .iter()
                .filter(|own| own.role == config.role);
            let asked = !annotated || self.asks(config.role, meta);
            asked
                && inside
                && selectors.all(|own| selects(own.label.as_deref().unwrap_or(""), meta))
        };
        let node = config.attach_metadata.node;
        match config.role {
            Role::Node => each(self.nodes.all(), |_| true, node_group),
            Role::Pod => each(self.pods.all(), wanted, |object| {
                Some(self.pod(object, node))
            }),
            Role::Service => each(self.services.all(), wanted, |own| Some(service_group(own))),
            Role::Endpoints => each(self.endpoints.all(), wanted, |own| {
                Some(self.endpoints(own, node))
            }),
            Role::EndpointSlice => {
                each(self.slices.all(), wanted, |own| Some(self.slice(own, node)))
            }
            Role::Ingress => each(self.ingresses.all(), wanted, |own| Some(ingress_group(own))),
        }
    }
}

impl Objects {
    fn asks(&self, role: Role, meta: &ObjectMeta) -> bool {
        let scrape = |meta: &ObjectMeta| {
            let all = meta.annotations.as_ref();
            all.and_then(|all| all.get("prometheus.io/scrape"))
                .is_some_and(|own| own == "true")
        };
        if role == Role::Pod {
            return scrape(meta);
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let service = self
            .services
            .get(&Key::new(text(&meta.namespace), text(&meta.name)));
        service.is_some_and(|service| scrape(&service.metadata))
    }
}

fn each<K: kube::Resource>(
    objects: Vec<Arc<K>>,
    wanted: impl Fn(&ObjectMeta) -> bool,
    group: impl Fn(&K) -> Option<Group>,
) -> Vec<Group> {
    let wanted = objects.iter().filter(|object| wanted(object.meta()));
    wanted.filter_map(|object| group(object)).collect()
}

/// Whether a selector of labels takes an object: `a=b`, `a!=b`, `a`, `!a`, `a in (b,c)`,
/// `a notin (b,c)`, joined by commas.
pub(crate) fn selects(selector: &str, meta: &ObjectMeta) -> bool {
    let value = |name: &str| {
        meta.labels
            .as_ref()
            .and_then(|labels| labels.get(name.trim()))
    };
    let mut depth = 0;
    let parts = selector.split(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    });
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .all(|part| {
            let among = |rest: &str, own: Option<&String>| {
                let list = rest.trim().trim_start_matches('(').trim_end_matches(')');
                own.is_some_and(|own| list.split(',').any(|value| value.trim() == own))
            };
            if let Some((name, values)) = part.split_once(" notin ") {
                !among(values, value(name))
            } else if let Some((name, values)) = part.split_once(" in ") {
                among(values, value(name))
            } else if let Some((name, other)) = part.split_once("!=") {
                value(name).is_none_or(|own| own != other.trim())
            } else if let Some((name, other)) = part.split_once('=') {
                value(name).is_some_and(|own| own == other.trim_start_matches('=').trim())
            } else if let Some(name) = part.strip_prefix('!') {
                value(name).is_none()
            } else {
                value(part).is_some()
            }
        })
}

/// A pod that endpoints lead to, with the ports they cover.
type Covered = BTreeMap<Key, (Arc<Pod>, Vec<i32>)>;

impl Objects {
    fn node_labels(&self, set: &mut Set, name: Option<&str>) {
        let node = name.and_then(|name| self.nodes.get(&Key::new("", name)));
        if let Some(node) = node {
            described(set, &node.metadata, "node");
        }
    }

    fn pod(&self, pod: &Pod, node: bool) -> Group {
        let source = source("pod", &pod.metadata);
        let ip = pod_ip(pod);
        if ip.is_empty() {
            return Group {
                source,
                ..Group::default()
            };
        }
        let mut labels = pod_labels(pod);
        put(
            &mut labels,
            "namespace",
            pod.namespace().unwrap_or_default(),
        );
        if node {
            let name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            self.node_labels(&mut labels, name);
        }
        let mut targets = Vec::new();
        for (container, init) in containers(pod) {
            let id = container_id(pod, &container.name, init);
            let ports = container.ports.as_deref().unwrap_or_default();
            let mut own = |at: String, port: Option<&k8s_openapi::api::core::v1::ContainerPort>| {
                let mut set = target(at);
                container_labels(&mut set, container, init);
                put(&mut set, "pod_container_id", id.clone());
                if let Some(port) = port {
                    let protocol = port.protocol.as_ref();
                    port_labels(&mut set, port.name.as_ref(), port.container_port, protocol);
                }
                targets.push(set);
            };
            if ports.is_empty() {
                own(ip.to_owned(), None);
            }
            for port in ports {
                own(address(ip, port.container_port), Some(port));
            }
        }
        Group {
            source,
            targets,
            labels,
        }
    }

    fn resolve(&self, reference: Option<&ObjectReference>) -> Option<(Key, Arc<Pod>)> {
        let reference = reference.filter(|own| own.kind.as_deref() == Some("Pod"))?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let key = Key::new(text(&reference.namespace), text(&reference.name));
        self.pods.get(&key).map(|pod| (key, pod))
    }

    /// Adds what is known of the pod behind an address.
    fn behind(
        &self,
        set: &mut Set,
        reference: Option<&ObjectReference>,
        port: Option<i32>,
        covered: &mut Covered,
    ) {
        let Some((key, pod)) = self.resolve(reference) else {
            return;
        };
        set.extend(pod_labels(&pod));
        let found = containers(&pod).find_map(|(container, init)| {
            let mut ports = container.ports.iter().flatten();
            let own = ports.find(|own| Some(own.container_port) == port)?;
            Some((container, init, own))
        });
        if let Some((container, init, own)) = found {
            container_labels(set, container, init);
            port_labels(
                set,
                own.name.as_ref(),
                own.container_port,
                own.protocol.as_ref(),
            );
        }
        let entry = covered
            .entry(key)
            .or_insert_with(|| (Arc::clone(&pod), Vec::new()));
        entry.1.extend(port);
    }

    fn endpoints(&self, endpoints: &Endpoints, node: bool) -> Group {
        let mut labels = Set::new();
        put(
            &mut labels,
            "namespace",
            endpoints.namespace().unwrap_or_default(),
        );
        if let Some(service) = self.services.get(&Key::of(endpoints)) {
            labels.extend(service_labels(&service));
        }
        described(&mut labels, &endpoints.metadata, "endpoints");
        let (mut targets, mut covered) = (Vec::new(), Covered::new());
        let mut add = |own: &EndpointAddress, port: &EndpointPort, ready: bool| {
            let mut set = target(address(&own.ip, port.port));
            put(
                &mut set,
                "endpoint_port_name",
                port.name.clone().unwrap_or_default(),
            );
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            put(&mut set, "endpoint_port_protocol", protocol);
            put(&mut set, "endpoint_ready", ready.to_string());
            let reference = own.target_ref.as_ref();
            referred(&mut set, "endpoint_address_target", reference);
            put(
                &mut set,
                "endpoint_node_name",
                own.node_name.clone().unwrap_or_default(),
            );
            put(
                &mut set,
                "endpoint_hostname",
                own.hostname.clone().unwrap_or_default(),
            );
            if node {
                self.node_labels(&mut set, own.node_name.as_deref().or(node_name(reference)));
            }
            self.behind(&mut set, reference, Some(port.port), &mut covered);
            targets.push(set);
        };
        for subset in endpoints.subsets.iter().flatten() {
            for port in subset.ports.iter().flatten() {
                subset
                    .addresses
                    .iter()
                    .flatten()
                    .for_each(|own| add(own, port, true));
                subset
                    .not_ready_addresses
                    .iter()
                    .flatten()
                    .for_each(|own| add(own, port, false));
            }
        }
        uncovered(&covered, &mut targets);
        Group {
            source: source("endpoints", &endpoints.metadata),
            targets,
            labels,
        }
    }

    fn slice(&self, slice: &EndpointSlice, node: bool) -> Group {
        let mut labels = Set::new();
        let namespace = slice.namespace().unwrap_or_default();
        put(&mut labels, "namespace", namespace.clone());
        put(
            &mut labels,
            "endpointslice_address_type",
            slice.address_type.clone(),
        );
        described(&mut labels, &slice.metadata, "endpointslice");
        if let Some(name) = slice.labels().get("kubernetes.io/service-name")
            && let Some(service) = self.services.get(&Key::new(namespace, name.clone()))
        {
            labels.extend(service_labels(&service));
        }
        let (mut targets, mut covered) = (Vec::new(), Covered::new());
        for endpoint in slice.endpoints.iter().flatten() {
            for port in slice.ports.iter().flatten() {
                for own in &endpoint.addresses {
                    let at = match port.port {
                        Some(number) => address(own, number),
                        None => own.clone(),
                    };
                    let mut set = target(at);
                    slice_port(&mut set, port);
                    slice_endpoint(&mut set, endpoint);
                    let reference = endpoint.target_ref.as_ref();
                    if node {
                        let name = node_name(reference).or(endpoint.node_name.as_deref());
                        self.node_labels(&mut set, name);
                    }
                    self.behind(&mut set, reference, port.port, &mut covered);
                    targets.push(set);
                }
            }
        }
        uncovered(&covered, &mut targets);
        Group {
            source: source("endpointslice", &slice.metadata),
            targets,
            labels,
        }
    }
}

/// Ports of the pods that no service leads to are targets too.
fn uncovered(covered: &Covered, targets: &mut Vec<Set>) {
    for (pod, seen) in covered.values().filter(|(pod, _)| !pod_ip(pod).is_empty()) {
        for (container, init) in containers(pod) {
            for port in container.ports.iter().flatten() {
                if seen.contains(&port.container_port) {
                    continue;
                }
                let mut set = target(address(pod_ip(pod), port.container_port));
                container_labels(&mut set, container, init);
                let protocol = port.protocol.as_ref();
                port_labels(&mut set, port.name.as_ref(), port.container_port, protocol);
                set.extend(pod_labels(pod));
                targets.push(set);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::groups::covers;
    use super::*;

    #[test]
    fn selectors_of_labels() {
        let meta = ObjectMeta {
            labels: Some(
                [
                    ("app".to_owned(), "x".to_owned()),
                    ("tier".into(), "web".into()),
                ]
                .into(),
            ),
            ..ObjectMeta::default()
        };
        for (selector, expected) in [
            ("", true),
            ("app=x", true),
            ("app==x,tier!=db", true),
            ("app in (y, x),tier", true),
            ("app notin (x)", false),
            ("!app", false),
            ("!other,other!=1", true),
        ] {
            assert_eq!(selects(selector, &meta), expected, "{selector}");
        }
    }

    #[test]
    fn hosts_and_patterns() {
        assert!(covers("*.a.b", "x.a.b") && covers("x", "x"));
        assert!(!covers("*.a.b", "y.x.a.b") && !covers("*.a.b", "a.b"));
        assert_eq!(address("::1", 5), "[::1]:5");
    }
}
