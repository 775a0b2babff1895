//! Endpoints: which addresses stand behind each service, as slices and in the older form.

mod backends;
mod legacy;
mod mirror;
mod slices;

#[cfg(test)]
mod tests;

use crate::context::{self, Context};
use crate::objects;
use crate::{Error, selector};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::{Change, Key};
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let (queue, older, mirrors) = (Queue::default(), Queue::default(), Queue::default());
    watch(&context, &[queue.clone(), older.clone()]);
    let (q, o, m) = (queue.clone(), older.clone(), mirrors.clone());
    context
        .caches
        .services
        .on_change(move |change| m.add(change.key.clone()));
    let m = mirrors.clone();
    context.caches.slices.on_change(move |change| {
        for slice in [change.old, change.new].into_iter().flatten() {
            let Some(service) = slices::service_of(slice) else {
                continue;
            };
            let key = Key::new(&change.key.namespace, service);
            if slices::is_ours(slice) {
                q.add(key);
            } else if mirror::is_ours(slice) {
                m.add(key);
            }
        }
    });
    context
        .caches
        .endpoints
        .on_change(move |change| o.add(change.key.clone()));
    let m = mirrors.clone();
    context
        .caches
        .endpoints
        .on_change(move |change| m.add(change.key.clone()));
    tokio::join!(
        context::run(
            "endpointslice",
            queue,
            2,
            context.clone(),
            cancel.clone(),
            |c, key| async move { reconcile_slices(&c, &key).await }
        ),
        context::run(
            "endpoints",
            older,
            1,
            context.clone(),
            cancel.clone(),
            |c, key| async move { reconcile_legacy(&c, &key).await }
        ),
        context::run(
            "endpointslice mirror",
            mirrors,
            1,
            context,
            cancel,
            |c, key| async move { reconcile_mirror(&c, &key).await }
        ),
    );
}

fn watch(context: &Arc<Context>, queues: &[Queue<Key>; 2]) {
    let caches = &context.caches;
    let all = queues.clone();
    caches
        .services
        .on_change(move |change| all.iter().for_each(|q| q.add(change.key.clone())));
    let (all, services) = (queues.clone(), caches.services.clone());
    caches.pods.on_change(move |change| {
        if !matters(change) {
            return;
        }
        for service in services.in_namespace(&change.key.namespace) {
            let Some(wanted) = service.spec.as_ref().and_then(|s| s.selector.as_ref()) else {
                continue;
            };
            let hit = |p: Option<&Arc<Pod>>| {
                p.is_some_and(|p| selector::equal(wanted, p.metadata.labels.as_ref()))
            };
            if !wanted.is_empty() && (hit(change.old) || hit(change.new)) {
                all.iter().for_each(|q| q.add(Key::of(service.as_ref())));
            }
        }
    });
}

// Most updates of pods change nothing that endpoints show.
fn matters(change: &Change<'_, Pod>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else {
        return true;
    };
    let facts = |p: &Pod| {
        let status = p.status.clone().unwrap_or_default();
        (
            p.metadata.labels.clone(),
            crate::pods::is_ready(p),
            crate::pods::is_deleting(p),
            crate::pods::is_terminal(p),
            crate::pods::node(p).map(str::to_string),
            status.pod_ip,
            status.pod_ips,
        )
    };
    facts(old) != facts(new)
}

fn pods_of(context: &Context, service: &Service) -> Vec<Arc<Pod>> {
    let wanted = service
        .spec
        .as_ref()
        .and_then(|s| s.selector.clone())
        .unwrap_or_default();
    let mut pods = context
        .caches
        .pods
        .in_namespace(service.metadata.namespace.as_deref().unwrap_or_default());
    pods.retain(|p| selector::equal(&wanted, p.metadata.labels.as_ref()));
    pods
}

async fn reconcile_slices(context: &Context, key: &Key) -> Result<Next, Error> {
    let mut have = context.caches.slices.in_namespace(&key.namespace);
    have.retain(|s| slices::is_ours(s) && slices::service_of(s) == Some(key.name.as_str()));
    let service = context.caches.services.get(key);
    let Some(service) =
        service.filter(|s| s.metadata.deletion_timestamp.is_none() && backends::is_selecting(s))
    else {
        for slice in have {
            objects::delete::<EndpointSlice>(
                &context.client,
                &slice.metadata,
                objects::exactly(&slice.metadata),
            )
            .await?;
        }
        return Ok(Next::Wait);
    };
    let plan = slices::plan(&service, &pods_of(context, &service), &have);
    apply(context, plan).await
}

async fn reconcile_mirror(context: &Context, key: &Key) -> Result<Next, Error> {
    let mut have = context.caches.slices.in_namespace(&key.namespace);
    have.retain(|s| mirror::is_ours(s) && slices::service_of(s) == Some(key.name.as_str()));
    let endpoints = context.caches.endpoints.get(key);
    let service = context.caches.services.get(key);
    let wanted = match (&endpoints, &service) {
        (Some(endpoints), Some(service)) if mirror::wants(endpoints, service) => {
            mirror::wanted(endpoints)
        }
        _ => BTreeMap::new(),
    };
    apply(context, slices::compare(wanted, &have)).await
}

async fn apply(context: &Context, plan: slices::Plan) -> Result<Next, Error> {
    for slice in &plan.update {
        objects::replace(&context.client, slice).await?;
    }
    for slice in &plan.create {
        objects::create(&context.client, slice).await?;
    }
    for slice in plan.delete {
        objects::delete::<EndpointSlice>(
            &context.client,
            &slice.metadata,
            objects::exactly(&slice.metadata),
        )
        .await?;
    }
    Ok(Next::Wait)
}

async fn reconcile_legacy(context: &Context, key: &Key) -> Result<Next, Error> {
    let have = context.caches.endpoints.get(key);
    let Some(service) = context.caches.services.get(key) else {
        if let Some(old) = have.filter(|e| legacy::is_ours(e)) {
            objects::delete::<Endpoints>(
                &context.client,
                &old.metadata,
                objects::exactly(&old.metadata),
            )
            .await?;
        }
        return Ok(Next::Wait);
    };
    if service.metadata.deletion_timestamp.is_some() || !backends::is_selecting(&service) {
        return Ok(Next::Wait);
    }
    let wanted = legacy::wanted(&service, &pods_of(context, &service));
    match have {
        None => drop(objects::create(&context.client, &wanted).await?),
        Some(old)
            if old.subsets == wanted.subsets && old.metadata.labels == wanted.metadata.labels => {}
        Some(old) => {
            let mut next = old.as_ref().clone();
            next.subsets = wanted.subsets;
            next.metadata.labels = wanted.metadata.labels;
            objects::replace(&context.client, &next).await?;
        }
    }
    Ok(Next::Wait)
}
