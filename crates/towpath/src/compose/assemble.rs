//! Which feature gets what from which other, and in which order they start.

use super::{
    build_runtime, changes, component, kubeconfig_file, listen, logs, net_config, node_config,
    setup, telemetry, traces,
};
use crate::config::Config;
use crate::http::{self, Kube};
use anyhow::{Context, Result};
use axum::Router;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tower::ServiceExt;
use towpath_apiserver::ApiServer;
use towpath_build::Engine;
use towpath_daemon::Service;
use towpath_kit::copies::{Copies, Spine};
use towpath_kit::traits::Images;
use towpath_net::Net;
use towpath_node::Node;
use towpath_pipeline::{Pipeline, PipelineConfig};
use towpath_registry::Registry;
use towpath_source::Source;
use towpath_telemetry::ledger::Observed;

/// Opens everything and returns the services in their order, and the URL of the Kubernetes API.
pub(super) async fn all(config: &Config) -> Result<(Vec<Service>, String)> {
    let net = Net::new(net_config(config)?)
        .await
        .context("set up the pod network")?;
    let gateway = net.gateway();
    let (api, api_url) = open_api(config, gateway).await?;
    let registry = open_registry(config, gateway)?;
    let builder = open_builder(config, &registry, &net)?;
    // Pods get base images that nobody pushed or pulled yet made on first use, too.
    let images: Arc<dyn Images> = Arc::new(builder.clone());
    let node = open_node(config, gateway, &api, images.clone(), &net)?;
    let source = open_source(config, &api)?;
    let pipeline = open_pipeline(config, gateway, &api, &source, images)?;
    let (copies, spine) = (Copies::default(), Spine::default());
    let gitops = towpath_gitops::GitOps::new(
        towpath_gitops::GitOpsConfig::default(),
        component(&api, "gitops"),
        source.tree(),
        copies.clone(),
        spine.clone(),
    );
    let workloads = towpath_workloads::WorkloadsConfig {
        local_volumes_root: config.data_dir.join("node/volumes"),
        root_ca_pem: api.ca_pem().to_string(),
        node_name: config.node_name.clone(),
        after: vec!["apiserver"],
    };

    let (hearing, inbox) = towpath_telemetry::cases::hearing();
    let observed = Observed::new(copies.clone(), spine.clone());
    let telemetry = telemetry::open(config, &api, &node, &copies, &spine, hearing, &observed)?;
    let logs = match &telemetry {
        Some(opened) => {
            let objects = opened.objects.clone();
            Some(logs::open(config, &api, &copies, &opened.outgrow, objects)?)
        }
        None => None,
    };
    if let (Some(telemetry), Some(logs)) = (&telemetry, &logs) {
        telemetry.told.keep_history(logs.store.clone());
    }
    let signals = changes::Signals {
        samples: telemetry.as_ref().map(|opened| opened.store.clone()),
        lines: logs.as_ref().map(|opened| opened.store.clone()),
        beside: telemetry.as_ref().map(|opened| opened.beside.clone()),
        alerts: inbox,
        manager: telemetry.as_ref().map(|opened| opened.told.clone()),
    };
    let (change_routes, change_services) = changes::open(config, &api, observed, signals)?;

    let mut routes = Router::new()
        .merge(change_routes)
        .merge(towpath_registry::router(
            registry,
            api.authenticator(),
            api.authorizer(),
        ))
        .merge(source.router())
        .merge(pipeline.router())
        .merge(towpath_build::router(
            builder,
            api.authenticator(),
            api.authorizer(),
        ));
    let shared = http::Shared {
        authenticator: api.authenticator(),
        kube: kube_door(&api),
    };
    let http_at_gateway = SocketAddr::new(gateway, config.http.port());
    let addresses = with(config.http, http_at_gateway);

    // Stopped in reverse: the front door first, the store last.
    let mut services = vec![api.daemon_service()];
    let copying = component(&api, "copies");
    services.push(copies.service(copying.clone(), &["apiserver"]));
    services.push(spine.service(copying, &["apiserver"]));
    let mut samples = None;
    // Measures to the end what the others do.
    if let Some(telemetry) = telemetry {
        routes = routes.merge(telemetry.routes);
        services.extend(telemetry.services);
        let (outgrow, objects) = (telemetry.outgrow, telemetry.objects);
        samples = Some((telemetry.append, telemetry.beside, outgrow, objects));
    }
    services.extend(net.services(component(&api, "net")));
    services.extend(change_services);
    let figures = Some(node.figures());
    services.extend(towpath_workloads::services(
        workloads,
        component(&api, "workloads"),
        copies.clone(),
        figures,
    ));
    services.push(node.service(&["apiserver"]));
    if let Some(logs) = logs {
        routes = routes.merge(logs.routes);
        services.extend(logs.services);
        if let Some((append, beside, outgrow, objects)) = samples {
            // Only here are they set.
            let _ = beside.lines.set(logs.store.clone());
            let kept = traces::Kept {
                metrics: append,
                lines: logs.store,
                objects,
            };
            let traces = traces::open(config, &api, gateway, kept, &outgrow)?;
            let _ = beside.traces.set(traces.store);
            routes = routes.merge(traces.routes);
            services.extend(traces.services);
        }
    }
    services.extend(source.services());
    services.extend(pipeline.services(&["apiserver", "source"]));
    services.extend(gitops.services(&["apiserver", "source"]));
    services.push(listen::service(
        "http",
        &["apiserver"],
        addresses,
        http::router(shared, routes),
    ));
    Ok((services, api_url))
}

async fn open_api(config: &Config, gateway: IpAddr) -> Result<(ApiServer, String)> {
    let mut settings = towpath_apiserver::Config::new(&config.data_dir);
    settings.listen = with(config.api, SocketAddr::new(gateway, config.api.port()));
    settings.service_cidr = parse_cidr(&config.service_cidr)?;
    settings.names = vec![gateway.to_string()];
    let api = ApiServer::open(settings)
        .await
        .context("open the API server")?;
    let url = format!("https://{}", config.api);
    write_private(&kubeconfig_file(config), &api.kubeconfig(&url))?;
    let client = component(&api, "setup");
    setup::kinds(&client).await?;
    let otlp = match &config.telemetry {
        settings if settings.enabled => (settings.otlp_grpc_port, settings.otlp_http_port),
        _ => (0, 0),
    };
    let (own, http) = (config.api.port(), config.http.port());
    setup::services(&client, gateway, own, http, otlp).await?;
    Ok((api, url))
}

fn open_registry(config: &Config, gateway: IpAddr) -> Result<Registry> {
    let blobs =
        towpath_store::Blobs::open(&config.data_dir.join("blobs")).context("open the blobs")?;
    let mut settings = towpath_registry::Config::new(config.data_dir.join("registry"));
    settings.own_hosts = own_hosts(config, gateway);
    Registry::open(settings, blobs).context("open the registry")
}

fn open_builder(config: &Config, registry: &Registry, net: &Net) -> Result<Engine> {
    let runtime = build_runtime(config)?;
    let settings = towpath_build::Config::new(config.data_dir.join("build"));
    let remote: Arc<dyn Images> = Arc::new(registry.clone());
    Engine::open(
        settings,
        registry.local(),
        remote,
        runtime,
        Some(net.pod_network()),
    )
    .context("open the builder")
}

fn open_node(
    config: &Config,
    gateway: IpAddr,
    api: &ApiServer,
    images: Arc<dyn Images>,
    net: &Net,
) -> Result<Node> {
    let settings = node_config(config, gateway)?;
    let node = Node::new(settings, component(api, "node"), images, net.pod_network())
        .context("open the node")?;
    api.set_pod_streams(node.pod_streams());
    api.set_figures(node.figures());
    Ok(node)
}

fn open_source(config: &Config, api: &ApiServer) -> Result<Source> {
    let settings = towpath_source::SourceConfig {
        data_dir: config.data_dir.join("git"),
        public_url: format!("http://{}", config.http),
    };
    let (authenticator, authorizer) = (api.authenticator(), api.authorizer());
    Source::new(
        settings,
        component(api, "source"),
        authenticator,
        authorizer,
        Pipeline::workflows(),
    )
    .context("open the repositories")
}

fn open_pipeline(
    config: &Config,
    gateway: IpAddr,
    api: &ApiServer,
    source: &Source,
    images: Arc<dyn Images>,
) -> Result<Pipeline> {
    let program = std::env::current_exe().context("find the own program")?;
    let url = format!("http://{gateway}:{}", config.http.port());
    let mut settings = PipelineConfig::new(config.data_dir.join("pipeline"), url, program);
    settings.runner_images = config.runners.clone();
    settings.limits = towpath_pipeline::JobLimits {
        cpu: config.jobs.cpu.clone(),
        memory: config.jobs.memory_on(crate::config::machine_bytes()),
        ephemeral_storage: config.jobs.disk.clone(),
        processes: config.jobs.processes,
    };
    settings.osv_database = crate::commands::scan::database(config);
    let (authenticator, authorizer) = (api.authenticator(), api.authorizer());
    Ok(Pipeline::new(
        settings,
        component(api, "pipeline"),
        authenticator,
        authorizer,
        source.tree(),
        images,
    ))
}

/// An address, and the gateway's unless the first covers it.
fn with(address: SocketAddr, gateway: SocketAddr) -> Vec<SocketAddr> {
    if address.ip().is_unspecified() {
        vec![address]
    } else {
        vec![address, gateway]
    }
}

fn own_hosts(config: &Config, gateway: IpAddr) -> Vec<String> {
    let port = config.http.port();
    let names = [
        "localhost".to_string(),
        "towpath.towpath-system".into(),
        "towpath.towpath-system.svc".into(),
    ];
    let addresses = [config.http.ip().to_string(), gateway.to_string()];
    let plain = names.into_iter().chain(addresses);
    plain
        .flat_map(|host| [format!("{host}:{port}"), host])
        .collect()
}

fn parse_cidr(text: &str) -> Result<(IpAddr, u8)> {
    let (address, length) = text
        .split_once('/')
        .context("a network is ADDRESS/LENGTH")?;
    Ok((address.parse()?, length.parse()?))
}

// Whole or not at all, also where the disk is full or the server is killed meanwhile.
fn write_private(path: &std::path::Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let unfinished = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished);
    let place = || format!("write {}", unfinished.display());
    let mut file = file.with_context(place)?;
    file.write_all(text.as_bytes()).with_context(place)?;
    std::fs::rename(&unfinished, path).with_context(place)
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
