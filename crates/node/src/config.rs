//! Settings of a node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use towpath_container::Backend;

/// Settings of one node agent.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Name of its Node object. Stable: local volumes are bound to it, not to the host name.
    pub name: String,
    /// Its own directory; layers, pods, volumes and logs are kept below.
    pub data_dir: PathBuf,
    /// Control group all pods are below, e.g. `/towpath`. Two instances need two.
    pub cgroup_parent: String,
    /// Program whose hidden subcommand is [`towpath_container::shim::main`].
    pub server_exe: PathBuf,
    /// Arguments of that subcommand, e.g. `["shim"]`.
    pub shim_args: Vec<String>,
    /// OCI runtime.
    pub backend: Backend,
    /// Address of the node; of pods on the host network, too.
    pub internal_ip: IpAddr,
    /// Paths of the host that containers on `host.towpath.dev/rootfs` do not see, beside what is
    /// mounted on the host. The data directory of the whole server belongs here.
    pub hidden_host_paths: Vec<PathBuf>,
    /// Labels beside the usual ones.
    pub labels: BTreeMap<String, String>,
    /// How many pods fit.
    pub max_pods: u32,
    /// Addresses of its pods, for `spec.podCIDR`.
    pub pod_cidr: Option<String>,
    /// Domain of services.
    pub cluster_domain: String,
    /// Rotation of container logs: bytes per file, files.
    pub log_rotation: (u64, u32),
}

impl NodeConfig {
    /// Ordinary settings.
    pub fn new(
        name: &str,
        data_dir: impl Into<PathBuf>,
        server_exe: impl Into<PathBuf>,
        internal_ip: IpAddr,
    ) -> Self {
        let data_dir = data_dir.into();
        let hidden = [
            // Temporary files and sockets.
            "/tmp",
            "/var/tmp",
            "/run",
            "/var/run",
            "/mnt",
            "/media",
            // Other people's files and the host's own credentials.
            "/home",
            "/srv",
            "/etc/shadow",
            "/etc/gshadow",
            "/etc/ssh",
            "/root/.ssh",
            "/root/.gnupg",
            "/root/.kube",
            "/root/.docker",
            "/root/.aws",
            "/root/.config/gcloud",
            "/root/.netrc",
            "/root/.git-credentials",
            // Other runtimes and the host's logs.
            "/var/lib/docker",
            "/var/lib/containers",
            "/var/lib/containerd",
            "/var/lib/kubelet",
            "/var/log",
        ];
        let mut hidden_host_paths: Vec<PathBuf> = hidden.map(PathBuf::from).to_vec();
        hidden_host_paths.push(data_dir.clone());
        Self {
            name: name.into(),
            data_dir,
            cgroup_parent: "/towpath".into(),
            server_exe: server_exe.into(),
            shim_args: vec!["shim".into()],
            backend: Backend::Libcontainer,
            internal_ip,
            hidden_host_paths,
            labels: BTreeMap::new(),
            max_pods: 110,
            pod_cidr: None,
            cluster_domain: "cluster.local".into(),
            log_rotation: (10 << 20, 5),
        }
    }
}
