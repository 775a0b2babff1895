//! Deployments: replica sets that replace each other.
//!
//! [`plan`] decides, this module looks and writes. A rollback is the client's patch of the
//! template; the replica set that has that template comes back with a new revision.

mod plan;
mod revision;
pub(crate) mod sizes;
mod status;

#[cfg(test)]
mod tests;

use crate::context::{self, Context, Reconciler, next};
use crate::objects::{self, name};
use crate::{Error, ownership, selector, waking};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plan::{Action, Observed, Plan};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::{Change, Key};
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
    let events = Events::new(context.client.clone(), "deployment-controller");
    context::start(Controller { context, events }, queue, cancel).await;
}

fn watch(context: &Arc<Context>, queue: &Queue<Key>) {
    let caches = &context.caches;
    let q = queue.clone();
    caches
        .deployments
        .on_change(move |change| q.add(change.key.clone()));
    let (q, deployments) = (queue.clone(), caches.deployments.clone());
    caches.replica_sets.on_change(move |change| {
        let adopters = waking::adopters(change, &deployments, |d| {
            Some(Cow::Borrowed(&d.spec.as_ref()?.selector))
        });
        let owners = waking::owners(change, "Deployment");
        owners.chain(adopters).for_each(|key| q.add(key));
    });
    // A recreate waits for the last old pod to go.
    let (q, sets) = (queue.clone(), caches.replica_sets.clone());
    caches.pods.on_change(move |change: &Change<'_, _>| {
        if let (Some(pod), None) = (change.old, change.new)
            && let Some(set) = ownership::controller_name(&pod.metadata, "ReplicaSet")
            && let Some(set) = sets.get(&Key::new(&change.key.namespace, set))
            && let Some(owner) = ownership::controller_name(&set.metadata, "Deployment")
        {
            q.add(Key::new(&change.key.namespace, owner));
        }
    });
}

impl Reconciler for Controller {
    const NAME: &'static str = "deployment";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(deployment) = self.context.caches.deployments.get(key) else {
            return Ok(Next::Wait);
        };
        let Some(spec) = &deployment.spec else {
            return Ok(Next::Wait);
        };
        if selector::is_empty(&spec.selector) {
            let about = objects::reference(deployment.as_ref());
            let note = "This deployment is selecting all pods. A non-empty selector is required."
                .to_string();
            self.events
                .warning(&about, "SelectingAll", "Sync", note)
                .await;
            return Ok(Next::Wait);
        }
        let observed = self.observe(&deployment).await?;
        self.apply(&deployment, plan::plan(observed)).await
    }
}

impl Controller {
    async fn observe<'a>(&self, deployment: &'a Arc<Deployment>) -> Result<Observed<'a>, Error> {
        let caches = &self.context.caches;
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let all = caches.replica_sets.in_namespace(namespace);
        let selector = &deployment
            .spec
            .as_ref()
            .map(|s| s.selector.clone())
            .unwrap_or_default();
        let claim = ownership::claim(&all, &deployment.metadata, selector);
        let owned = claim
            .settle(&self.context.client, deployment.as_ref())
            .await?;
        let is_ours = |uid: &str| owned.iter().any(|s| s.metadata.uid.as_deref() == Some(uid));
        let mut pods = caches.pods.in_namespace(namespace);
        pods.retain(|p| ownership::controller_of(&p.metadata).is_some_and(|r| is_ours(&r.uid)));
        let sets = owned.iter().map(|s| s.as_ref().clone()).collect();
        Ok(Observed {
            deployment,
            sets,
            pods,
            now: self.context.now(),
        })
    }

    async fn apply(&self, deployment: &Deployment, plan: Plan) -> Result<Next, Error> {
        let client = &self.context.client;
        let about = objects::reference(deployment);
        let mut meta = deployment.metadata.clone();
        for action in plan.actions {
            match action {
                Action::Create(set) => self.create(deployment, &meta, &set, &plan.status).await?,
                Action::Update(set) => drop(objects::replace(client, set.as_ref()).await?),
                Action::Delete(meta) => {
                    objects::delete::<ReplicaSet>(client, &meta, objects::exactly(&meta)).await?;
                }
                Action::Revision(revision) => {
                    let patch = json!({"metadata": {"annotations": {revision::REVISION: revision.to_string()}}});
                    meta = objects::merge::<Deployment>(client, &meta, patch)
                        .await?
                        .metadata;
                }
                Action::Event(note) => {
                    self.events
                        .normal(&about, "ScalingReplicaSet", "Scale", note)
                        .await
                }
            }
        }
        self.write_status(deployment, &meta, plan.status).await?;
        Ok(next(plan.after))
    }

    async fn create(
        &self,
        deployment: &Deployment,
        meta: &ObjectMeta,
        set: &ReplicaSet,
        status: &DeploymentStatus,
    ) -> Result<(), Error> {
        let client = &self.context.client;
        let error = match objects::create(client, set).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let mut status = status.clone();
        if error.is_already_exists() {
            let api = objects::api::<ReplicaSet>(client, &set.metadata);
            let found = api
                .get_opt(name(&set.metadata))
                .await
                .map_err(objects::failed::<ReplicaSet>("get", &set.metadata))?;
            let ours = found.is_some_and(|found| {
                let owned = ownership::is_controlled_by(
                    &found.metadata,
                    objects::uid(&deployment.metadata),
                );
                let same = match (&found.spec, &set.spec) {
                    (Some(a), Some(b)) => match (&a.template, &b.template) {
                        (Some(a), Some(b)) => crate::template_hash::same_template(a, b),
                        _ => false,
                    },
                    _ => false,
                };
                owned && same
            });
            if !ours {
                // Another template with the same hash, or somebody else's set: the next try
                // gets another name.
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
                self.write_status(deployment, meta, status).await?;
            }
            return Err(error);
        }
        if !error.is_namespace_ending() && status::deadline(deployment).is_some() {
            let message = format!(
                "Failed to create new replica set \"{}\": {}",
                name(&set.metadata),
                error.words()
            );
            let failed = status::condition(
                status::PROGRESSING,
                "False",
                "ReplicaSetCreateError",
                message,
                self.context.now(),
            );
            status::set(&mut status, failed);
            self.write_status(deployment, meta, status).await?;
        }
        Err(error)
    }

    // `meta` is the deployment's as last written: the revision may just have moved its version.
    async fn write_status(
        &self,
        deployment: &Deployment,
        meta: &ObjectMeta,
        status: DeploymentStatus,
    ) -> Result<(), Error> {
        if deployment.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let metadata = meta.clone();
        let written = Deployment {
            metadata,
            spec: deployment.spec.clone(),
            status: Some(status),
        };
        objects::replace_status(&self.context.client, &written)
            .await
            .map(drop)
    }
}
