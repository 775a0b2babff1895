//! The composition root: the only place that knows every feature crate. It opens what keeps
//! state, hands each feature the traits it needs, and starts the services in order.

mod alerts;
mod assemble;
mod changes;
mod cleanup;
mod listen;
mod logs;
mod outgrow;
mod producers;
mod setup;
mod telemetry;
mod traces;

pub use cleanup::cleanup;

use crate::config::Config;
use crate::state::{ServerState, start_ticks};
use anyhow::{Context, Result, bail};
use kube::Client;
use std::fs::TryLockError;
use std::path::PathBuf;
use std::time::Duration;
use towpath_apiserver::ApiServer;
use towpath_container::{Backend, Runtime, RuntimeConfig};
use towpath_daemon::Services;
use towpath_kit::traits::Principal;
use towpath_stdx::{Clock, SystemClock};

/// File with the administrator's kubeconfig.
pub fn kubeconfig_file(config: &Config) -> PathBuf {
    config.data_dir.join("kubeconfig")
}

/// Network settings that follow from the configuration.
pub(crate) fn net_config(config: &Config) -> Result<towpath_net::NetConfig> {
    let mut net = towpath_net::NetConfig::new(config.instance.clone(), config.data_dir.join("net"));
    net.pod_cidr = config.pod_cidr.parse().context("pod-cidr")?;
    net.service_cidr = config.service_cidr.parse().context("service-cidr")?;
    net.ingress_addr = Some(config.ingress);
    Ok(net)
}

/// Node settings that follow from the configuration.
pub(crate) fn node_config(
    config: &Config,
    gateway: std::net::IpAddr,
) -> Result<towpath_node::NodeConfig> {
    let program = std::env::current_exe().context("find the own program")?;
    let mut node = towpath_node::NodeConfig::new(
        &config.node_name,
        config.data_dir.join("node"),
        program,
        gateway,
    );
    node.cgroup_parent = format!("/towpath-{}", config.instance);
    node.hidden_host_paths.push(config.data_dir.clone());
    node.pod_cidr = Some(config.pod_cidr.clone());
    Ok(node)
}

/// Containers of the builder's steps.
pub(crate) fn build_runtime(config: &Config) -> Result<Runtime> {
    let settings = RuntimeConfig {
        state_dir: config.data_dir.join("build/containers"),
        shim_exe: std::env::current_exe().context("find the own program")?,
        shim_args: vec!["shim".into()],
        backend: Backend::Libcontainer,
    };
    Runtime::new(settings).context("open the builder's containers")
}

/// Runs the server until it is told to stop or a service fails. `ready` is called once
/// everything answers.
pub async fn serve(config: Config, ready: impl FnOnce(&ServerState)) -> Result<()> {
    let begin = SystemClock.monotonic();
    let lock = lock(&config).await?;
    let (services, api_url) = assemble::all(&config).await?;
    let mut services = Services::start(services, Duration::from_secs(30)).await?;
    let pid = std::process::id();
    let state = ServerState {
        pid,
        started_ticks: start_ticks(pid).unwrap_or_default(),
        url: format!("http://{}", config.http),
        api_url,
        ready_ms: begin.elapsed().as_millis() as u64,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    state.write(&config.data_dir)?;
    ready(&state);
    tracing::info!(url = state.url, ready_ms = state.ready_ms, "ready");
    let failure = tokio::select! {
        signal = told_to_stop() => {
            tracing::info!(signal, "stopping");
            None
        }
        (name, cause) = services.failed() => Some((name, cause)),
    };
    services.stop(Duration::from_secs(10)).await;
    ServerState::remove(&config.data_dir);
    drop(lock);
    match failure {
        Some((name, cause)) => bail!("service {name} failed: {cause}"),
        None => Ok(()),
    }
}

/// How long a lock may be held by what a server that was killed left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

// Two servers on one data directory would destroy each other's state; the kernel releases the
// lock when the process ends, however it ends. A child that it was starting just then holds the
// lock a moment longer, until it is the program that it is to be.
async fn lock(config: &Config) -> Result<std::fs::File> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("make {}", config.data_dir.display()))?;
    let path = config.data_dir.join("lock");
    let file = std::fs::File::create(&path).with_context(|| format!("open {}", path.display()))?;
    let begin = std::time::Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < LEFT_BEHIND => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => {
                let why = format!("another server uses {}", config.data_dir.display());
                return Err(error).context(why);
            }
        }
    }
}

async fn told_to_stop() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// A client for a component of this process.
pub(crate) fn component(api: &ApiServer, name: &str) -> Client {
    towpath_kit::client::in_process(api.service(Principal::component(name)))
}
