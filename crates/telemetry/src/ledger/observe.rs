//! From watched objects to changes.

use super::difference::{self, AsWorkload};
use super::{Change, ChangeKind, Ledger, Object, Writer, references};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Node, ResourceQuota, Secret};
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towpath_daemon::Service;
use towpath_kit::cache::{self, Cache};
use towpath_kit::kinds::{Environment, Promotion, labels};
use towpath_kit::traits::Authors;
use towpath_stdx::Clock;

/// A write that is older than this did not cause what a watch tells now.
const RECENT: Duration = Duration::from_secs(60);
/// ConfigMaps that the cluster itself keeps in every namespace.
const OF_THE_CLUSTER: [&str; 1] = ["kube-root-ca.crt"];
/// Where a copy of a Secret says when its certificate ends.
const NOT_AFTER: &str = "towpath.dev/not-after";

/// What changes are seen in.
#[derive(Clone)]
pub struct Observed {
    deployments: Cache<Deployment>,
    stateful_sets: Cache<StatefulSet>,
    daemon_sets: Cache<DaemonSet>,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    quotas: Cache<ResourceQuota>,
    nodes: Cache<Node>,
    promotions: Cache<Promotion>,
    environments: Cache<Environment>,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            deployments: Cache::default(),
            stateful_sets: Cache::default(),
            daemon_sets: Cache::default(),
            config_maps: Cache::slim(digest_config_map),
            secrets: Cache::slim(digest_secret),
            quotas: Cache::default(),
            nodes: Cache::default(),
            promotions: Cache::default(),
            environments: Cache::default(),
        }
    }
}

impl Observed {
    fn feed(&self, client: &Client, cancel: &CancellationToken) {
        self.deployments.feed_from(client, cancel.clone());
        self.stateful_sets.feed_from(client, cancel.clone());
        self.daemon_sets.feed_from(client, cancel.clone());
        self.config_maps.feed_from(client, cancel.clone());
        self.secrets.feed_from(client, cancel.clone());
        self.quotas.feed_from(client, cancel.clone());
        self.nodes.feed_from(client, cancel.clone());
        self.promotions.feed_from(client, cancel.clone());
        self.environments.feed_from(client, cancel.clone());
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.all()
    }

    /// Quotas of a namespace.
    pub fn quotas(&self, namespace: &str) -> Vec<Arc<ResourceQuota>> {
        self.quotas.in_namespace(namespace)
    }

    /// Ends of the certificates in Secrets of type `kubernetes.io/tls` of a namespace,
    /// milliseconds since the epoch.
    pub fn certificates(&self, namespace: &str) -> Vec<(Object, i64)> {
        let secrets = self.secrets.in_namespace(namespace);
        let ends = secrets.iter().filter_map(|secret| {
            let end = secret.annotations().get(NOT_AFTER)?.parse().ok()?;
            Some((Object::new("Secret", namespace, &secret.name_any()), end))
        });
        ends.collect()
    }

    async fn ready(&self) {
        tokio::join!(
            self.deployments.ready(),
            self.stateful_sets.ready(),
            self.daemon_sets.ready(),
            self.config_maps.ready(),
            self.secrets.ready(),
            self.quotas.ready(),
            self.nodes.ready(),
            self.promotions.ready(),
            self.environments.ready(),
        );
    }
}

/// Keeps the ledger: watches through `client` and writes what it sees.
pub fn service(
    ledger: Ledger,
    writer: Writer,
    observed: Observed,
    client: Client,
    authors: Option<Arc<dyn Authors>>,
    clock: Arc<dyn Clock>,
    after: &[&'static str],
) -> Service {
    Service::new("ledger", after, move |mut context| async move {
        let cancel = context.cancel.clone();
        observed.feed(&client, &cancel);
        tokio::select! {
            () = observed.ready() => {}
            () = cancel.cancelled() => return Ok(()),
        }
        let seen = Seen {
            ledger,
            authors,
            clock,
            observed,
        };
        seen.connect();
        context.ready();
        writer.run(cancel).await;
        Ok(())
    })
}

#[derive(Clone)]
struct Seen {
    ledger: Ledger,
    authors: Option<Arc<dyn Authors>>,
    clock: Arc<dyn Clock>,
    observed: Observed,
}

impl Seen {
    fn connect(&self) {
        let observed = &self.observed;
        self.workloads(&observed.deployments);
        self.workloads(&observed.stateful_sets);
        self.workloads(&observed.daemon_sets);
        self.watch(&observed.config_maps, |old, new| {
            let empty = BTreeMap::new();
            let name = new.or(old)?.metadata.name.as_deref()?;
            if OF_THE_CLUSTER.contains(&name) {
                return None;
            }
            let data = |map: Option<&ConfigMap>| map.and_then(|m| m.data.clone());
            let (old, new) = (data(old), data(new));
            difference::data(
                old.as_ref().unwrap_or(&empty),
                new.as_ref().unwrap_or(&empty),
            )
            .map(|words| (ChangeKind::Config, words))
        });
        self.watch(&observed.secrets, |old, new| {
            // Tokens and the like come and go by themselves.
            let kind = new.or(old)?.type_.as_deref();
            if kind == Some("kubernetes.io/service-account-token") {
                return None;
            }
            let data = |secret: Option<&Secret>| {
                secret
                    .and_then(|s| s.string_data.clone())
                    .unwrap_or_default()
            };
            difference::data(&data(old), &data(new)).map(|words| (ChangeKind::Config, words))
        });
        self.watch(&observed.quotas, |old, new| {
            let hard = |quota: Option<&ResourceQuota>| quota.and_then(|q| q.spec.clone());
            (hard(old) != hard(new)).then(|| (ChangeKind::Policy, "limits changed".into()))
        });
        self.watch(&observed.nodes, |old, new| {
            let parts = |node: &Node| {
                let spec = node.spec.clone().unwrap_or_default();
                let mut taints = spec.taints.unwrap_or_default();
                // Those are put there and taken away by the node's own condition.
                taints.retain(|taint| !taint.key.starts_with("node.kubernetes.io/"));
                (spec.unschedulable.unwrap_or(false), taints)
            };
            let (old, new) = (old.map(parts), new.map(parts));
            let words = match (&old, &new) {
                (Some(a), Some(b)) if a == b => return None,
                (Some((false, _)), Some((true, _))) => "takes no new pods",
                (Some((true, _)), Some((false, _))) => "takes new pods again",
                (Some(_), Some(_)) => "taints changed",
                _ => "",
            };
            Some((ChangeKind::Node, words.into()))
        });
        let seen = self.clone();
        let environments = observed.environments.clone();
        observed.promotions.on_change(move |change| {
            seen.promotion(change, &environments);
        });
    }

    fn workloads<K>(&self, cache: &Cache<K>)
    where
        K: AsWorkload + kube_kind::Watched,
    {
        self.watch(cache, |old, new| match (old, new) {
            (Some(old), Some(new)) => difference::workload(&old.workload()?, &new.workload()?),
            _ => Some((ChangeKind::Deploy, String::new())),
        });
    }

    /// Notes changes of a kind; what was there at the start is none. `tell` says what changed
    /// between two states; of what came or went it may leave the words empty.
    fn watch<K: kube_kind::Watched>(
        &self,
        cache: &Cache<K>,
        tell: impl Fn(Option<&K>, Option<&K>) -> Option<(ChangeKind, String)> + Send + Sync + 'static,
    ) {
        let seen = self.clone();
        let begun = std::sync::atomic::AtomicBool::new(false);
        let begun = Arc::new(begun);
        let started = begun.clone();
        cache.on_change(move |change| {
            // Told of everything that is there while the handler is registered.
            if !started.load(std::sync::atomic::Ordering::Acquire) {
                return;
            }
            let (old, new) = (change.old.map(|o| &**o), change.new.map(|n| &**n));
            let Some((kind, words)) = tell(old, new) else {
                return;
            };
            let words = match (old, new) {
                (None, Some(_)) => join("made", &words),
                (Some(_), None) => "deleted".into(),
                _ => words,
            };
            let Some(object) = new.or(old) else { return };
            seen.note(object, kind, words);
        });
        begun.store(true, std::sync::atomic::Ordering::Release);
    }

    fn note<K: kube_kind::Watched>(&self, object: &K, kind: ChangeKind, words: String) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let plural = K::plural(&());
        let now = self.clock.since_epoch();
        let by = self
            .authors
            .as_ref()
            .and_then(|authors| authors.last(&plural, &namespace, &name))
            .filter(|author| now.saturating_sub(author.at) < RECENT)
            .map(|author| author.name);
        let mark = |key: &str| {
            let annotation = object.annotations().get(key);
            annotation
                .or_else(|| object.labels().get(key))
                .cloned()
                .unwrap_or_default()
        };
        // What a person changes by hand keeps the marks of the deployment before.
        let (commit, release, promotion) = match &by {
            Some(_) => Default::default(),
            None => (
                mark(labels::COMMIT),
                mark(labels::RELEASE),
                mark(labels::PROMOTION),
            ),
        };
        let by = by.unwrap_or_else(|| self.asked(&promotion));
        let changed = Object::new(&K::kind(&()), &namespace, &name);
        let touched = match kind {
            ChangeKind::Config => self.readers(&changed),
            _ => Vec::new(),
        };
        self.ledger.note(Change {
            id: format!(
                "{plural}/{name}@{}",
                object.resource_version().unwrap_or_default()
            ),
            at: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            kind,
            object: changed,
            touched,
            by,
            commit,
            release,
            promotion,
            words,
        });
    }

    // Workloads whose pods read a ConfigMap or Secret.
    fn readers(&self, object: &Object) -> Vec<Object> {
        fn of<K>(cache: &Cache<K>, object: &Object) -> Vec<Object>
        where
            K: AsWorkload + kube_kind::Watched,
        {
            let all = cache.in_namespace(&object.namespace);
            let reading = all.iter().filter(|workload| {
                let parts = workload.workload();
                parts.is_some_and(|parts| references::reads(parts.template, object))
            });
            let named =
                reading.map(|w| Object::new(&K::kind(&()), &object.namespace, &w.name_any()));
            named.collect()
        }
        let observed = &self.observed;
        let mut found = of(&observed.deployments, object);
        found.extend(of(&observed.stateful_sets, object));
        found.extend(of(&observed.daemon_sets, object));
        found
    }

    // Who asked for a promotion; its name is unique enough within a server to be found by.
    fn asked(&self, promotion: &str) -> String {
        if promotion.is_empty() {
            return String::new();
        }
        let found = self
            .observed
            .promotions
            .filter(|p| p.metadata.name.as_deref() == Some(promotion));
        found.first().map(|p| p.spec.by.clone()).unwrap_or_default()
    }

    fn promotion(&self, change: &cache::Change<'_, Promotion>, environments: &Cache<Environment>) {
        let (Some(old), Some(new)) = (change.old, change.new) else {
            return;
        };
        let phase = |p: &Promotion| p.status.as_ref().map(|s| s.phase);
        let (before, now) = (phase(old), phase(new));
        let Some(status) = new.status.as_ref().filter(|_| before != now) else {
            return;
        };
        let project = change.key.namespace.clone();
        let key = cache::Key::new(&project, &new.spec.environment);
        let namespace = environments
            .get(&key)
            .map_or(project.clone(), |e| e.spec.namespace.clone());
        let at = self.clock.since_epoch().as_millis();
        let name = change.key.name.as_str();
        self.ledger.note(Change {
            id: format!("promotions/{name}@{:?}", status.phase),
            at: i64::try_from(at).unwrap_or(i64::MAX),
            kind: ChangeKind::Deploy,
            object: Object::new("Promotion", &namespace, name),
            touched: Vec::new(),
            by: new.spec.by.clone(),
            commit: String::new(),
            release: status.release.clone(),
            promotion: format!("{project}/{name}"),
            words: format!(
                "{} of {} to {}: {:?}",
                new.spec.kind, status.release, new.spec.environment, status.phase
            ),
        });
    }
}

fn join(first: &str, rest: &str) -> String {
    match rest {
        "" => first.into(),
        rest => format!("{first}: {rest}"),
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("{:08x}-{}", crc32c::crc32c(bytes), bytes.len())
}

// Values go, digests stay in their place.
fn digest_config_map(map: &mut ConfigMap) {
    let text = map.data.take().unwrap_or_default();
    let binary = map.binary_data.take().unwrap_or_default();
    let text = text.into_iter().map(|(k, v)| (k, digest(v.as_bytes())));
    let binary = binary.into_iter().map(|(k, ByteString(v))| (k, digest(&v)));
    map.data = Some(text.chain(binary).collect());
    forget_applied(&mut map.metadata);
}

fn digest_secret(secret: &mut Secret) {
    let data = secret.data.take().unwrap_or_default();
    let certificate = match secret.type_.as_deref() {
        Some("kubernetes.io/tls") => data.get("tls.crt"),
        _ => None,
    };
    if let Some(end) = certificate.and_then(|ByteString(pem)| not_after(pem)) {
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(NOT_AFTER.into(), end.to_string());
    }
    let digests = data.into_iter().map(|(k, ByteString(v))| (k, digest(&v)));
    secret.string_data = Some(digests.collect());
    forget_applied(&mut secret.metadata);
}

// kubectl keeps what was applied, values and all, in an annotation.
fn forget_applied(metadata: &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) {
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

// The end of the first certificate, milliseconds since the epoch.
fn not_after(pem: &[u8]) -> Option<i64> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    certificate
        .validity()
        .not_after
        .timestamp()
        .checked_mul(1_000)
}

mod kube_kind {
    //! The bounds that a cache has.

    use kube::Resource;
    use serde::de::DeserializeOwned;
    use std::fmt::Debug;

    /// A kind that can be watched.
    pub(super) trait Watched:
        Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
    {
    }

    impl<K> Watched for K where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
    {
    }
}
