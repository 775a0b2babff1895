//! The scheduler: gives every pod without a node one.
//!
//! One queue. A pod that fits nowhere is put aside and comes back when something happened that
//! could help: a node changed, a pod went or changed, a claim or volume moved. Pods that were
//! bound but not yet seen bound are kept in the view, so capacity is never given twice.
//! Pods are decided one after the other; nothing is pre-empted.

mod affinity;
mod filter;
pub(crate) mod labels;
mod plan;
mod score;
mod snapshot;
mod volumes;

#[cfg(test)]
mod tests;

use crate::context::{self, Context};
use crate::objects::{self, name, uid};
use crate::{Error, pods};
use affinity::Cluster;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use plan::Verdict;
use serde_json::json;
use snapshot::NodeView;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towpath_daemon::metrics;
use towpath_kit::cache::{Change, Key};
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;
use towpath_stdx::{Clock, SystemClock};
pub(crate) use volumes::{claim_names, selected_node};

/// Name that pods ask for us by.
const NAME: &str = "default-scheduler";
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

struct Scheduler {
    context: Arc<Context>,
    events: Events,
    queue: Queue<Key>,
    /// Pods that fit nowhere, with how often that was found.
    aside: Mutex<BTreeMap<Key, u32>>,
    /// Pods bound but not yet seen so: UID and node.
    assumed: Mutex<HashMap<Key, (String, String)>>,
}

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let queue = Queue::default();
    let events = Events::new(context.client.clone(), NAME);
    let scheduler = Arc::new(Scheduler {
        context,
        events,
        queue: queue.clone(),
        aside: Mutex::default(),
        assumed: Mutex::default(),
    });
    scheduler.watch();
    context::run(
        "scheduler",
        queue,
        1,
        scheduler,
        cancel,
        |s, key| async move { s.reconcile(&key).await },
    )
    .await;
}

fn is_ours(pod: &Pod) -> bool {
    let asked = pod
        .spec
        .as_ref()
        .and_then(|s| s.scheduler_name.as_deref())
        .unwrap_or(NAME);
    (asked == NAME || asked.is_empty()) && pods::node(pod).is_none() && pods::is_active(pod)
}

impl Scheduler {
    fn watch(self: &Arc<Self>) {
        let caches = &self.context.caches;
        let s = self.clone();
        caches.pods.on_change(move |change| s.pod_changed(change));
        let s = self.clone();
        caches.nodes.on_change(move |change| {
            if node_could_help(change) {
                s.wake_all();
            }
        });
        let s = self.clone();
        caches.claims.on_change(move |_| s.wake_all());
        let s = self.clone();
        caches.volumes.on_change(move |change| {
            if change.old.is_none() || change.new.is_none() {
                s.wake_all();
            }
        });
        let s = self.clone();
        caches.classes.on_change(move |_| s.wake_all());
    }

    fn pod_changed(&self, change: &Change<'_, Pod>) {
        let bound = |p: Option<&Arc<Pod>>| {
            p.is_some_and(|p| pods::node(p).is_some() && !pods::is_terminal(p))
        };
        match change.new {
            Some(pod) if is_ours(pod) => {
                // Our own condition is no news.
                let news = change.old.is_none_or(|old| {
                    old.spec != pod.spec || old.metadata.labels != pod.metadata.labels
                });
                if news || !self.aside.lock().contains_key(change.key) {
                    self.aside.lock().remove(change.key);
                    self.queue.add(change.key.clone());
                }
            }
            _ => {
                self.aside.lock().remove(change.key);
                self.assumed.lock().remove(change.key);
            }
        }
        let freed = bound(change.old) && !bound(change.new);
        let arrived = !bound(change.old) && bound(change.new);
        // A pod that arrives can satisfy another's affinity.
        if freed || arrived {
            self.wake_all();
        }
    }

    // Everything put aside gets another look, after a growing delay from its second try on.
    fn wake_all(&self) {
        for (key, tries) in self.aside.lock().iter() {
            let delay = FIRST_BACKOFF.saturating_mul(1 << (*tries).min(10)) / 2;
            match *tries {
                0 | 1 => self.queue.add(key.clone()),
                _ => self.queue.add_after(key.clone(), delay.min(MAX_BACKOFF)),
            }
        }
    }

    fn view(&self) -> Vec<NodeView> {
        let caches = &self.context.caches;
        let mut by_node: HashMap<String, Vec<Arc<Pod>>> = HashMap::new();
        let assumed = self.assumed.lock().clone();
        for pod in caches.pods.all() {
            let key = Key::of(pod.as_ref());
            let node = pods::node(&pod).map(str::to_string);
            let node = node.or_else(|| {
                assumed
                    .get(&key)
                    .filter(|(u, _)| u == uid(&pod.metadata))
                    .map(|(_, n)| n.clone())
            });
            if let Some(node) = node {
                by_node.entry(node).or_default().push(pod);
            }
        }
        let nodes = caches.nodes.all();
        nodes
            .into_iter()
            .map(|n| {
                NodeView::new(
                    n.clone(),
                    by_node.remove(name(&n.metadata)).unwrap_or_default(),
                )
            })
            .collect()
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let caches = &self.context.caches;
        let Some(pod) = caches.pods.get(key).filter(|p| is_ours(p)) else {
            return Ok(Next::Wait);
        };
        if self
            .assumed
            .lock()
            .get(key)
            .is_some_and(|(u, _)| u == uid(&pod.metadata))
        {
            return Ok(Next::Wait);
        }
        let volumes = volumes::Volumes::of(&pod, &caches.claims, &caches.volumes, &caches.classes);
        let (nodes, namespaces) = (self.view(), caches.namespaces.all());
        let cluster = Cluster {
            nodes: &nodes,
            namespaces: &namespaces,
        };
        let begin = SystemClock.monotonic();
        let verdict = plan::plan(&pod, &cluster, &volumes);
        self.count(&verdict, SystemClock.monotonic().duration_since(begin));
        match verdict {
            Verdict::Gated => {
                let message = "Scheduling is blocked due to non-empty scheduling gates";
                self.condition(&pod, "SchedulingGated", message).await?;
            }
            Verdict::Nowhere(message) => {
                *self.aside.lock().entry(key.clone()).or_insert(0) += 1;
                if self.condition(&pod, "Unschedulable", &message).await? {
                    let about = objects::reference(pod.as_ref());
                    self.events
                        .warning(&about, "FailedScheduling", "Scheduling", message)
                        .await;
                }
            }
            Verdict::Node(node) if !volumes.waiting.is_empty() => {
                // The binder makes the volumes there; their binding wakes the pod.
                self.aside.lock().entry(key.clone()).or_insert(0);
                for claim in &volumes.waiting {
                    self.select_node(claim, &node).await?;
                }
            }
            Verdict::Node(node) => self.bind(key, &pod, &node).await?,
        }
        Ok(Next::Wait)
    }

    // Under the names of upstream's scheduler.
    fn count(&self, verdict: &Verdict, took: Duration) {
        let result = match verdict {
            Verdict::Gated => return,
            Verdict::Nowhere(_) => "unschedulable",
            Verdict::Node(_) => "scheduled",
        };
        let labels = [("profile", "default-scheduler"), ("result", result)];
        metrics::counter(
            "scheduler_schedule_attempts_total",
            "Number of attempts to schedule pods, by the result.",
            &labels,
        )
        .inc();
        metrics::histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
            metrics::LATENCY,
            &labels,
        )
        .observe(took);
        let aside = self.aside.lock().len();
        let waiting = |queue| {
            metrics::gauge(
                "scheduler_pending_pods",
                "Number of pending pods, by the queue type.",
                &[("queue", queue)],
            )
        };
        waiting("unschedulable").set(i64::try_from(aside).unwrap_or(0));
    }

    async fn select_node(&self, claim: &PersistentVolumeClaim, node: &str) -> Result<(), Error> {
        if selected_node(claim) == Some(node) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": claim.metadata.uid, "annotations": {volumes::SELECTED_NODE: node}}});
        objects::merge::<PersistentVolumeClaim>(&self.context.client, &claim.metadata, patch)
            .await
            .map(drop)
    }

    async fn bind(&self, key: &Key, pod: &Pod, node: &str) -> Result<(), Error> {
        let meta = &pod.metadata;
        let binding = Binding {
            metadata: kube::core::ObjectMeta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                ..Default::default()
            },
            target: ObjectReference {
                kind: Some("Node".into()),
                name: Some(node.into()),
                ..Default::default()
            },
        };
        self.assumed
            .lock()
            .insert(key.clone(), (uid(meta).to_string(), node.to_string()));
        let api = objects::api::<Pod>(&self.context.client, meta);
        let bound: Result<Status, kube::Error> = api
            .create_subresource("binding", name(meta), &PostParams::default(), &binding)
            .await;
        if let Err(error) = bound {
            self.assumed.lock().remove(key);
            return Err(objects::failed::<Pod>("bind", meta)(error));
        }
        self.aside.lock().remove(key);
        let about = objects::reference(pod);
        let note = format!("Successfully assigned {key} to {node}");
        self.events
            .normal(&about, "Scheduled", "Binding", note)
            .await;
        Ok(())
    }

    // Writes PodScheduled=False where it says something new; answers whether it did.
    async fn condition(&self, pod: &Pod, reason: &str, message: &str) -> Result<bool, Error> {
        let current = pods::condition(pod, "PodScheduled");
        let told = current.is_some_and(|c| {
            c.status == "False"
                && c.reason.as_deref() == Some(reason)
                && c.message.as_deref() == Some(message)
        });
        if told {
            return Ok(false);
        }
        let mut conditions = pod
            .status
            .as_ref()
            .and_then(|s| s.conditions.clone())
            .unwrap_or_default();
        let since = current
            .filter(|c| c.status == "False")
            .and_then(|c| c.last_transition_time.clone());
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.context.now());
        conditions.retain(|c| c.type_ != "PodScheduled");
        conditions.push(k8s_openapi::api::core::v1::PodCondition {
            type_: "PodScheduled".into(),
            status: "False".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_transition_time: Some(since.unwrap_or(now)),
            ..Default::default()
        });
        let meta = &pod.metadata;
        let patch = json!({
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": {"conditions": conditions},
        });
        let api = objects::api::<Pod>(&self.context.client, meta);
        api.patch_status(name(meta), &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(objects::failed::<Pod>("update status of", meta))?;
        Ok(true)
    }
}

// Heartbeats are no help; room, labels, taints and cordons may be.
fn node_could_help(change: &Change<'_, Node>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else {
        return true;
    };
    let room = |n: &Node| {
        n.status
            .as_ref()
            .map(|s| (s.allocatable.clone(), s.capacity.clone()))
    };
    old.spec != new.spec || old.metadata.labels != new.metadata.labels || room(old) != room(new)
}
