//! Targets made of objects of the cluster, with upstream's labels `__meta_kubernetes_…`.
//!
//! What is found is a pure function of the objects; [`Objects`] holds watched copies of them.

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, EndpointAddress, EndpointPort, Endpoints, Node, ObjectReference,
    Pod, Service,
};
use k8s_openapi::api::discovery::v1::{self as discovery, EndpointSlice};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_daemon::CancellationToken;
use towpath_kit::cache::{Cache, Key};

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
    /// Starts the watches beside one of pods that is there already.
    pub fn start(client: &kube::Client, pods: Cache<Pod>, cancel: &CancellationToken) -> Self {
        Self {
            pods,
            nodes: Cache::start(client, cancel.clone()),
            services: Cache::start(client, cancel.clone()),
            endpoints: Cache::start(client, cancel.clone()),
            slices: Cache::start(client, cancel.clone()),
            ingresses: Cache::start(client, cancel.clone()),
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
            Role::Node => each(self.nodes.all(), |_| true, |object| node_group(object)),
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

const META: &str = "__meta_kubernetes_";

fn put(set: &mut Set, name: &str, value: impl Into<String>) {
    let value = value.into();
    if !value.is_empty() {
        set.insert(format!("{META}{name}"), value);
    }
}

/// A name of a label with what labels may not have replaced.
fn plain(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// Name, labels and annotations of an object.
fn described(set: &mut Set, meta: &ObjectMeta, role: &str) {
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

fn address(host: &str, port: impl std::fmt::Display) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn target(address: String) -> Set {
    Set::from([("__address__".to_owned(), address)])
}

fn source(kind: &str, meta: &ObjectMeta) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{kind}/{}/{}", part(&meta.namespace), part(&meta.name))
}

fn pod_ip(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.pod_ip.as_deref())
        .unwrap_or_default()
}

fn pod_labels(pod: &Pod) -> Set {
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
fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
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

fn container_labels(set: &mut Set, container: &Container, init: bool) {
    put(set, "pod_container_name", container.name.clone());
    put(
        set,
        "pod_container_image",
        container.image.clone().unwrap_or_default(),
    );
    put(set, "pod_container_init", init.to_string());
}

fn port_labels(set: &mut Set, name: Option<&String>, number: i32, protocol: Option<&String>) {
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

fn service_labels(service: &Service) -> Set {
    let mut set = Set::new();
    put(
        &mut set,
        "namespace",
        service.namespace().unwrap_or_default(),
    );
    described(&mut set, &service.metadata, "service");
    set
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

fn container_id(pod: &Pod, name: &str, init: bool) -> String {
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

fn node_name(reference: Option<&ObjectReference>) -> Option<&str> {
    let node = reference.filter(|own| own.kind.as_deref() == Some("Node"))?;
    node.name.as_deref()
}

fn referred(set: &mut Set, prefix: &str, reference: Option<&ObjectReference>) {
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

fn slice_port(set: &mut Set, port: &discovery::EndpointPort) {
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

fn slice_endpoint(set: &mut Set, endpoint: &discovery::Endpoint) {
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

fn node_group(node: &Node) -> Option<Group> {
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

fn service_group(service: &Service) -> Group {
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

fn ingress_group(ingress: &Ingress) -> Group {
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

fn covers(pattern: &str, host: &str) -> bool {
    let rest = pattern.strip_prefix("*.");
    pattern == host || rest.is_some_and(|rest| host.split_once('.').is_some_and(|h| h.1 == rest))
}

#[cfg(test)]
mod tests {
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
