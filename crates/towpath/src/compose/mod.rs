//! The composition root: the only place that knows every feature crate. It opens what keeps
//! state, hands each feature the traits it needs, and starts the services in order.

mod cleanup;
mod listen;
mod setup;

pub use cleanup::cleanup;

use crate::config::Config;
use crate::http::{self, Kube};
use crate::state::{ServerState, start_ticks};
use anyhow::{Context, Result, bail};
use axum::Router;
use kube::Client;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use towpath_apiserver::ApiServer;
use towpath_daemon::{Service, Services};
use towpath_kit::traits::Principal;
use towpath_stdx::{Clock, SystemClock};
use tower::ServiceExt;

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

/// Runs the server until it is told to stop or a service fails. `ready` is called once
/// everything answers.
pub async fn serve(config: Config, ready: impl FnOnce(&ServerState)) -> Result<()> {
    let begin = SystemClock.monotonic();
    let lock = lock(&config)?;
    let (services, api_url) = assemble(&config).await?;
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

// Two servers on one data directory would destroy each other's state; the kernel releases the
// lock when the process ends, however it ends.
fn lock(config: &Config) -> Result<std::fs::File> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("make {}", config.data_dir.display()))?;
    let path = config.data_dir.join("lock");
    let file = std::fs::File::create(&path).with_context(|| format!("open {}", path.display()))?;
    file.try_lock().with_context(|| format!("another server uses {}", config.data_dir.display()))?;
    Ok(file)
}

async fn told_to_stop() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
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

async fn assemble(config: &Config) -> Result<(Vec<Service>, String)> {
    let net_config = net_config(config)?;
    let mut api_config = towpath_apiserver::Config::new(&config.data_dir);
    let net = towpath_net::Net::new(net_config.clone()).await.context("set up the pod network")?;
    let gateway = net.gateway();
    let api_at_gateway = SocketAddr::new(gateway, config.api.port());
    let http_at_gateway = SocketAddr::new(gateway, config.http.port());
    api_config.listen = with(config.api, api_at_gateway);
    api_config.service_cidr = parse_cidr(&config.service_cidr)?;
    api_config.names = vec![gateway.to_string()];
    let api = ApiServer::open(api_config).await.context("open the API server")?;
    let api_url = format!("https://{}", config.api);
    write_private(&kubeconfig_file(config), &api.kubeconfig(&api_url))?;

    let root = Principal {
        name: "system:towpath:setup".into(),
        groups: vec!["system:masters".into(), "system:authenticated".into()],
        ..Principal::default()
    };
    let setup_client = towpath_kit::client::in_process(api.service(root));
    setup::kinds(&setup_client).await?;
    setup::services(&setup_client, gateway, config.api.port(), config.http.port()).await?;

    let blobs = towpath_store::Blobs::open(&config.data_dir.join("blobs")).context("open the blobs")?;
    let mut registry_config = towpath_registry::Config::new(config.data_dir.join("registry"));
    registry_config.own_hosts = own_hosts(config, gateway);
    let registry = towpath_registry::Registry::open(registry_config, blobs.clone()).context("open the registry")?;

    let source_config = towpath_source::SourceConfig {
        data_dir: config.data_dir.join("git"),
        public_url: format!("http://{}", config.http),
    };
    let source = towpath_source::Source::new(
        source_config,
        component(&api, "source"),
        api.authenticator(),
        api.authorizer(),
        Arc::new(towpath_pipeline::WorkflowFiles),
    )
    .context("open the repositories")?;

    let mut services = vec![api.daemon_service()];
    let routes = Router::new()
        .merge(towpath_registry::router(registry.clone(), api.authenticator(), api.authorizer()))
        .merge(source.router());
    services.extend(source.services());
    let gitops = towpath_gitops::GitOpsConfig::default();
    let gitops = towpath_gitops::GitOps::new(gitops, component(&api, "gitops"), source.tree());
    services.extend(gitops.services(&["apiserver", "source"]));
    services.extend(net.services(component(&api, "net")));
    let workloads = towpath_workloads::WorkloadsConfig {
        local_volumes_root: config.data_dir.join("node/volumes"),
        root_ca_pem: api.ca_pem().to_string(),
        node_name: config.node_name.clone(),
        after: vec!["apiserver"],
    };
    services.extend(towpath_workloads::services(workloads, component(&api, "workloads"), None));
    let shared = http::Shared { authenticator: api.authenticator(), kube: kube_door(&api) };
    let addresses = with(config.http, http_at_gateway);
    services.push(listen::service("http", &["apiserver"], addresses, http::router(shared, routes)));
    Ok((services, api_url))
}

/// An address, and the gateway's unless the first covers it.
fn with(address: SocketAddr, gateway: SocketAddr) -> Vec<SocketAddr> {
    if address.ip().is_unspecified() { vec![address] } else { vec![address, gateway] }
}

fn own_hosts(config: &Config, gateway: IpAddr) -> Vec<String> {
    let port = config.http.port();
    let names = ["localhost".to_string(), "towpath.towpath-system".into(), "towpath.towpath-system.svc".into()];
    let addresses = [config.http.ip().to_string(), gateway.to_string()];
    let plain = names.into_iter().chain(addresses);
    plain.flat_map(|host| [format!("{host}:{port}"), host]).collect()
}

fn parse_cidr(text: &str) -> Result<(IpAddr, u8)> {
    let (address, length) = text.split_once('/').context("a network is ADDRESS/LENGTH")?;
    Ok((address.parse()?, length.parse()?))
}

fn write_private(path: &std::path::Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The API without a socket, in the name of whoever the request was authenticated as.
fn kube_door(api: &ApiServer) -> Kube {
    let api = api.clone();
    Arc::new(move |principal, request| {
        let service = api.service(principal);
        Box::pin(async move {
            match service.oneshot(request).await {
                Ok(response) => response.map(axum::body::Body::new),
                Err(error) => http::failed(&error.to_string()),
            }
        })
    })
}
