//! Namespaces that are ending: their content goes, pods first, then every other kind, and only
//! then the namespace itself.

use crate::context::{self, Context};
use crate::objects::{failed, name};
use crate::served_kinds::{Served, discover};
use crate::{Error, pods};
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::PartialObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

const FINALIZER: &str = "kubernetes";

/// Runs until `cancel`. `queue` is woken by the garbage collector too, when objects go.
pub(crate) async fn run(context: Arc<Context>, queue: Queue<Key>, cancel: CancellationToken) {
    let q = queue.clone();
    context.caches.namespaces.on_change(move |change| {
        if change
            .new
            .is_some_and(|n| n.metadata.deletion_timestamp.is_some())
        {
            q.add(change.key.clone());
        }
    });
    let (q, namespaces) = (queue.clone(), context.caches.namespaces.clone());
    context.caches.pods.on_change(move |change| {
        let namespace = Key::new("", &change.key.namespace);
        if change.new.is_none()
            && namespaces
                .get(&namespace)
                .is_some_and(|n| n.metadata.deletion_timestamp.is_some())
        {
            q.add(namespace);
        }
    });
    context::run(
        "namespace",
        queue,
        4,
        context,
        cancel,
        |c, key| async move { reconcile(&c, &key).await },
    )
    .await;
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(namespace) = context.caches.namespaces.get(key) else {
        return Ok(Next::Wait);
    };
    let ours = namespace
        .spec
        .as_ref()
        .and_then(|s| s.finalizers.as_ref())
        .is_some_and(|f| f.iter().any(|f| f == FINALIZER));
    if namespace.metadata.deletion_timestamp.is_none() || !ours {
        return Ok(Next::Wait);
    }
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    let pods = context.caches.pods.in_namespace(&key.name);
    if pods.is_empty() {
        for kind in discover(&context.client, true)
            .await?
            .iter()
            .filter(|k| k.namespaced)
        {
            let remaining = empty(context, kind, &key.name).await?;
            if remaining > 0 {
                let group = if kind.resource.group.is_empty() {
                    String::new()
                } else {
                    format!(".{}", kind.resource.group)
                };
                left.insert(format!("{}{group}", kind.resource.plural), remaining);
            }
        }
    } else {
        if pods.iter().any(|p| !pods::is_deleting(p)) {
            let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.name);
            api.delete_collection(&DeleteParams::background(), &ListParams::default())
                .await
                .map_err(failed::<Pod>("delete all in", &namespace.metadata))?;
        }
        left.insert("pods".into(), pods.len());
    }
    if left.is_empty() {
        return finalize(context, &namespace).await;
    }
    tell(context, &namespace, &left).await?;
    // Removals wake us; this is for what no watch covers.
    Ok(Next::After(Duration::from_secs(30)))
}

// Deletes all objects of a kind in a namespace; answers how many are left.
async fn empty(context: &Context, kind: &Served, namespace: &str) -> Result<usize, Error> {
    let client = context.client.clone();
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::namespaced_with(client, namespace, &kind.resource);
    let wrap = |verb: &'static str| {
        let (kind, name) = (kind.resource.plural.clone(), namespace.to_string());
        move |source| Error::Request {
            verb,
            kind,
            name,
            source: Box::new(source),
        }
    };
    let all = api
        .list(&ListParams::default().limit(500))
        .await
        .map_err(wrap("list"))?
        .items;
    if all.is_empty() {
        return Ok(0);
    }
    if all.iter().any(|o| o.metadata.deletion_timestamp.is_none()) {
        let params = DeleteParams::background();
        let client = context.client.clone();
        let whole: Api<DynamicObject> = Api::namespaced_with(client, namespace, &kind.resource);
        if kind.deletable_as_collection {
            whole
                .delete_collection(&params, &ListParams::default())
                .await
                .map_err(wrap("delete all"))?;
        } else {
            for object in &all {
                match whole
                    .delete(name(&object.metadata), &params)
                    .await
                    .map_err(wrap("delete"))
                {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
        }
    }
    Ok(api
        .list(&ListParams::default().limit(500))
        .await
        .map_err(wrap("list"))?
        .items
        .len())
}

async fn finalize(context: &Context, namespace: &Namespace) -> Result<Next, Error> {
    let mut last = namespace.clone();
    if let Some(finalizers) = last.spec.as_mut().and_then(|s| s.finalizers.as_mut()) {
        finalizers.retain(|f| f != FINALIZER);
    }
    let api: Api<Namespace> = Api::all(context.client.clone());
    api.replace_subresource(
        "finalize",
        name(&namespace.metadata),
        &PostParams::default(),
        &last,
    )
    .await
    .map_err(failed::<Namespace>("finalize", &namespace.metadata))?;
    Ok(Next::Wait)
}

async fn tell(
    context: &Context,
    namespace: &Namespace,
    left: &BTreeMap<String, usize>,
) -> Result<(), Error> {
    let next = with_condition(namespace, left, context.now());
    if next.status == namespace.status {
        return Ok(());
    }
    let api: Api<Namespace> = Api::all(context.client.clone());
    api.replace_status(name(&namespace.metadata), &PostParams::default(), &next)
        .await
        .map_err(failed::<Namespace>("update status of", &namespace.metadata))?;
    Ok(())
}

fn with_condition(
    namespace: &Namespace,
    left: &BTreeMap<String, usize>,
    now: Timestamp,
) -> Namespace {
    let parts: Vec<String> = left
        .iter()
        .map(|(kind, n)| format!("{kind} has {n} resource instances"))
        .collect();
    let message = format!("Some resources are remaining: {}", parts.join(", "));
    let mut next = namespace.clone();
    let conditions = next
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    let type_ = "NamespaceContentRemaining";
    let since = conditions
        .iter()
        .find(|c| c.type_ == type_ && c.status == "True")
        .and_then(|c| c.last_transition_time.clone());
    let condition = NamespaceCondition {
        type_: type_.into(),
        status: "True".into(),
        reason: Some("SomeResourcesRemain".into()),
        message: Some(message),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    };
    conditions.retain(|c| c.type_ != type_);
    conditions.push(condition);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_named_and_the_time_does_not_move() {
        let early: Timestamp = "2026-01-01T00:00:00Z".parse().expect("time");
        let late: Timestamp = "2026-01-01T00:01:00Z".parse().expect("time");
        let left = BTreeMap::from([("pods".to_string(), 2)]);
        let first = with_condition(&Namespace::default(), &left, early);
        let again = with_condition(&first, &left, late);
        assert_eq!(first.status, again.status);
        let conditions = again.status.and_then(|s| s.conditions).expect("conditions");
        assert_eq!(
            conditions[0].message.as_deref(),
            Some("Some resources are remaining: pods has 2 resource instances")
        );
    }
}
