//! Metrics of everything that runs here: the store, the producers inside the process, what is
//! pushed from outside, and the API of Prometheus over them.

use super::outgrow::Outgrow;
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
use std::time::Duration;
use towpath_apiserver::ApiServer;
use towpath_daemon::{CancellationToken, Service};
use towpath_kit::copies::{Copies, Spine};
use towpath_node::Node;
use towpath_query::promql::format_duration;
use towpath_signals::Append;
use towpath_signals::metrics::{Options, Rule, Store};
use towpath_signals::objects::{Bucket, Objects};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::alertmanager::{Alertmanager, AlertmanagerTarget};
use towpath_telemetry::cases::Hearing;
use towpath_telemetry::collect::{self, Cluster, Collection};
use towpath_telemetry::door::Door;
use towpath_telemetry::exporters::containers::{
    ContainerExporter, ContainerTarget, KubeletPages, Page,
};
use towpath_telemetry::exporters::node::{
    ClockReader, NodeConfig, NodeExporter, NodeTarget, Roots,
};
use towpath_telemetry::exporters::prometheus::PrometheusTarget;
use towpath_telemetry::family::{self, Gather};
use towpath_telemetry::ledger::Observed;
use towpath_telemetry::own::{Beside, OwnTarget};
use towpath_telemetry::prometheus::{Api, Parts, Settings};
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
    /// What takes samples.
    pub(super) append: Arc<dyn Append>,
    pub(super) outgrow: Outgrow,
    /// To be told of the stores of other signals.
    pub(super) beside: Arc<Beside>,
    pub(super) told: Arc<Alertmanager>,
    /// Where segments are beside the local disk, if anywhere.
    pub(super) objects: Option<Objects>,
}

/// Opens the store and all that stands on it; nothing where it is switched off.
pub(super) fn open(
    config: &Config,
    api: &ApiServer,
    node: &Node,
    copies: &Copies,
    spine: &Spine,
    cases: Hearing,
    observed: &Observed,
) -> Result<Option<Opened>> {
    let settings = &config.telemetry;
    if !settings.enabled {
        return Ok(None);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let objects = objects(config)?;
    let store = open_store(config, clock.clone(), objects.clone())?;
    let outgrow = Outgrow::open(config, &clock)?;
    let append = outgrow.append(&store);
    let door = Door {
        authenticator: api.authenticator(),
        authorizer: api.authorizer(),
    };
    let pushed = RemoteWrite::new(append.clone(), door.clone(), clock.clone());
    let cancel = CancellationToken::new();
    let pools = Arc::new(Pools::new(append.clone(), clock.clone(), cancel.clone()));
    let jobs = jobs(settings)?;
    let alerts = super::alerts::open(config, &store, &append, &clock, cases)?;
    let client = super::component(api, "telemetry");
    let collection = Collection::new(collect::Parts {
        pools: pools.clone(),
        config: config.data_dir.join("telemetry/prometheus.yml"),
        cluster: Some(Cluster {
            client: client.clone(),
            copies: copies.clone(),
            scrape_interval: Duration::from_millis(settings.scrape_interval_ms()),
        }),
    });
    let prometheus = Api::new(Parts {
        read: outgrow.read(&store),
        targets: pools.clone(),
        rules: alerts.engine.clone(),
        remove: Some(store.clone()),
        clock: clock.clone(),
        settings: api_settings(settings, clock.as_ref()),
    });
    let beside = Arc::new(Beside::default());
    let own: Arc<dyn Gather> = Arc::new(OwnTarget {
        api: prometheus.clone(),
        store: store.clone(),
        beside: beside.clone(),
        clock: clock.clone(),
        started: clock.since_epoch().as_secs_f64(),
        version: env!("CARGO_PKG_VERSION").into(),
    });
    let own = outgrow.told(own);
    let stats = node.container_stats();
    let containers = ContainerExporter::new(stats, Roots::default(), clock.clone());
    let containers = Arc::new(containers);
    let shown = KubeletPages::new(containers.clone(), node.figures());
    api.set_node_pages(Arc::new(shown));
    let mut producers = producers(config, node, containers, &clock, own.clone())?;
    let parts: [(_, _, Arc<dyn Gather>); 2] = [
        (
            "towpath-prometheus",
            "prometheus",
            Arc::new(PrometheusTarget {
                store: store.clone(),
                targets: pools.clone(),
                rules: alerts.engine.clone(),
            }),
        ),
        (
            "towpath-alertmanager",
            "alertmanager",
            Arc::new(AlertmanagerTarget(alerts.manager.clone())),
        ),
    ];
    let mut pages = Router::new();
    for (pool, job, gather) in parts {
        let shown = get(page).with_state((gather.clone(), door.clone()));
        pages = pages.route(&format!("/{job}/metrics"), shown);
        producers.push(Producer { pool, job, gather });
    }
    producers.extend(super::producers::all(copies, spine));
    producers.push(super::producers::certificates(config, observed));
    let instance = config.node_name.clone();
    let kept = store.clone();
    let read_routes = Outgrow::routes(&store, &clock, door.clone());
    let own_page = Router::new()
        .route("/metrics", get(page))
        .with_state((own, door.clone()));
    let alert_routes = alerts.routes(door.clone());
    let told = alerts.manager.clone();
    let routes = prometheus
        .router(Some(door))
        .merge(alert_routes)
        .merge(receive::router(Arc::new(pushed)))
        .merge(read_routes)
        .merge(own_page)
        .merge(pages);
    // A page over copies that are not complete would tell of objects that are not there.
    let after = &["apiserver", Copies::SERVICE, Spine::SERVICE];
    let service = Service::new("telemetry", after, move |mut context| async move {
        for producer in producers {
            if let Some(job) = jobs.iter().find(|job| job.name == producer.pool) {
                let labels = [
                    ("job".to_string(), producer.job.to_string()),
                    ("metrics_path".to_string(), job.path.clone()),
                ];
                pools.gather(job, &instance, &labels, producer.gather);
            }
        }
        alerts.run(&client, &cancel);
        context.ready();
        context.cancel.cancelled().await;
        cancel.cancel();
        // What was scraped is on the disk when this returns.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
        Ok(())
    });
    // Asks before it writes, so it ends before the store does.
    let collect = collection.service(&["telemetry"]);
    let mut services = vec![service, collect];
    services.extend(outgrow.service());
    Ok(Some(Opened {
        routes,
        services,
        store: kept,
        append,
        outgrow,
        beside,
        told,
        objects,
    }))
}

fn objects(config: &Config) -> Result<Option<Objects>> {
    let Some(settings) = &config.telemetry.object_storage else {
        return Ok(None);
    };
    let bucket = Bucket::new(settings.settings(), settings.memory_bytes());
    Ok(Some(Objects {
        bucket: bucket.context("telemetry.object-storage")?,
        local_bytes: settings.local_bytes(),
        grace: settings.grace(),
        take_over: settings.take_over,
        host: config.node_name.clone(),
        background: true,
    }))
}

fn open_store(
    config: &Config,
    clock: Arc<dyn Clock>,
    objects: Option<Objects>,
) -> Result<Arc<Store>> {
    let settings = &config.telemetry;
    let mut options = Options::new(clock);
    options.memory_bytes = usize::try_from(settings.memory_bytes()).unwrap_or(usize::MAX);
    options.retention_ms = settings.retention_ms();
    options.retention_copies_ms = settings.retention_copies_ms();
    options.rules = (settings.kept("metrics"))
        .map(|keep| Rule {
            matchers: keep.matchers(),
            keep_ms: keep.time_ms(),
        })
        .collect();
    options.retention_bytes = settings.disk_bytes();
    options.objects = objects;
    Store::open(&config.data_dir.join("telemetry/metrics"), options)
        .context("open the store of metrics")
}

/// The most samples that one request has in memory.
pub(super) fn most_samples() -> usize {
    let samples = crate::config::machine_bytes() / 4 / SAMPLE_BYTES;
    samples.min(SAMPLES_MAX) as usize
}

fn api_settings(settings: &Telemetry, clock: &dyn Clock) -> Settings {
    let retention = format_duration(settings.retention_ms());
    let interval = format_duration(settings.scrape_interval_ms() as i64);
    Settings {
        version: env!("CARGO_PKG_VERSION").into(),
        started: clock.since_epoch(),
        max_samples: most_samples(),
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
    ("towpath-prometheus", "/prometheus/metrics"),
    ("towpath-alertmanager", "/alertmanager/metrics"),
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
    containers: Arc<ContainerExporter>,
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
    match own.gather().await {
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Ok(families) => {
            let (kind, text) = family::shown(&families, accepted.unwrap_or_default());
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
    }
}
