//! Disruption budgets: how many of the pods that a budget guards may be evicted now.
//!
//! The API takes from `disruptionsAllowed` with every eviction and notes the pod; here it is
//! computed again whenever a pod, its controller's size or the budget changes. A noted pod
//! counts as gone until it is, or until it is plain that it stays.

mod plan;

use crate::context::{self, Context, Reconciler, next};
use crate::{Error, objects, ownership, selector};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use plan::Expected;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::{Cache, Key};
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

struct Controller {
    context: Arc<Context>,
    budgets: Cache<PodDisruptionBudget>,
}

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let budgets = context.caches.budgets.clone();
    let queue: Queue<Key> = Queue::default();
    let q = queue.clone();
    budgets.on_change(move |change| q.add(change.key.clone()));
    watch(&context, &queue, &budgets);
    for budget in budgets.all() {
        queue.add(Key::of(budget.as_ref()));
    }
    context::start(Controller { context, budgets }, queue, cancel).await;
}

fn watch(context: &Arc<Context>, queue: &Queue<Key>, budgets: &Cache<PodDisruptionBudget>) {
    let caches = &context.caches;
    let (q, all) = (queue.clone(), budgets.clone());
    caches.pods.on_change(move |change| {
        for budget in all.in_namespace(&change.key.namespace) {
            let states = [change.old, change.new].into_iter().flatten();
            if states.clone().any(|pod| guards(&budget, pod)) {
                q.add(Key::of(budget.as_ref()));
            }
        }
    });
    // The size of what makes the pods.
    let wake = |queue: &Queue<Key>| {
        let (q, all) = (queue.clone(), budgets.clone());
        move |namespace: &str| {
            for budget in all.in_namespace(namespace) {
                q.add(Key::of(budget.as_ref()));
            }
        }
    };
    let w = wake(queue);
    caches.deployments.on_change(move |change| {
        let size = |d: &Arc<_>| plan::deployment_size(d);
        if change.old.map(size) != change.new.map(size) {
            w(&change.key.namespace);
        }
    });
    let w = wake(queue);
    caches.stateful_sets.on_change(move |change| {
        let size = |s: &Arc<_>| plan::stateful_set_size(s);
        if change.old.map(size) != change.new.map(size) {
            w(&change.key.namespace);
        }
    });
    let w = wake(queue);
    caches.replication_controllers.on_change(move |change| {
        let size = |c: &Arc<_>| plan::controller_size(c);
        if change.old.map(size) != change.new.map(size) {
            w(&change.key.namespace);
        }
    });
    let w = wake(queue);
    caches.replica_sets.on_change(move |change| {
        let size = |s: &Arc<_>| plan::replica_set_size(s);
        if change.old.map(size) != change.new.map(size) {
            w(&change.key.namespace);
        }
    });
}

fn guards(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    // A budget without a selector guards nothing, one with an empty one everything.
    selector.is_some_and(|s| selector::matches(s, pod.metadata.labels.as_ref()))
}

impl Reconciler for Controller {
    const NAME: &'static str = "disruption";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(budget) = self.budgets.get(key) else {
            return Ok(Next::Wait);
        };
        let mut pods = self.context.caches.pods.in_namespace(&key.namespace);
        pods.retain(|pod| guards(&budget, pod));
        let expected = self.expected(&key.namespace, &pods);
        let (status, after) = plan::status(&budget, &pods, expected, self.context.now());
        if budget.status.as_ref() != Some(&status) {
            let mut next = budget.as_ref().clone();
            next.status = Some(status);
            // On the condition that it is as it was read: an eviction may have taken from it.
            objects::replace_status(&self.context.client, &next).await?;
        }
        Ok(next(after))
    }
}

impl Controller {
    // Sum of the sizes of the pods' controllers, each once.
    fn expected(&self, namespace: &str, pods: &[Arc<Pod>]) -> Expected {
        let mut sizes: BTreeMap<String, i32> = BTreeMap::new();
        for pod in pods {
            let Some(owner) = ownership::controller_of(&pod.metadata) else {
                continue;
            };
            match self.size(namespace, owner) {
                Some((uid, size)) => {
                    sizes.insert(uid, size);
                }
                None => {
                    return Err(format!(
                        "{} {} of pod {:?} has no size that is known here",
                        owner.kind,
                        owner.name,
                        objects::name(&pod.metadata)
                    ));
                }
            }
        }
        Ok(sizes.values().sum())
    }

    fn size(&self, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        let caches = &self.context.caches;
        let key = Key::new(namespace, &owner.name);
        let same = |uid: Option<&String>| uid == Some(&owner.uid);
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = caches.replica_sets.get(&key)?;
                same(set.metadata.uid.as_ref()).then_some(())?;
                // One of a deployment is as large as its deployment wants to be.
                match ownership::controller_of(&set.metadata).filter(|o| o.kind == "Deployment") {
                    Some(above) => {
                        let deployment =
                            caches.deployments.get(&Key::new(namespace, &above.name))?;
                        Some((above.uid.clone(), plan::deployment_size(&deployment)))
                    }
                    None => Some((owner.uid.clone(), plan::replica_set_size(&set))),
                }
            }
            "ReplicationController" => {
                let controller = caches.replication_controllers.get(&key)?;
                same(controller.metadata.uid.as_ref())
                    .then(|| (owner.uid.clone(), plan::controller_size(&controller)))
            }
            "StatefulSet" => {
                let set = caches.stateful_sets.get(&key)?;
                same(set.metadata.uid.as_ref())
                    .then(|| (owner.uid.clone(), plan::stateful_set_size(&set)))
            }
            _ => None,
        }
    }
}
