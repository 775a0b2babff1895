//! Resource quotas: `status.hard` and `status.used` of each.
//!
//! The API charges a quota in the transaction of the object that uses it, so what is counted
//! here may never fall behind. The quota is read first, then everything it counts, and the
//! result is written on the condition that the quota is as it was read: had anything been
//! charged in between, the quota would be another. What has gone in between wakes us again.

mod plan;

use crate::context::{self, Context};
use crate::served_kinds::discover;
use crate::{Error, objects};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use kube::api::{Api, DynamicObject, ListParams};
use kube::discovery::ApiResource;
use plan::{Count, wanted};
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_api::resources::{self, Amounts};
use towpath_kit::cache::{Cache, Key};
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

struct Keeper {
    context: Arc<Context>,
    quotas: Cache<ResourceQuota>,
    queue: Queue<Key>,
}

/// Runs until `cancel`; `left` names the namespaces that an object has left.
pub(crate) async fn run(context: Arc<Context>, left: Queue<Key>, cancel: CancellationToken) {
    let quotas = context.caches.quotas.clone();
    let queue: Queue<Key> = Queue::default();
    let q = queue.clone();
    quotas.on_change(move |change| {
        // What the API charged is right already.
        if change.new.is_some_and(|quota| is_unknown(quota)) {
            q.add(change.key.clone());
        }
    });
    let l = left.clone();
    context.caches.pods.on_change(move |change| {
        let ended = |pod: &Arc<Pod>| {
            let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        if change.new.is_some_and(ended) && !change.old.is_some_and(ended) {
            l.add(Key::new("", &change.key.namespace));
        }
    });
    let l = left.clone();
    context.caches.services.on_change(move |change| {
        let kind = |service: &Arc<Service>| service.spec.clone().map(|s| (s.type_, s.ports));
        if change.old.is_some() && change.old.and_then(kind) != change.new.and_then(kind) {
            l.add(Key::new("", &change.key.namespace));
        }
    });
    let keeper = Arc::new(Keeper {
        context,
        quotas: quotas.clone(),
        queue: queue.clone(),
    });
    tokio::select! {
        () = cancel.cancelled() => return,
        () = quotas.ready() => {}
    }
    for quota in quotas.all() {
        queue.add(Key::of(quota.as_ref()));
    }
    tokio::join!(
        context::run(
            "quota namespaces",
            left,
            1,
            keeper.clone(),
            cancel.clone(),
            |keeper, key| async move {
                keeper.wake(&key.name);
                Ok(Next::Wait)
            }
        ),
        context::run(
            "quota",
            queue,
            2,
            keeper,
            cancel,
            |keeper, key| async move { keeper.count(&key).await }
        ),
    );
}

fn is_unknown(quota: &ResourceQuota) -> bool {
    let hard = quota.spec.as_ref().and_then(|s| s.hard.as_ref());
    let status = quota.status.as_ref();
    let known = status.and_then(|s| s.hard.as_ref());
    let used = status.and_then(|s| s.used.as_ref());
    hard != known || hard.is_some_and(|hard| !hard.is_empty()) && used.is_none()
}

impl Keeper {
    fn wake(&self, namespace: &str) {
        for quota in self.quotas.all() {
            let key = Key::of(quota.as_ref());
            if key.namespace == namespace {
                self.queue.add(key);
            }
        }
    }

    async fn count(&self, key: &Key) -> Result<Next, Error> {
        let api: Api<ResourceQuota> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let found = api.get_opt(&key.name).await;
        let meta = kube::core::ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            ..Default::default()
        };
        let Some(quota) = found.map_err(objects::failed::<ResourceQuota>("get", &meta))? else {
            return Ok(Next::Wait);
        };
        if quota.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Wait);
        }
        let hard = quota.spec.clone().and_then(|s| s.hard).unwrap_or_default();
        let shown = serde_json::to_value(&quota).unwrap_or_default();
        let limits = resources::read(&shown["spec"]["hard"]);
        let used = self.used(&key.namespace, &shown["spec"], &limits).await?;
        let used: std::collections::BTreeMap<_, _> = used
            .iter()
            .map(|(name, amount)| {
                let text = amount.to_string();
                (
                    name.clone(),
                    k8s_openapi::apimachinery::pkg::api::resource::Quantity(text),
                )
            })
            .collect();
        let mut next = quota.clone();
        let status = next.status.get_or_insert_default();
        status.hard = Some(hard);
        status.used = Some(used);
        // Also where it is what the quota says: something that was charged after the quota was
        // read and is in the count already would stay charged twice. The conflict tells.
        objects::replace_status(&self.context.client, &next).await?;
        // Until its limits were known nothing was charged, and what came while it was counted
        // may be missing. From now on it is charged, so that a second count is exact.
        if is_unknown(&quota) {
            self.queue.add(key.clone());
        }
        Ok(Next::Wait)
    }

    async fn used(&self, namespace: &str, spec: &Value, hard: &Amounts) -> Result<Amounts, Error> {
        let mut used = Amounts::new();
        let now = self.context.now().as_second();
        let mut served = None;
        for Count { group, plural } in wanted(hard) {
            let resource = match (group.as_str(), plural.as_str()) {
                ("", "pods") => ApiResource::erase::<Pod>(&()),
                ("", "services") => ApiResource::erase::<Service>(&()),
                ("", "persistentvolumeclaims") => ApiResource::erase::<PersistentVolumeClaim>(&()),
                ("", "resourcequotas") => ApiResource::erase::<ResourceQuota>(&()),
                _ => {
                    if served.is_none() {
                        served = Some(discover(&self.context.client, true).await?);
                    }
                    let all = served.iter().flat_map(|all| all.iter());
                    let mut same = all.filter(|s| {
                        s.namespaced && s.resource.group == group && s.resource.plural == plural
                    });
                    match same.next() {
                        Some(served) => served.resource.clone(),
                        // Nothing of a kind that is not served can be there.
                        None => continue,
                    }
                }
            };
            let found = self.list(namespace, &resource).await?;
            plan::add(&mut used, (spec, hard), (&group, &plural), &found, now);
        }
        Ok(used)
    }

    // Whole where amounts depend on the object; of others only that they are there matters.
    async fn list(&self, namespace: &str, resource: &ApiResource) -> Result<Vec<Value>, Error> {
        let client = self.context.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, resource);
        let failed = |source| Error::Request {
            verb: "list",
            kind: resource.kind.clone(),
            name: namespace.to_string(),
            source: Box::new(source),
        };
        let params = ListParams::default();
        let whole = resource.group.is_empty()
            && matches!(
                resource.plural.as_str(),
                "pods" | "services" | "persistentvolumeclaims"
            );
        if whole {
            let list = api.list(&params).await.map_err(failed)?;
            let all = list
                .items
                .iter()
                .map(|item| serde_json::to_value(item).unwrap_or_default());
            return Ok(all.collect());
        }
        let list = api.list_metadata(&params).await.map_err(failed)?;
        Ok(vec![Value::Null; list.items.len()])
    }
}
