//! How the pipeline is set up; the composition root fills it in.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Image reference that means the host's own root file system, read-only under a throw-away
/// overlay; the node agent knows it.
pub const HOST_ROOTFS: &str = "host.towpath.dev/rootfs";

/// Limits of one job's pod.
#[derive(Clone, Debug)]
pub struct JobLimits {
    /// Kubernetes quantity.
    pub cpu: String,
    /// Kubernetes quantity.
    pub memory: String,
    /// Kubernetes quantity; workspace, temporary files and the overlay together.
    pub ephemeral_storage: String,
    /// Processes and threads.
    pub processes: u64,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            cpu: "2".into(),
            memory: "4Gi".into(),
            ephemeral_storage: "20Gi".into(),
            processes: 4096,
        }
    }
}

/// Set-up of the pipeline.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// Own directory: step logs, artifacts, caches.
    pub data_dir: PathBuf,
    /// Base URL of the server as pods reach it, e.g. `http://10.42.0.1:8080`.
    pub server_url_for_pods: String,
    /// The server's own program; jobs run it as `/towpath runner`.
    pub server_exe: PathBuf,
    /// `runs-on` label to image reference.
    pub runner_images: BTreeMap<String, String>,
    /// Limits of a job's pod.
    pub limits: JobLimits,
    /// Compiled vulnerability database.
    pub osv_database: PathBuf,
    /// Variables of this process that jobs on [`HOST_ROOTFS`] get, where set.
    pub pass_environment: Vec<String>,
    /// Finished runs kept per repository and workflow.
    pub keep_runs: usize,
    /// Largest artifact or cache archive, bytes.
    pub archive_bytes: u64,
    /// Most bytes of one step's log.
    pub log_bytes: u64,
}

impl PipelineConfig {
    /// Defaults for a data directory and a server.
    pub fn new(data_dir: PathBuf, server_url_for_pods: String, server_exe: PathBuf) -> Self {
        let osv_database = data_dir.join("../scan/osv.db");
        Self {
            data_dir,
            server_url_for_pods,
            server_exe,
            runner_images: BTreeMap::from([("ubuntu-latest".into(), HOST_ROOTFS.into())]),
            limits: JobLimits::default(),
            osv_database,
            pass_environment: PASS_ENVIRONMENT.iter().map(|s| s.to_string()).collect(),
            keep_runs: 50,
            archive_bytes: 4 << 30,
            log_bytes: 64 << 20,
        }
    }
}

// What builds on this machine need to reach the tools and package registries it is set up for.
const PASS_ENVIRONMENT: [&str; 27] = [
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_AUTO_INSTALL",
    "GOPROXY",
    "GOFLAGS",
    "GONOSUMDB",
    "NODE_EXTRA_CA_CERTS",
    "PIP_INDEX_URL",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "CURL_CA_BUNDLE",
];
