//! Metrics of everything that runs here: the store, the producers inside the process, what is
//! pushed from outside, and the API of Prometheus over them.

use crate::config::{Config, Telemetry};
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::path::Path;
use std::sync::Arc;
use towpath_apiserver::ApiServer;
use towpath_daemon::{CancellationToken, Service};
use towpath_kit::copies::Copies;
use towpath_node::Node;
use towpath_query::promql::format_duration;
use towpath_signals::metrics::{Options, Store};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::collect::{self, Cluster, Collection};
use towpath_telemetry::exporters::containers::{ContainerExporter, ContainerTarget, Page};
use towpath_telemetry::exporters::node::{
    ClockReader, NodeConfig, NodeExporter, NodeTarget, Roots,
};
use towpath_telemetry::family::{self, Gather};
use towpath_telemetry::own::OwnTarget;
use towpath_telemetry::prometheus::{Api, Door, Parts, Settings};
use towpath_telemetry::receive::{self, RemoteWrite};
use towpath_telemetry::scrape::Pools;
use towpath_telemetry::scrape::config::Job;

/// Bytes that one sample takes in a query.
const SAMPLE_BYTES: u64 = 16;
/// The most samples of a query on any machine: upstream's default.
const SAMPLES_MAX: u64 = 50_000_000;

/// What is started and what is served.
pub(super) struct Opened {
    pub(super) routes: Router,
    pub(super) services: Vec<Service>,
    pub(super) store: Arc<Store>,
}

/// Opens the store and all that stands on it; nothing where it is switched off.
pub(super) fn open(
    config: &Config,
    api: &ApiServer,
    node: &Node,
    copies: &Copies,
) -> Result<Option<Opened>> {
    let settings = &config.telemetry;
    if !settings.enabled {
        return Ok(None);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = open_store(config, clock.clone())?;
    let door = Door {
        authenticator: api.authenticator(),
        authorizer: api.authorizer(),
    };
    let pushed = RemoteWrite::new(
        store.clone(),
        api.authenticator(),
        api.authorizer(),
        clock.clone(),
    );
    let cancel = CancellationToken::new();
    let pools = Arc::new(Pools::new(store.clone(), clock.clone(), cancel.clone()));
    let jobs = jobs(settings)?;
    let alerts = super::alerts::open(config, &store, &clock)?;
    let collection = Collection::new(collect::Parts {
        pools: pools.clone(),
        config: config.data_dir.join("telemetry/prometheus.yml"),
        cluster: Some(Cluster {
            client: super::component(api, "telemetry"),
            pods: copies.pods.clone(),
        }),
    });
    let prometheus = Api::new(Parts {
        read: store.clone(),
        targets: pools.clone(),
        rules: alerts.engine.clone(),
        remove: Some(store.clone()),
        clock: clock.clone(),
        settings: api_settings(settings, clock.as_ref()),
    });
    let own: Arc<dyn Gather> = Arc::new(OwnTarget {
        api: prometheus.clone(),
        store: store.clone(),
        clock: clock.clone(),
        started: clock.since_epoch().as_secs_f64(),
        version: env!("CARGO_PKG_VERSION").into(),
    });
    let producers = producers(config, node, &clock, own.clone())?;
    let (client, copies) = (super::component(api, "exporters"), copies.clone());
    let instance = config.node_name.clone();
    let kept = store.clone();
    let own_page = Router::new()
        .route("/metrics", get(page))
        .with_state((own, door.clone()));
    let alert_routes = alerts.routes(door.clone());
    let routes = prometheus
        .router(Some(door))
        .merge(alert_routes)
        .merge(receive::router(Arc::new(pushed)))
        .merge(own_page);
    let service = Service::new("telemetry", &["apiserver"], move |mut context| async move {
        let objects = super::producers::start(&client, &copies, &context.cancel);
        for producer in producers.into_iter().chain(objects) {
            if let Some(job) = jobs.iter().find(|job| job.name == producer.pool) {
                let labels = [
                    ("job".to_string(), producer.job.to_string()),
                    ("metrics_path".to_string(), job.path.clone()),
                ];
                pools.gather(job, &instance, &labels, producer.gather);
            }
        }
        alerts.run(&cancel);
        context.ready();
        context.cancel.cancelled().await;
        cancel.cancel();
        // What was scraped is on the disk when this returns.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
        Ok(())
    });
    // Asks before it writes, so it ends before the store does.
    let collect = collection.service(&["telemetry", "copies"]);
    Ok(Some(Opened {
        routes,
        services: vec![service, collect],
        store: kept,
    }))
}

fn open_store(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<Store>> {
    let settings = &config.telemetry;
    let mut options = Options::new(clock);
    options.memory_bytes = usize::try_from(settings.memory_bytes()).unwrap_or(usize::MAX);
    options.retention_ms = settings.retention_ms();
    options.retention_bytes = settings.disk_bytes();
    Store::open(&config.data_dir.join("telemetry/metrics"), options)
        .context("open the store of metrics")
}

fn api_settings(settings: &Telemetry, clock: &dyn Clock) -> Settings {
    let retention = format_duration(settings.retention_ms());
    let interval = format_duration(settings.scrape_interval_ms() as i64);
    let samples = crate::config::machine_bytes() / 4 / SAMPLE_BYTES;
    Settings {
        version: env!("CARGO_PKG_VERSION").into(),
        started: clock.since_epoch(),
        max_samples: samples.min(SAMPLES_MAX) as usize,
        config_yaml: format!(
            "global:\n  scrape_interval: {interval}\n  scrape_timeout: 10s\nstorage:\n  tsdb:\n    retention:\n      time: {retention}\n"
        ),
        retention,
        ..Settings::default()
    }
}

/// A producer inside this process, and the scrape configuration it is scraped by.
pub(super) struct Producer {
    pub(super) pool: &'static str,
    /// What the series are told apart by: some dashboards know several pools by one name.
    pub(super) job: &'static str,
    pub(super) gather: Arc<dyn Gather>,
}

/// Pools of the producers, with the paths under which others know them.
const POOLS: &[(&str, &str)] = &[
    ("towpath", "/metrics"),
    ("node-exporter", "/metrics"),
    ("kubelet", "/metrics"),
    ("kubelet-cadvisor", "/metrics/cadvisor"),
    ("kubelet-resource", "/metrics/resource"),
];

fn jobs(settings: &Telemetry) -> Result<Vec<Arc<Job>>> {
    let interval = settings.scrape_interval_ms() as i64;
    let (every, most) = (
        format_duration(interval),
        format_duration(interval.min(10_000)),
    );
    let mut text =
        format!("global: {{scrape_interval: {every}, scrape_timeout: {most}}}\nscrape_configs:\n");
    for (name, path) in POOLS.iter().chain(super::producers::POOLS) {
        text += &format!("- {{job_name: {name}, metrics_path: {path}, honor_labels: true}}\n");
    }
    let jobs = towpath_telemetry::scrape::config::parse(&text, Path::new("/"))
        .context("make the scrape configurations of the own producers")?;
    Ok(jobs.into_iter().map(Arc::new).collect())
}

/// What is scraped without HTTP, under the names that dashboards know.
fn producers(
    config: &Config,
    node: &Node,
    clock: &Arc<dyn Clock>,
    own: Arc<dyn Gather>,
) -> Result<Vec<Producer>> {
    let stats = node.container_stats();
    let ticking = stats.clock().is_some().then(|| {
        let stats = stats.clone();
        let reader: ClockReader = Arc::new(move || stats.clock());
        reader
    });
    let pods_ends = super::net_config(config)?.veth_prefix();
    let machine = NodeExporter::new(NodeConfig {
        hidden_mounts: vec![config.data_dir.clone()],
        hidden_devices: vec!["veth".into(), pods_ends],
        textfiles: Some(config.data_dir.join("telemetry/textfiles")),
        clock: ticking,
        time: clock.clone(),
        ..NodeConfig::default()
    });
    let containers = ContainerExporter::new(stats, Roots::default(), clock.clone());
    let containers = Arc::new(containers);
    let page = |page| Arc::new(ContainerTarget::new(containers.clone(), page));
    let producer = |pool, job, gather: Arc<dyn Gather>| Producer { pool, job, gather };
    Ok(vec![
        producer("towpath", "towpath", own),
        producer(
            "node-exporter",
            "node-exporter",
            Arc::new(NodeTarget::new(machine)),
        ),
        producer("kubelet", "kubelet", page(Page::Kubelet)),
        producer("kubelet-cadvisor", "kubelet", page(Page::Cadvisor)),
        producer("kubelet-resource", "kubelet", page(Page::Resource)),
    ])
}

/// `/metrics`: the house's own figures, for a Prometheus elsewhere.
async fn page(State((own, door)): State<(Arc<dyn Gather>, Door)>, headers: HeaderMap) -> Response {
    if let Err(refusal) = door.pass(&headers, "get").await {
        return *refusal;
    }
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let open_metrics = accepted.is_some_and(|text| text.contains("application/openmetrics-text"));
    match own.gather().await {
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Ok(families) if open_metrics => (
            [(CONTENT_TYPE, family::OPEN_METRICS_TYPE)],
            family::open_metrics(&families),
        )
            .into_response(),
        Ok(families) => {
            ([(CONTENT_TYPE, family::TEXT_TYPE)], family::text(&families)).into_response()
        }
    }
}
