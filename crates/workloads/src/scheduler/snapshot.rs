//! What the scheduler looks at: nodes with the pods on them and what those use.

use crate::{pods, quantity};
use k8s_openapi::api::core::v1::{Node, Pod, ResourceRequirements};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Amounts by resource: `cpu` in thousandths, the rest in whole units.
pub(crate) type Amounts = BTreeMap<String, i64>;

/// A port on the host: protocol, address (empty for all), number.
pub(crate) type HostPort = (String, String, i32);

/// One node and what is on it.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    pub(crate) node: Arc<Node>,
    pub(crate) pods: Vec<Arc<Pod>>,
    pub(crate) used: Amounts,
    pub(crate) ports: BTreeSet<HostPort>,
}

impl NodeView {
    /// A node with its pods; ended ones use nothing.
    pub(crate) fn new(node: Arc<Node>, mut pods: Vec<Arc<Pod>>) -> Self {
        pods.retain(|p| !pods::is_terminal(p));
        let mut used = Amounts::new();
        let mut ports = BTreeSet::new();
        for pod in &pods {
            add(&mut used, &requests(pod));
            ports.extend(host_ports(pod));
        }
        Self {
            node,
            pods,
            used,
            ports,
        }
    }

    /// Name.
    pub(crate) fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }

    /// What may be used of a resource; `None` where the node does not offer it.
    pub(crate) fn allocatable(&self, resource: &str) -> Option<i64> {
        let status = self.node.status.as_ref()?;
        let all = status.allocatable.as_ref().or(status.capacity.as_ref())?;
        all.get(resource).map(|q| amount(resource, q))
    }
}

fn amount(
    resource: &str,
    quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity,
) -> i64 {
    if resource == "cpu" {
        quantity::milli(quantity)
    } else {
        quantity::whole(quantity)
    }
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (resource, amount) in more {
        *total.entry(resource.clone()).or_default() += amount;
    }
}

/// What a pod asks for: its containers together, or one init container if that is more, plus
/// overhead. Init containers that go on running (`restartPolicy: Always`) count as containers,
/// and for the init containers after them.
pub(crate) fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else {
        return Amounts::new();
    };
    let of = |resources: Option<&ResourceRequirements>| -> Amounts {
        let requests = resources.and_then(|r| r.requests.as_ref());
        requests
            .into_iter()
            .flatten()
            .map(|(name, q)| (name.clone(), amount(name, q)))
            .collect()
    };
    let mut total = Amounts::new();
    spec.containers
        .iter()
        .for_each(|c| add(&mut total, &of(c.resources.as_ref())));
    let (mut running, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let wants = of(container.resources.as_ref());
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut running, &wants);
            raise(&mut peak, &running);
        } else {
            let mut at_once = running.clone();
            add(&mut at_once, &wants);
            raise(&mut peak, &at_once);
        }
    }
    add(&mut total, &running);
    raise(&mut total, &peak);
    // Requests of the pod as a whole replace the sums.
    total.extend(of(spec.resources.as_ref()));
    for (resource, overhead) in spec.overhead.iter().flatten() {
        *total.entry(resource.clone()).or_default() += amount(resource, overhead);
    }
    total
}

fn raise(total: &mut Amounts, floor: &Amounts) {
    for (resource, amount) in floor {
        let entry = total.entry(resource.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

/// Host ports a pod asks for.
pub(crate) fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let on_host = spec.host_network.unwrap_or(false);
    let ports = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port
                .host_port
                .filter(|p| *p > 0)
                .or(on_host.then_some(port.container_port))?;
            let address = port
                .host_ip
                .clone()
                .filter(|ip| ip != "0.0.0.0")
                .unwrap_or_default();
            Some((
                port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                address,
                number,
            ))
        })
        .collect()
}

/// Whether two host ports collide.
pub(crate) fn collide(a: &HostPort, b: &HostPort) -> bool {
    a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || a.1.is_empty() || b.1.is_empty())
}
