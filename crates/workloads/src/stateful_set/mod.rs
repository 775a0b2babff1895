//! Stateful sets: pods with stable names, storage and order.

mod identity;
mod plan;
mod revised;

use crate::context::{self, Context, Reconciler, next};
use crate::objects::{self, name, uid};
use crate::revisions;
use crate::{Error, ownership, waking};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;
use plan::{Action, Observed};
use std::borrow::Cow;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;

struct Controller {
    context: Arc<Context>,
    events: Events,
}

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let queue = Queue::default();
    watch(&context, &queue);
    let events = Events::new(context.client.clone(), "statefulset-controller");
    context::start(Controller { context, events }, queue, cancel).await;
}

fn watch(context: &Arc<Context>, queue: &Queue<Key>) {
    let caches = &context.caches;
    let q = queue.clone();
    caches
        .stateful_sets
        .on_change(move |change| q.add(change.key.clone()));
    let q = queue.clone();
    caches.revisions.on_change(move |change| {
        waking::owners(change, "StatefulSet").for_each(|key| q.add(key));
    });
    let (q, sets) = (queue.clone(), caches.stateful_sets.clone());
    caches.pods.on_change(move |change| {
        let adopters = waking::adopters(change, &sets, |s| {
            Some(Cow::Borrowed(&s.spec.as_ref()?.selector))
        });
        let owners = waking::owners(change, "StatefulSet");
        owners.chain(adopters).for_each(|key| q.add(key));
    });
}

impl Reconciler for Controller {
    const NAME: &'static str = "statefulset";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let caches = &self.context.caches;
        let Some(set) = caches.stateful_sets.get(key) else {
            return Ok(Next::Wait);
        };
        let mut owned_revisions = caches.revisions.in_namespace(&key.namespace);
        owned_revisions.retain(|r| ownership::is_controlled_by(&r.metadata, uid(&set.metadata)));
        let revisions = revisions::plan(set.as_ref(), &owned_revisions);
        if set.metadata.deletion_timestamp.is_none() {
            revisions::write(&self.context.client, set.as_ref(), &revisions).await?;
        }
        let pods = self.pods(&set).await?;
        let claims = caches.claims.in_namespace(&key.namespace);
        let claims = claims
            .iter()
            .filter_map(|c| c.metadata.name.clone())
            .collect();
        let seen = Observed {
            set: &set,
            revisions: &revisions,
            pods: &pods,
            claims: &claims,
            now: self.context.now(),
        };
        let plan = plan::plan(&seen);
        for action in plan.actions {
            self.apply(&set, action).await?;
        }
        if set.status.as_ref() != Some(&plan.status) {
            let mut set = set.as_ref().clone();
            set.status = Some(plan.status);
            objects::replace_status(&self.context.client, &set).await?;
        }
        let client = &self.context.client;
        revisions::prune(client, set.as_ref(), &owned_revisions, &pods, &revisions).await?;
        Ok(next(plan.after))
    }
}

impl Controller {
    async fn pods(&self, set: &Arc<StatefulSet>) -> Result<Vec<Arc<Pod>>, Error> {
        let all = self
            .context
            .caches
            .pods
            .in_namespace(set.metadata.namespace.as_deref().unwrap_or_default());
        let selector = set
            .spec
            .as_ref()
            .map(|s| s.selector.clone())
            .unwrap_or_default();
        let mut claim = ownership::claim(&all, &set.metadata, &selector);
        // Only pods whose names say that they are this set's may be adopted.
        claim.adopt.retain(|p| identity::ordinal(set, p).is_some());
        claim.settle(&self.context.client, set.as_ref()).await
    }

    async fn apply(&self, set: &StatefulSet, action: Action) -> Result<(), Error> {
        let client = &self.context.client;
        let (verb, kind, subject, result) = match action {
            Action::CreateClaim(claim) => {
                let subject = name(&claim.metadata).to_string();
                (
                    "create",
                    "Claim",
                    subject,
                    settled(objects::create(client, claim.as_ref()).await),
                )
            }
            Action::CreatePod(pod) => {
                let subject = name(&pod.metadata).to_string();
                (
                    "create",
                    "Pod",
                    subject,
                    settled(objects::create(client, pod.as_ref()).await),
                )
            }
            Action::DeletePod(pod) => {
                let subject = name(&pod.metadata).to_string();
                let deleted =
                    objects::delete::<Pod>(client, &pod.metadata, objects::exactly(&pod.metadata))
                        .await;
                ("delete", "Pod", subject, deleted.map(|()| true))
            }
            Action::DeleteClaim(claim) => {
                let namespace = set.metadata.namespace.clone();
                let meta = kube::core::ObjectMeta {
                    name: Some(claim.clone()),
                    namespace,
                    ..Default::default()
                };
                let deleted = objects::delete::<PersistentVolumeClaim>(
                    client,
                    &meta,
                    DeleteParams::default(),
                )
                .await;
                ("delete", "Claim", claim, deleted.map(|()| true))
            }
        };
        let about = objects::reference(set);
        let set_name = name(&set.metadata);
        match result {
            Ok(true) => {
                let (reason, action) = if verb == "create" {
                    ("SuccessfulCreate", "Create")
                } else {
                    ("SuccessfulDelete", "Delete")
                };
                let note = format!("{verb} {kind} {subject} in StatefulSet {set_name} successful");
                self.events.normal(&about, reason, action, note).await;
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => {
                if !error.is_namespace_ending() && !error.is_conflict() {
                    let (reason, action) = if verb == "create" {
                        ("FailedCreate", "Create")
                    } else {
                        ("FailedDelete", "Delete")
                    };
                    let note = format!(
                        "{verb} {kind} {subject} in StatefulSet {set_name} failed error: {}",
                        error.words()
                    );
                    self.events.warning(&about, reason, action, note).await;
                }
                Err(error)
            }
        }
    }
}

// An object of that name that is there already was made in an earlier pass that the cache has
// not caught up with.
fn settled<K>(result: Result<K, Error>) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}
