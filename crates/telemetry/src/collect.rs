//! Collection as one service: what is configured, what monitors ask for, and what carries the
//! usual annotations is scraped by the pools that it is given.
//!
//! Everything that can change the targets wakes one task, which works out all of them anew a
//! moment later: a configuration, objects of the cluster, lists of others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::Notify;
use towpath_daemon::{CancellationToken, Service, ServiceContext};
use towpath_kit::cache::Cache;
use towpath_kit::copies::Copies;

use crate::discovery::kubernetes::Objects;
use crate::discovery::monitors::{self, Jobs, Reference, Values};
use crate::discovery::outside;
use crate::operator::{PodMonitor, Probe, ServiceMonitor};
use crate::prometheus::{RELOAD_FAILED, Targets};
use crate::scrape::config::{self, ConfigError, Discovery, Job};
use crate::scrape::{Group, Pools};

/// Changes that come together are worked out together.
const PAUSE: Duration = Duration::from_secs(1);
/// Secrets of monitors are read anew this often.
const SECRETS: Duration = Duration::from_secs(300);
/// Largest configuration, in bytes.
const CONFIG_BYTES: u64 = 4 << 20;
/// How long a secret may take to be read.
const SECRET_LIMIT: Duration = Duration::from_secs(10);

/// What collection works with.
pub struct Parts {
    /// What scrapes; producers inside this process may be there already.
    pub pools: Arc<Pools>,
    /// A `prometheus.yml` of which `scrape_configs` count; it may be missing.
    pub config: PathBuf,
    /// The cluster, where there is one.
    pub cluster: Option<Cluster>,
}

/// How the cluster is looked at.
pub struct Cluster {
    /// Reads monitors everywhere, and the Secrets and ConfigMaps that they name.
    pub client: Client,
    /// What targets are made of.
    pub copies: Copies,
    /// How often pods and services are scraped that ask for it by annotations.
    pub scrape_interval: Duration,
}

/// Collection, which keeps the targets of pools as they should be.
pub struct Collection {
    cluster: Mutex<Option<Cluster>>,
    config: PathBuf,
    pools: Arc<Pools>,
    configured: Mutex<Vec<Arc<Job>>>,
    changed: Notify,
}

impl Collection {
    /// Nothing is looked for until the service runs.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            cluster: Mutex::new(parts.cluster),
            config: parts.config,
            pools: parts.pools,
            configured: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// The service; it runs once. It is ready when the configuration is read.
    pub fn service(self: &Arc<Self>, after: &[&'static str]) -> Service {
        let own = Arc::clone(self);
        Service::new("collect", after, move |context| async move {
            own.run(context).await
        })
    }

    /// Reads the configuration anew.
    ///
    /// # Errors
    /// It cannot be used; what was configured before still holds.
    pub fn reload(&self) -> Result<(), ConfigError> {
        let jobs = read(&self.config);
        let notices = self.pools.notices();
        notices.set(RELOAD_FAILED, jobs.is_err());
        let jobs = jobs?;
        *self.configured.lock() = jobs.into_iter().map(Arc::new).collect();
        self.changed.notify_one();
        Ok(())
    }

    async fn run(self: Arc<Self>, mut context: ServiceContext) -> Result<(), String> {
        let cancel = context.cancel.clone();
        if let Err(error) = self.reload() {
            tracing::error!(%error, "nothing that is configured is scraped");
        }
        context.ready();
        let cluster = self.cluster.lock().take();
        let work = Work {
            pools: Arc::clone(&self.pools),
            cluster: cluster.map(|cluster| Watched::start(cluster, &cancel)),
            own: self,
            outside: Arc::default(),
            looking: BTreeMap::new(),
            synced: BTreeSet::new(),
            values: Values::new(),
            told: BTreeSet::new(),
            cancel: cancel.clone(),
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = work.turn() => {}
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<Job>, ConfigError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let bytes = match towpath_stdx::bounded::read_file(path, CONFIG_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ConfigError::Syntax(format!("{}: {error}", path.display()))),
    };
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::Syntax("not UTF-8".to_owned()))?;
    config::parse(&text, directory)
}

/// What carries `prometheus.io/scrape: "true"` is scraped: pods, and what is behind services.
const ANNOTATED: &str = r#"
scrape_configs:
- job_name: kubernetes-pods
  kubernetes_sd_configs: [{role: pod}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], action: keep, regex: "true"}
  - {source_labels: [__meta_kubernetes_pod_container_init], action: drop, regex: "true"}
  - {source_labels: [__meta_kubernetes_pod_phase], action: drop, regex: Pending|Succeeded|Failed}
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scheme], regex: (https?), target_label: __scheme__}
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path], regex: (.+), target_label: __metrics_path__}
  # The port of the annotation takes the place of the container's; of several targets that become
  # the same one is left.
  - {source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port], regex: "([^:;]+);(\\d+)", target_label: __address__, replacement: "$1:$2"}
  - {source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port], regex: "(.*:[^;]*);(\\d+)", target_label: __address__, replacement: "[$1]:$2"}
  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
- job_name: kubernetes-service-endpoints
  kubernetes_sd_configs: [{role: endpoints}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_service_annotation_prometheus_io_scrape], action: keep, regex: "true"}
  # Ports that the service does not name are not asked unless the annotation does.
  - {source_labels: [__meta_kubernetes_endpoint_port_protocol], action: keep, regex: TCP}
  - {source_labels: [__meta_kubernetes_service_annotation_prometheus_io_scheme], regex: (https?), target_label: __scheme__}
  - {source_labels: [__meta_kubernetes_service_annotation_prometheus_io_path], regex: (.+), target_label: __metrics_path__}
  - {source_labels: [__address__, __meta_kubernetes_service_annotation_prometheus_io_port], regex: "(.+?)(?::\\d+)?;(\\d+)", target_label: __address__, replacement: "$1:$2"}
  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {source_labels: [__meta_kubernetes_service_name], target_label: service}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
"#;

/// The jobs of annotations.
///
/// As often as the server itself, so that rates have values over the times that its own have them.
fn annotated(every: Duration) -> Result<Vec<Job>, ConfigError> {
    let every = every.as_millis();
    let timeout = every.min(10_000);
    let global = format!("global: {{scrape_interval: {every}ms, scrape_timeout: {timeout}ms}}");
    let mut jobs = config::parse(&(global + ANNOTATED), Path::new("/"))?;
    // Who annotates pods is not who runs this server.
    jobs.iter_mut().for_each(|job| job.http.guarded = true);
    Ok(jobs)
}

/// Watched copies of what the cluster says about targets.
struct Watched {
    client: Client,
    objects: Objects,
    services: Cache<ServiceMonitor>,
    pods: Cache<PodMonitor>,
    probes: Cache<Probe>,
    annotated: Vec<Arc<Job>>,
}

impl Watched {
    fn start(cluster: Cluster, cancel: &CancellationToken) -> Self {
        let client = cluster.client;
        let annotated = annotated(cluster.scrape_interval).unwrap_or_else(|error| {
            tracing::error!(%error, "jobs of annotations");
            Vec::new()
        });
        Self {
            objects: Objects::of(&cluster.copies),
            services: Cache::start(&client, cancel.clone()),
            pods: Cache::start(&client, cancel.clone()),
            probes: Cache::start(&client, cancel.clone()),
            annotated: annotated.into_iter().map(Arc::new).collect(),
            client,
        }
    }

    /// Whether a job is one of those for what carries the usual annotations.
    fn is_annotated(&self, job: &Arc<Job>) -> bool {
        self.annotated.iter().any(|own| Arc::ptr_eq(own, job))
    }

    fn on_change(&self, own: &Arc<Collection>) {
        let changed = || {
            let own = Arc::clone(own);
            move || own.changed.notify_one()
        };
        self.objects.on_change(changed());
        let (a, b, c) = (changed(), changed(), changed());
        self.services.on_change(move |_| a());
        self.pods.on_change(move |_| b());
        self.probes.on_change(move |_| c());
    }

    fn references(&self) -> BTreeSet<Reference> {
        let mut out = BTreeSet::new();
        let mut add = |meta: &_, spec: &_| out.extend(monitors::references(meta, spec));
        self.services
            .all()
            .iter()
            .for_each(|own| add(&own.metadata, &own.spec));
        self.pods
            .all()
            .iter()
            .for_each(|own| add(&own.metadata, &own.spec));
        self.probes
            .all()
            .iter()
            .for_each(|own| add(&own.metadata, &own.spec));
        out
    }

    /// The jobs of all monitors, each list under the monitor's name.
    fn jobs(&self, values: &Values) -> Vec<(String, Jobs)> {
        let mut out: Vec<(String, Jobs)> = Vec::new();
        let place =
            |kind: &str, meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                format!("{kind} {}/{}", text(&meta.namespace), text(&meta.name))
            };
        for own in self.services.all() {
            let jobs = monitors::service_monitor(&own, values);
            out.push((place("ServiceMonitor", &own.metadata), jobs));
        }
        for own in self.pods.all() {
            out.push((
                place("PodMonitor", &own.metadata),
                monitors::pod_monitor(&own, values),
            ));
        }
        for own in self.probes.all() {
            out.push((place("Probe", &own.metadata), monitors::probe(&own, values)));
        }
        out
    }

    async fn value(&self, reference: &Reference) -> Result<Option<String>, String> {
        let Reference {
            config_map,
            namespace,
            name,
            key,
        } = reference;
        let client = self.client.clone();
        let text = |error: kube::Error| error.to_string();
        if *config_map {
            let api: Api<ConfigMap> = Api::namespaced(client, namespace);
            let object = api.get_opt(name).await.map_err(text)?;
            return Ok(object
                .and_then(|own| own.data)
                .and_then(|mut data| data.remove(key)));
        }
        let api: Api<Secret> = Api::namespaced(client, namespace);
        let object = api.get_opt(name).await.map_err(text)?;
        let bytes = object
            .and_then(|own| own.data)
            .and_then(|mut data| data.remove(key));
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes.0).ok()))
    }
}

/// What lists of others said last, by job and place in it.
type Outside = Arc<Mutex<BTreeMap<(String, usize), Vec<Group>>>>;

/// The task that works out targets.
struct Work {
    own: Arc<Collection>,
    pools: Arc<Pools>,
    cluster: Option<Watched>,
    outside: Outside,
    /// Tasks that look at lists of others, by job and place, with the job they look for.
    looking: BTreeMap<(String, usize), (Arc<Job>, CancellationToken)>,
    synced: BTreeSet<String>,
    values: Values,
    /// Faults that were said already.
    told: BTreeSet<String>,
    cancel: CancellationToken,
}

impl Work {
    async fn turn(mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.objects.ready().await;
            cluster.on_change(&self.own);
        }
        self.own.changed.notify_one();
        let own = Arc::clone(&self.own);
        let mut secrets = tokio::time::interval(SECRETS);
        loop {
            tokio::select! {
                () = own.changed.notified() => tokio::time::sleep(PAUSE).await,
                _ = secrets.tick() => self.values.clear(),
            }
            self.read_values().await;
            self.sync();
        }
    }

    /// Reads what monitors refer to and is not known yet.
    async fn read_values(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let wanted = cluster.references();
        self.values
            .retain(|reference, _| wanted.contains(reference));
        for reference in wanted {
            if self.values.contains_key(&reference) {
                continue;
            }
            let read = tokio::time::timeout(SECRET_LIMIT, cluster.value(&reference)).await;
            match read {
                Ok(Ok(Some(value))) => drop(self.values.insert(reference, value)),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(%error, ?reference, "value for a monitor"),
                Err(_) => tracing::warn!(?reference, "value for a monitor: timed out"),
            }
        }
    }

    fn jobs(&mut self) -> Vec<Arc<Job>> {
        let mut jobs = self.own.configured.lock().clone();
        let mut faults = BTreeSet::new();
        if let Some(cluster) = &self.cluster {
            let configured: BTreeSet<String> = jobs.iter().map(|job| job.name.clone()).collect();
            let mut others = cluster.annotated.clone();
            for (place, own) in cluster.jobs(&self.values) {
                for job in own {
                    match job {
                        Ok(job) => others.push(Arc::new(job)),
                        Err(why) => drop(faults.insert(format!("{place}: {why}"))),
                    }
                }
            }
            // What is configured comes before what the cluster says under the same name.
            jobs.extend(
                others
                    .into_iter()
                    .filter(|job| !configured.contains(&job.name)),
            );
        }
        for fault in faults.difference(&self.told) {
            tracing::warn!("{fault}: not scraped");
        }
        self.told = faults;
        jobs
    }

    fn sync(&mut self) {
        let jobs = self.jobs();
        self.look(&jobs);
        let mut synced = BTreeSet::new();
        for job in &jobs {
            let mut groups = Vec::new();
            for (at, discovery) in job.discovery.iter().enumerate() {
                match (discovery, &self.cluster) {
                    (Discovery::Static(list), _) => groups.extend(outside::listed("static", list)),
                    (Discovery::Kubernetes(own), Some(cluster)) => {
                        groups.extend(cluster.objects.groups(own, cluster.is_annotated(job)));
                    }
                    (Discovery::Kubernetes(_), None) => {}
                    _ => {
                        let all = self.outside.lock();
                        groups.extend(
                            all.get(&(job.name.clone(), at))
                                .cloned()
                                .unwrap_or_default(),
                        );
                    }
                }
            }
            self.pools.sync(job, &groups);
            synced.insert(job.name.clone());
        }
        for gone in self.synced.difference(&synced) {
            self.pools.remove(gone);
        }
        self.synced = synced;
    }

    /// Sees to it that every list of others is looked at, and no other one.
    fn look(&mut self, jobs: &[Arc<Job>]) {
        let mut wanted = BTreeMap::new();
        for job in jobs {
            for (at, discovery) in job.discovery.iter().enumerate() {
                if !matches!(discovery, Discovery::Static(_) | Discovery::Kubernetes(_)) {
                    wanted.insert((job.name.clone(), at), Arc::clone(job));
                }
            }
        }
        let outside = Arc::clone(&self.outside);
        self.looking.retain(|key, (job, stop)| {
            let same = wanted
                .get(key)
                .is_some_and(|own| own.written == job.written);
            if !same {
                stop.cancel();
                outside.lock().remove(key);
            }
            same
        });
        for (key, job) in wanted {
            if self.looking.contains_key(&key) {
                continue;
            }
            let stop = self.cancel.child_token();
            let (own, outside, until) = (
                Arc::clone(&self.own),
                Arc::clone(&self.outside),
                stop.clone(),
            );
            let (task, place) = (Arc::clone(&job), key.clone());
            towpath_daemon::spawn(format!("discovery {}", job.name), async move {
                tokio::select! {
                    () = until.cancelled() => {}
                    () = looks(own, outside, task, place) => {}
                }
            });
            self.looking.insert(key, (job, stop));
        }
    }
}

/// Looks at a list again and again.
async fn looks(own: Arc<Collection>, outside: Outside, job: Arc<Job>, place: (String, usize)) {
    let Some(discovery) = job.discovery.get(place.1) else {
        return;
    };
    let pause = Duration::from_millis(outside::refresh_ms(discovery).unsigned_abs());
    loop {
        match outside::look(&job, discovery).await {
            Ok(groups) => {
                let mut all = outside.lock();
                if all.get(&place) != Some(&groups) {
                    all.insert(place.clone(), groups);
                    own.changed.notify_one();
                }
            }
            Err(why) => tracing::warn!(job = job.name, why, "targets could not be looked up"),
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_can_be_read() {
        let jobs = annotated(Duration::from_secs(1)).unwrap();
        assert_eq!(jobs.len(), 2);
        assert!(jobs.iter().all(|job| job.http.guarded));
        assert!(jobs.iter().all(|job| job.interval_ms == 1_000));
    }
}
