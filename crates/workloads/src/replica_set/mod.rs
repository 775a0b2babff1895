//! Replica sets: as many pods of one template as wanted.

mod plan;

use crate::context::{self, Context, Reconciler, next};
use crate::expectations::Expectations;
use crate::objects::{self, name, uid};
use crate::{Error, ownership, pods, waking};
use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use plan::{Failure, Plan};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;

/// Writes under way at a time for one set.
const CONCURRENT_WRITES: usize = 8;

struct Controller {
    context: Arc<Context>,
    events: Events,
    expectations: Arc<Expectations>,
}

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let queue = Queue::default();
    let expectations = Arc::new(Expectations::default());
    watch(&context, &queue, &expectations);
    let events = Events::new(context.client.clone(), "replicaset-controller");
    context::start(
        Controller {
            context,
            events,
            expectations,
        },
        queue,
        cancel,
    )
    .await;
}

fn watch(context: &Arc<Context>, queue: &Queue<Key>, expectations: &Arc<Expectations>) {
    let caches = &context.caches;
    let (q, e) = (queue.clone(), expectations.clone());
    caches.replica_sets.on_change(move |change| {
        if change.new.is_none() {
            e.forget(change.key);
        }
        q.add(change.key.clone());
    });
    let (q, e, sets) = (
        queue.clone(),
        expectations.clone(),
        caches.replica_sets.clone(),
    );
    caches.pods.on_change(move |change| {
        let owners = e.saw(change, "ReplicaSet");
        let adopters = waking::adopters(change, &sets, |s| Some(&s.spec.as_ref()?.selector));
        owners
            .into_iter()
            .chain(adopters)
            .for_each(|key| q.add(key));
    });
}

impl Reconciler for Controller {
    const NAME: &'static str = "replicaset";
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(set) = self.context.caches.replica_sets.get(key) else {
            return Ok(Next::Wait);
        };
        let met = self.expectations.met(key, self.context.clock.monotonic());
        let owned = self.observe(&set).await?;
        let failure = if met {
            let related = self.related(&set, &owned);
            let plan = plan::plan(&set, &owned, &related, self.context.now());
            self.apply(key, &set, plan).await
        } else {
            None
        };
        let failed = failure.is_some();
        let (status, after) = plan::status(&set, &owned, failure, self.context.now());
        if set.status.as_ref() != Some(&status) {
            let mut set = set.as_ref().clone();
            set.status = Some(status);
            objects::replace_status(&self.context.client, &set).await?;
        }
        if failed {
            // The reason is on the status; the queue's back-off decides when to try again.
            let why = "not all pods could be made or deleted".to_string();
            return Err(Error::Invalid {
                subject: format!("ReplicaSet {key}"),
                why,
            });
        }
        Ok(next(after))
    }
}

impl Controller {
    async fn observe(&self, set: &Arc<ReplicaSet>) -> Result<Vec<Arc<Pod>>, Error> {
        let mut all = self
            .context
            .caches
            .pods
            .in_namespace(set.metadata.namespace.as_deref().unwrap_or_default());
        all.retain(|p| {
            !pods::is_terminal(p) || ownership::is_controlled_by(&p.metadata, uid(&set.metadata))
        });
        let selector = set
            .spec
            .as_ref()
            .map(|s| s.selector.clone())
            .unwrap_or_default();
        let claim = ownership::claim(&all, &set.metadata, &selector);
        claim.settle(&self.context.client, set.as_ref()).await
    }

    // Pods of all sets with the same controller as this one.
    fn related(&self, set: &ReplicaSet, owned: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(owner) = ownership::controller_of(&set.metadata) else {
            return owned.to_vec();
        };
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let mut sets = self.context.caches.replica_sets.in_namespace(namespace);
        sets.retain(|s| ownership::is_controlled_by(&s.metadata, &owner.uid));
        let mut all = self.context.caches.pods.in_namespace(namespace);
        all.retain(|p| {
            sets.iter()
                .any(|s| ownership::is_controlled_by(&p.metadata, uid(&s.metadata)))
        });
        all
    }

    // Answers the first failure, after all that could be done was done.
    async fn apply(&self, key: &Key, set: &ReplicaSet, plan: Plan) -> Option<Failure> {
        let created = stream::iter(0..plan.create)
            .map(|_| self.create(key, set))
            .buffer_unordered(CONCURRENT_WRITES);
        let mut failures: Vec<Failure> = created.filter_map(std::future::ready).collect().await;
        let deleted = stream::iter(plan.delete)
            .map(|pod| self.delete(key, set, pod))
            .buffer_unordered(CONCURRENT_WRITES);
        failures.extend(
            deleted
                .filter_map(std::future::ready)
                .collect::<Vec<_>>()
                .await,
        );
        failures.into_iter().next()
    }

    async fn create(&self, key: &Key, set: &ReplicaSet) -> Option<Failure> {
        let template = set
            .spec
            .as_ref()
            .and_then(|s| s.template.clone())
            .unwrap_or_default();
        let base = generated_prefix(&key.name);
        let pod_name = format!(
            "{base}{}",
            towpath_stdx::id::suffix(self.context.random.as_ref(), 5)
        );
        let owner = ownership::controller_reference(set);
        let mut pod = pods::from_template(&template, &key.namespace, pod_name.clone(), owner);
        pod.metadata.generate_name = Some(base);
        self.expectations
            .will_create(key, &pod_name, self.context.clock.monotonic());
        let about = objects::reference(set);
        match objects::create(&self.context.client, &pod).await {
            Ok(_) => {
                let note = format!("Created pod: {pod_name}");
                self.events
                    .normal(&about, "SuccessfulCreate", "Create", note)
                    .await;
                None
            }
            Err(error) => {
                self.expectations.saw_created(key, &pod_name);
                if error.is_namespace_ending() {
                    return None;
                }
                let message = error.words();
                self.events
                    .warning(
                        &about,
                        "FailedCreate",
                        "Create",
                        format!("Error creating: {message}"),
                    )
                    .await;
                Some(Failure {
                    reason: "FailedCreate",
                    message,
                })
            }
        }
    }

    async fn delete(&self, key: &Key, set: &ReplicaSet, pod: Arc<Pod>) -> Option<Failure> {
        let pod_uid = uid(&pod.metadata);
        self.expectations
            .will_delete(key, pod_uid, self.context.clock.monotonic());
        let about = objects::reference(set);
        match objects::delete::<Pod>(
            &self.context.client,
            &pod.metadata,
            objects::exactly(&pod.metadata),
        )
        .await
        {
            Ok(()) => {
                let note = format!("Deleted pod: {}", name(&pod.metadata));
                self.events
                    .normal(&about, "SuccessfulDelete", "Delete", note)
                    .await;
                None
            }
            Err(error) => {
                self.expectations.saw_deleted(key, pod_uid);
                if error.is_conflict() {
                    return None;
                }
                let message = error.words();
                self.events
                    .warning(
                        &about,
                        "FailedDelete",
                        "Delete",
                        format!("Error deleting: {message}"),
                    )
                    .await;
                Some(Failure {
                    reason: "FailedDelete",
                    message,
                })
            }
        }
    }
}

/// Prefix of generated names, cut so that name and suffix stay a valid host name of 63 bytes.
fn generated_prefix(name: &str) -> String {
    let cut = name.len().min(57);
    let cut = (0..=cut)
        .rev()
        .find(|&i| name.is_char_boundary(i))
        .unwrap_or(0);
    format!("{}-", &name[..cut])
}
