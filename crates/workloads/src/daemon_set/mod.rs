//! Daemon sets: one pod on each node that fits.

mod placement;
mod plan;
mod revised;

use crate::context::{self, Context, Reconciler, next};
use crate::expectations::Expectations;
use crate::objects::{self, name, uid};
use crate::revisions::{self, REVISION, Revised, Revisions};
use crate::{Error, ownership, pods, waking};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use kube::Client;
use plan::{Observed, Plan};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::{Cache, Change, Key};
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;

/// Delays before a pod that ended by itself is replaced on the same node.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(900);

struct Controller {
    context: Arc<Context>,
    sets: Cache<DaemonSet>,
    events: Events,
    expectations: Arc<Expectations>,
    backoff: parking_lot::Mutex<Backoff>,
}

/// Per set and node: the last replacement and the delay after it.
type Backoff = BTreeMap<(Key, String), (Instant, Duration)>;

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let queue = Queue::default();
    let expectations = Arc::new(Expectations::default());
    let sets = context.caches.daemon_sets.clone();
    watch(&context, &sets, &queue, &expectations);
    let events = Events::new(context.client.clone(), "daemonset-controller");
    let controller = Controller {
        context,
        sets,
        events,
        expectations,
        backoff: parking_lot::Mutex::default(),
    };
    context::start(controller, queue, cancel).await;
}

fn watch(
    context: &Arc<Context>,
    sets: &Cache<DaemonSet>,
    queue: &Queue<Key>,
    expectations: &Arc<Expectations>,
) {
    let caches = &context.caches;
    let (q, e) = (queue.clone(), expectations.clone());
    sets.on_change(move |change| {
        if change.new.is_none() {
            e.forget(change.key);
        }
        q.add(change.key.clone());
    });
    let q = queue.clone();
    caches.revisions.on_change(move |change| {
        waking::owners(change, "DaemonSet").for_each(|key| q.add(key));
    });
    let (q, e, all) = (queue.clone(), expectations.clone(), sets.clone());
    caches.pods.on_change(move |change| {
        let owners = e.saw(change, "DaemonSet");
        let adopters = waking::adopters(change, &all, |s| {
            Some(Cow::Borrowed(&s.spec.as_ref()?.selector))
        });
        owners
            .into_iter()
            .chain(adopters)
            .for_each(|key| q.add(key));
    });
    let (q, all) = (queue.clone(), sets.clone());
    caches.nodes.on_change(move |change| {
        if moves_pods(change) {
            all.all()
                .iter()
                .for_each(|set| q.add(Key::of(set.as_ref())));
        }
    });
}

// Labels and taints decide who belongs on a node; its heartbeats do not.
fn moves_pods(change: &Change<'_, Node>) -> bool {
    let facts = |node: &Arc<Node>| {
        let taints = node.spec.as_ref().and_then(|s| s.taints.clone());
        (node.metadata.labels.clone(), taints)
    };
    change.old.map(facts) != change.new.map(facts)
}

impl Reconciler for Controller {
    const NAME: &'static str = "daemonset";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let caches = &self.context.caches;
        let client = &self.context.client;
        let Some(set) = self.sets.get(key) else {
            self.backoff.lock().retain(|(owner, _), _| owner != key);
            return Ok(Next::Wait);
        };
        let mut owned_revisions = caches.revisions.in_namespace(&key.namespace);
        owned_revisions.retain(|r| ownership::is_controlled_by(&r.metadata, uid(&set.metadata)));
        let revisions = revisions::plan(set.as_ref(), &owned_revisions);
        if set.metadata.deletion_timestamp.is_none() {
            revisions::write(client, set.as_ref(), &revisions).await?;
        }
        let met = self.expectations.met(key, self.context.clock.monotonic());
        let pods = self.pods(client, &set).await?;
        let nodes = caches.nodes.all();
        let mut plan = plan::plan(&Observed {
            set: &set,
            update: &revisions.update,
            nodes: &nodes,
            pods: &pods,
            now: self.context.now(),
        });
        let wait = self.hold_back(key, &mut plan);
        let result = if met {
            self.apply(key, &set, &revisions, &plan).await
        } else {
            Ok(())
        };
        if set.status.as_ref() != Some(&plan.status) {
            let mut set = set.as_ref().clone();
            set.status = Some(plan.status);
            objects::replace_status(client, &set).await?;
        }
        result?;
        revisions::prune(client, set.as_ref(), &owned_revisions, &pods, &revisions).await?;
        Ok(next(crate::time::earlier(plan.after, wait)))
    }
}

impl Controller {
    async fn pods(&self, client: &Client, set: &Arc<DaemonSet>) -> Result<Vec<Arc<Pod>>, Error> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let all = self.context.caches.pods.in_namespace(namespace);
        let spec = set.spec.as_ref();
        let selector = spec.map(|s| s.selector.clone()).unwrap_or_default();
        let claim = ownership::claim(&all, &set.metadata, &selector);
        claim.settle(client, set.as_ref()).await
    }

    // Takes pods that ended too soon after the last ones out of the plan; says when to look again.
    fn hold_back(&self, key: &Key, plan: &mut Plan) -> Option<Duration> {
        let now = self.context.clock.monotonic();
        let mut all = self.backoff.lock();
        all.retain(|_, (since, delay)| now.duration_since(*since) < 2 * (*delay).max(MAX_BACKOFF));
        let mut wait = None;
        plan.failed.retain(|pod| {
            let node = placement::node_of(pod).unwrap_or_default().to_string();
            let (since, delay) = all
                .entry((key.clone(), node))
                .or_insert((now, Duration::ZERO));
            let passed = now.duration_since(*since);
            if passed < *delay {
                wait = crate::time::earlier(wait, Some(*delay - passed));
                plan.delete.remove(name(&pod.metadata));
                return false;
            }
            *since = now;
            *delay = (*delay * 2).clamp(FIRST_BACKOFF, MAX_BACKOFF);
            true
        });
        wait
    }

    async fn apply(
        &self,
        key: &Key,
        set: &DaemonSet,
        revisions: &Revisions,
        plan: &Plan,
    ) -> Result<(), Error> {
        let about = objects::reference(set);
        for pod in &plan.failed {
            let note = format!(
                "Found failed daemon pod {}/{} on node {}, will try to kill it",
                key.namespace,
                name(&pod.metadata),
                placement::node_of(pod).unwrap_or_default()
            );
            self.events
                .warning(&about, "FailedDaemonPod", "Delete", note)
                .await;
        }
        let mut first = Ok(());
        for node in &plan.create {
            first = first.and(self.create(key, set, revisions, node, &about).await);
        }
        for pod in plan.delete.values() {
            first = first.and(self.delete(key, pod, &about).await);
        }
        first
    }

    async fn create(
        &self,
        key: &Key,
        set: &DaemonSet,
        revisions: &Revisions,
        node: &str,
        about: &ObjectReference,
    ) -> Result<(), Error> {
        let base = format!("{}-", key.name);
        let suffix = towpath_stdx::id::suffix(self.context.random.as_ref(), 5);
        let pod_name = format!("{base}{suffix}");
        let owner = ownership::controller_reference(set);
        let template = set.template();
        let mut pod = pods::from_template(&template, &key.namespace, pod_name.clone(), owner);
        pod.metadata.generate_name = Some(base);
        let mark = DaemonSet::mark(&revisions.update).to_string();
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(REVISION.into(), mark);
        placement::tie(pod.spec.get_or_insert_default(), node);
        self.expectations
            .will_create(key, &pod_name, self.context.clock.monotonic());
        match objects::create(&self.context.client, &pod).await {
            Ok(_) => {
                let note = format!("Created pod: {pod_name}");
                self.events
                    .normal(about, "SuccessfulCreate", "Create", note)
                    .await;
                Ok(())
            }
            Err(error) => {
                self.expectations.saw_created(key, &pod_name);
                if !error.is_namespace_ending() {
                    let note = format!("Error creating: {}", error.words());
                    self.events
                        .warning(about, "FailedCreate", "Create", note)
                        .await;
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &Key, pod: &Pod, about: &ObjectReference) -> Result<(), Error> {
        let pod_uid = uid(&pod.metadata);
        self.expectations
            .will_delete(key, pod_uid, self.context.clock.monotonic());
        let exactly = objects::exactly(&pod.metadata);
        let result = objects::delete::<Pod>(&self.context.client, &pod.metadata, exactly).await;
        match &result {
            Ok(()) => {
                let note = format!("Deleted pod: {}", name(&pod.metadata));
                self.events
                    .normal(about, "SuccessfulDelete", "Delete", note)
                    .await;
            }
            Err(_) => self.expectations.saw_deleted(key, pod_uid),
        }
        result
    }
}
