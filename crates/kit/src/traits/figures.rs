//! What pods and the node use now. Implemented by `node`; used for autoscaling and for
//! `metrics.k8s.io`.

use std::time::Duration;

/// Use of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFigures {
    /// Name in the pod's spec.
    pub name: String,
    /// Processor use over the window, billionths of a core.
    pub cpu_nanocores: u64,
    /// Memory that cannot be reclaimed easily, bytes.
    pub memory_bytes: u64,
}

/// Use of one pod's running containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFigures {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// End of the window, RFC 3339.
    pub timestamp: String,
    /// Time over which processor use was averaged.
    pub window: Duration,
    /// One entry per running container.
    pub containers: Vec<ContainerFigures>,
}

/// Use of the whole machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFigures {
    /// Name of the Node.
    pub name: String,
    /// End of the window, RFC 3339.
    pub timestamp: String,
    /// Time over which processor use was averaged.
    pub window: Duration,
    /// Processor use over the window, billionths of a core.
    pub cpu_nanocores: u64,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
}

/// Reads figures; cheap enough to be asked every few seconds.
pub trait ResourceFigures: Send + Sync {
    /// Figures of all running pods of a namespace, or of all namespaces.
    fn pods(&self, namespace: Option<&str>) -> Vec<PodFigures>;
    /// Figures of the node.
    fn node(&self) -> NodeFigures;
}
