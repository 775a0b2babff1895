//! Network of one sandbox. Implemented by `net`, used by `node` and `build`.

use async_trait::async_trait;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What a sandbox got.
#[derive(Clone, Debug)]
pub struct PodAddress {
    /// Its address on the pod network.
    pub ip: IpAddr,
    /// Bind-mounted network namespace file to join.
    pub netns: PathBuf,
}

/// Why a sandbox has no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No address left.
    #[error("pod network {0} has no free address")]
    Exhausted(String),
    /// A kernel call failed.
    #[error("{what}: {cause}")]
    Kernel {
        /// Operation with its subject.
        what: String,
        /// Cause.
        cause: String,
    },
}

/// Makes and removes sandbox networks; both calls are idempotent by `id`.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// Makes (or finds again) the namespace, veth pair, address and routes of sandbox `id`
    /// (a pod UID, or a build id).
    async fn attach(&self, id: &str) -> Result<PodAddress, NetworkError>;
    /// Removes all of it.
    async fn detach(&self, id: &str) -> Result<(), NetworkError>;
    /// Sandboxes that have something here, also from before a restart.
    fn sandboxes(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.netns_dir());
        let names = entries.into_iter().flatten().flatten();
        names
            .filter_map(|e| e.file_name().into_string().ok())
            .collect()
    }
    /// Text for the sandbox's `/etc/resolv.conf` under policy ClusterFirst.
    fn resolv_conf(&self, namespace: &str) -> String;
    /// Address of the host on the pod network, where the API and registry answer pods.
    fn gateway(&self) -> IpAddr;
    /// Directory that holds the namespace files.
    fn netns_dir(&self) -> &Path;
}
