//! From watched objects to changes.

use super::difference::{self, AsWorkload};
use super::guards::{self, Guards, Watcher};
use super::{Change, ChangeKind, Ledger, Object, Writer, references};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ResourceQuota, Secret};
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towpath_daemon::Service;
use towpath_kit::cache::{self, Cache};
use towpath_kit::copies::{Copies, Spine};
use towpath_kit::kinds::{Environment, Promotion, Run, labels};
use towpath_kit::traits::Authors;
use towpath_stdx::Clock;

/// A write that is older than this did not cause what a watch tells now.
const RECENT: Duration = Duration::from_secs(60);
/// ConfigMaps that the cluster itself keeps in every namespace.
const OF_THE_CLUSTER: [&str; 1] = ["kube-root-ca.crt"];
/// Workloads that one change names as touched.
const TOUCHED: usize = 100;
/// Where a copy of a Secret says when its certificate ends.
const NOT_AFTER: &str = "towpath.dev/not-after";

/// What changes are seen in.
#[derive(Clone)]
pub struct Observed {
    pub(super) copies: Copies,
    pub(super) spine: Spine,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    guards: Guards,
}

impl Observed {
    /// Beside the copies that all components share, some of its own: ConfigMaps and Secrets without
    /// their values, and digests of what guards the cluster.
    pub fn new(copies: Copies, spine: Spine) -> Self {
        Self {
            copies,
            spine,
            config_maps: Cache::slim(digest_config_map),
            secrets: Cache::slim(digest_secret),
            guards: Guards::default(),
        }
    }

    fn feed(&self, client: &Client, cancel: &CancellationToken) {
        self.config_maps.feed_from(client, cancel.clone());
        self.secrets.feed_from(client, cancel.clone());
        self.guards.feed(client, cancel);
    }

    /// Pods of a namespace.
    pub fn pods(&self, namespace: &str) -> Vec<Arc<Pod>> {
        self.copies.pods.in_namespace(namespace)
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.copies.nodes.all()
    }

    /// Quotas of a namespace.
    pub fn quotas(&self, namespace: &str) -> Vec<Arc<ResourceQuota>> {
        self.copies.quotas.in_namespace(namespace)
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

    /// The same for all namespaces, each with its namespace and name.
    pub fn all_certificates(&self) -> Vec<(String, String, i64)> {
        let secrets = self.secrets.all();
        let ends = secrets.iter().filter_map(|secret| {
            let end = secret.annotations().get(NOT_AFTER)?.parse().ok()?;
            let namespace = secret.namespace().unwrap_or_default();
            Some((namespace, secret.name_any(), end))
        });
        ends.collect()
    }

    async fn ready(&self) {
        tokio::join!(
            self.copies.ready(),
            self.spine.ready(),
            self.config_maps.ready(),
            self.secrets.ready(),
            self.guards.ready(),
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
        self.workloads(&observed.copies.deployments);
        self.workloads(&observed.copies.stateful_sets);
        self.workloads(&observed.copies.daemon_sets);
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
            .map(|words| {
                let (was, now) = (old.as_ref().map(state), new.as_ref().map(state));
                Told::between(ChangeKind::Config, words, was, now)
            })
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
            let (was, now) = (old.map(|_| data(old)), new.map(|_| data(new)));
            difference::data(&data(old), &data(new)).map(|words| {
                let (was, now) = (was.as_ref().map(state), now.as_ref().map(state));
                Told::between(ChangeKind::Config, words, was, now)
            })
        });
        self.watch(&observed.copies.quotas, |old, new| {
            let hard = |quota: Option<&ResourceQuota>| quota.and_then(|q| q.spec.clone());
            let (was, now) = (hard(old), hard(new));
            (was != now).then(|| {
                let (was, now) = (was.as_ref().map(state), now.as_ref().map(state));
                Told::between(ChangeKind::Policy, "limits changed".into(), was, now)
            })
        });
        self.watch(&observed.copies.nodes, |old, new| {
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
            let (was, now) = (old.as_ref().map(state), new.as_ref().map(state));
            Some(Told::between(ChangeKind::Node, words.into(), was, now))
        });
        self.watch(&observed.copies.namespaces, |old, new| {
            let labels = |space: &Namespace| {
                let mut labels = space.labels().clone();
                labels.remove("kubernetes.io/metadata.name");
                labels
            };
            let (was, now) = (old.map(labels), new.map(labels));
            let words = match (&was, &now) {
                (Some(was), Some(now)) => format!("labels: {}", difference::data(was, now)?),
                _ => String::new(),
            };
            let (was, now) = (was.as_ref().map(state), now.as_ref().map(state));
            Some(Told::between(ChangeKind::Namespace, words, was, now))
        });
        observed.guards.each(self);
        let seen = self.clone();
        observed
            .spine
            .runs
            .on_change(move |change| seen.run(change));
        let seen = self.clone();
        let environments = observed.spine.environments.clone();
        observed.spine.promotions.on_change(move |change| {
            seen.promotion(change, &environments);
        });
    }

    fn workloads<K>(&self, cache: &Cache<K>)
    where
        K: AsWorkload + kube_kind::Watched,
    {
        self.watch(cache, |old, new| {
            let (was, now) = (
                old.and_then(AsWorkload::workload),
                new.and_then(AsWorkload::workload),
            );
            let (kind, words) = match (&was, &now) {
                (Some(was), Some(now)) => difference::workload(was, now)?,
                _ => (ChangeKind::Deploy, String::new()),
            };
            // Annotations of pods say where they come from, not what they are.
            let state = |w: &difference::Workload<'_>| match kind {
                ChangeKind::Scale => state(&w.replicas),
                _ => state(&w.template.spec),
            };
            let (was, now) = (was.as_ref().map(state), now.as_ref().map(state));
            Some(Told::between(kind, words, was, now))
        });
    }

    /// Notes changes of a kind; what was there at the start is none. `tell` says what changed
    /// between two states; of what came or went it may leave the words empty.
    fn watch<K: kube_kind::Watched>(
        &self,
        cache: &Cache<K>,
        tell: impl Fn(Option<&K>, Option<&K>) -> Option<Told> + Send + Sync + 'static,
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
            let Some(mut told) = tell(old, new) else {
                return;
            };
            told.words = match (old, new) {
                (None, Some(_)) => join("made", &told.words),
                (Some(_), None) => "deleted".into(),
                _ => told.words,
            };
            let Some(object) = new.or(old) else { return };
            seen.note(object, told);
        });
        begun.store(true, std::sync::atomic::Ordering::Release);
    }

    fn note<K: kube_kind::Watched>(&self, object: &K, told: Told) {
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
        let touched = match told.kind {
            ChangeKind::Config => self.readers(&changed),
            // Whom it selects is not held; it may cut off any.
            ChangeKind::Policy if changed.kind == "NetworkPolicy" => {
                let mut all = self.observed.workloads(&namespace);
                all.truncate(TOUCHED);
                all
            }
            _ => Vec::new(),
        };
        self.ledger.note(Change {
            id: format!(
                "{plural}/{name}@{}",
                object.resource_version().unwrap_or_default()
            ),
            at: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            kind: told.kind,
            object: changed,
            touched,
            by,
            commit,
            release,
            promotion,
            words: told.words,
            was: told.was,
            now: told.now,
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
        let mut found = of(&observed.copies.deployments, object);
        found.extend(of(&observed.copies.stateful_sets, object));
        found.extend(of(&observed.copies.daemon_sets, object));
        found
    }

    // Who asked for a promotion; its name is unique enough within a server to be found by.
    fn asked(&self, promotion: &str) -> String {
        if promotion.is_empty() {
            return String::new();
        }
        let found = self
            .observed
            .spine
            .promotions
            .filter(|p| p.metadata.name.as_deref() == Some(promotion));
        found.first().map(|p| p.spec.by.clone()).unwrap_or_default()
    }

    /// A run that ended.
    fn run(&self, change: &cache::Change<'_, Run>) {
        let (Some(old), Some(new)) = (change.old, change.new) else {
            return;
        };
        let ended = |run: &Run| run.status.as_ref().is_some_and(|s| s.phase.is_final());
        let Some(status) = new.status.as_ref().filter(|_| ended(new) && !ended(old)) else {
            return;
        };
        let at = self.clock.since_epoch().as_millis();
        let (namespace, name) = (&change.key.namespace, &change.key.name);
        let spec = &new.spec;
        self.ledger.note(Change {
            id: format!("runs/{name}@{}", status.attempt),
            at: i64::try_from(at).unwrap_or(i64::MAX),
            kind: ChangeKind::Run,
            object: Object::new("Run", namespace, name),
            by: spec.actor.clone(),
            commit: spec.sha.clone(),
            words: format!(
                "{} of {} {}: {:?}",
                status.workflow_name, spec.repository, spec.ref_, status.phase
            ),
            ..Change::default()
        });
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
            ..Change::default()
        });
    }
}

impl Watcher for Seen {
    fn watch<K: Watched>(&self, cache: &Cache<K>, kind: ChangeKind) {
        self.watch(cache, move |old, new| {
            let of = |object: Option<&K>| object.map(guards::state).unwrap_or_default();
            let ((was, before), (now, after)) = (of(old), of(new));
            if was == now {
                return None;
            }
            let words = match new {
                Some(_) => guards::words(&before, &after),
                None => String::new(),
            };
            Some(Told::between(kind, words, Some(was), Some(now)))
        });
    }
}

/// What a change is, but for who made it.
struct Told {
    kind: ChangeKind,
    words: String,
    was: String,
    now: String,
}

impl Told {
    fn between(kind: ChangeKind, words: String, was: Option<String>, now: Option<String>) -> Self {
        Self {
            kind,
            words,
            was: was.unwrap_or_default(),
            now: now.unwrap_or_default(),
        }
    }
}

// What people change, as one short text: the same state has the same.
pub(super) fn state(of: &impl serde::Serialize) -> String {
    digest(&serde_json::to_vec(of).unwrap_or_default())
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
pub(crate) fn not_after(pem: &[u8]) -> Option<i64> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    certificate
        .validity()
        .not_after
        .timestamp()
        .checked_mul(1_000)
}

pub(super) use kube_kind::Watched;

mod kube_kind {
    //! The bounds that a cache has.

    use kube::Resource;
    use serde::de::DeserializeOwned;
    use std::fmt::Debug;

    /// A kind that can be watched.
    pub(in crate::ledger) trait Watched:
        Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
    {
    }

    impl<K> Watched for K where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
    {
    }
}
