//! What running containers use. Implemented by `node`, used by the autoscaler and by
//! `metrics.k8s.io`.

use async_trait::async_trait;
use std::time::Duration;

/// Usage of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFigures {
    /// Name of the container.
    pub name: String,
    /// Mean processor use over the window, in billionths of a core.
    pub cpu_nanocores: u64,
    /// Memory that cannot be given back, bytes.
    pub memory_working_set_bytes: u64,
}

/// Usage of one pod at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFigures {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub pod: String,
    /// End of the window, time since 1970.
    pub at: Duration,
    /// Length of the window.
    pub window: Duration,
    /// Running containers.
    pub containers: Vec<ContainerFigures>,
}

/// The latest figures of running pods.
#[async_trait]
pub trait ResourceFigures: Send + Sync {
    /// Figures of all pods of a namespace (empty for all namespaces); pods without figures yet
    /// are left out.
    async fn pods(&self, namespace: &str) -> Vec<PodFigures>;
    /// Figures of the machine, where they are known.
    async fn node(&self) -> Option<NodeFigures> {
        None
    }
}

/// Usage of a whole machine at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFigures {
    /// Name of the Node.
    pub node: String,
    /// End of the window, time since 1970.
    pub at: Duration,
    /// Length of the window.
    pub window: Duration,
    /// Mean processor use over the window, in billionths of a core.
    pub cpu_nanocores: u64,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
}
