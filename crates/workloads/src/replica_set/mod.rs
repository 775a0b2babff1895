//! Replica sets and replication controllers: as many pods of one template as wanted.

mod owner;
mod plan;

use crate::context::{self, Context, Reconciler, next};
use crate::expectations::Expectations;
use crate::objects::{self, name, uid};
use crate::{Error, ownership, pods, waking};
use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use owner::Owner;
use plan::{Failure, Plan};
use std::marker::PhantomData;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;

/// Writes under way at a time for one set.
const CONCURRENT_WRITES: usize = 8;

struct Controller<K> {
    context: Arc<Context>,
    events: Events,
    expectations: Arc<Expectations>,
    kind: PhantomData<fn() -> K>,
}

/// Runs both kinds until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    tokio::join!(
        run_kind::<ReplicaSet>(context.clone(), cancel.clone()),
        run_kind::<ReplicationController>(context, cancel),
    );
}

async fn run_kind<K: Owner>(context: Arc<Context>, cancel: CancellationToken) {
    let queue = Queue::default();
    let expectations = Arc::new(Expectations::default());
    watch::<K>(&context, &queue, &expectations);
    let events = Events::new(context.client.clone(), K::REPORTER);
    context::start(
        Controller::<K> {
            context,
            events,
            expectations,
            kind: PhantomData,
        },
        queue,
        cancel,
    )
    .await;
}

fn watch<K: Owner>(context: &Arc<Context>, queue: &Queue<Key>, expectations: &Arc<Expectations>) {
    let caches = &context.caches;
    let (q, e) = (queue.clone(), expectations.clone());
    K::cache(caches).on_change(move |change| {
        if change.new.is_none() {
            e.forget(change.key);
        }
        q.add(change.key.clone());
    });
    let (q, e, sets) = (
        queue.clone(),
        expectations.clone(),
        K::cache(caches).clone(),
    );
    caches.pods.on_change(move |change| {
        let owners = e.saw(change, &K::kind(&()));
        let adopters = waking::adopters(change, &sets, K::selector);
        owners
            .into_iter()
            .chain(adopters)
            .for_each(|key| q.add(key));
    });
}

impl<K: Owner> Reconciler for Controller<K> {
    const NAME: &'static str = K::CONTROLLER;
    const WORKERS: usize = 4;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(owner) = K::cache(&self.context.caches).get(key) else {
            return Ok(Next::Wait);
        };
        let set = owner.as_set();
        let met = self.expectations.met(key, self.context.clock.monotonic());
        let owned = self.observe(&owner).await?;
        let failure = if met {
            let related = self.related(&set, &owned);
            let mut plan = plan::plan(&set, &owned, &related, self.context.now());
            // Pods that a set lets go as it ends are not missing.
            if plan.create > 0
                && !ownership::still_there(&self.context.client, owner.as_ref()).await?
            {
                plan.create = 0;
            }
            self.apply(key, &owner, plan).await
        } else {
            None
        };
        let failed = failure.is_some();
        let (status, after) = plan::status(&set, &owned, failure, self.context.now());
        if let Some(changed) = owner.with_status(status) {
            objects::replace_status(&self.context.client, &changed).await?;
        }
        if failed {
            // The reason is on the status; the queue's back-off decides when to try again.
            let why = "not all pods could be made or deleted".to_string();
            return Err(Error::Invalid {
                subject: format!("{} {key}", K::kind(&())),
                why,
            });
        }
        Ok(next(after))
    }
}

impl<K: Owner> Controller<K> {
    async fn observe(&self, owner: &Arc<K>) -> Result<Vec<Arc<Pod>>, Error> {
        let meta = owner.meta();
        let mut all = self
            .context
            .caches
            .pods
            .in_namespace(meta.namespace.as_deref().unwrap_or_default());
        all.retain(|p| {
            !pods::is_terminal(p) || ownership::is_controlled_by(&p.metadata, uid(meta))
        });
        let selector = owner.selector().unwrap_or_default();
        let claim = ownership::claim(&all, meta, &selector);
        claim.settle(&self.context.client, owner.as_ref()).await
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
    async fn apply(&self, key: &Key, owner: &K, plan: Plan) -> Option<Failure> {
        let created = stream::iter(0..plan.create)
            .map(|_| self.create(key, owner))
            .buffer_unordered(CONCURRENT_WRITES);
        let mut failures: Vec<Failure> = created.filter_map(std::future::ready).collect().await;
        let deleted = stream::iter(plan.delete)
            .map(|pod| self.delete(key, owner, pod))
            .buffer_unordered(CONCURRENT_WRITES);
        failures.extend(
            deleted
                .filter_map(std::future::ready)
                .collect::<Vec<_>>()
                .await,
        );
        failures.into_iter().next()
    }

    async fn create(&self, key: &Key, owner: &K) -> Option<Failure> {
        let spec = owner.as_set().into_owned().spec;
        let template = spec.and_then(|s| s.template).unwrap_or_default();
        let base = generated_prefix(&key.name);
        let pod_name = format!(
            "{base}{}",
            towpath_stdx::id::suffix(self.context.random.as_ref(), 5)
        );
        let controller = ownership::controller_reference(owner);
        let mut pod = pods::from_template(&template, &key.namespace, pod_name.clone(), controller);
        pod.metadata.generate_name = Some(base);
        self.expectations
            .will_create(key, &pod_name, self.context.clock.monotonic());
        let about = objects::reference(owner);
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

    async fn delete(&self, key: &Key, owner: &K, pod: Arc<Pod>) -> Option<Failure> {
        let pod_uid = uid(&pod.metadata);
        self.expectations
            .will_delete(key, pod_uid, self.context.clock.monotonic());
        let about = objects::reference(owner);
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
