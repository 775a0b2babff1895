//! Namespaces that are ending: their content goes, pods first, then every other kind, and only
//! then the namespace itself.

use crate::context::{self, Context};
use crate::objects::{failed, name};
use crate::served_kinds::{Served, discover};
use crate::{Error, pods};
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
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
    let mut left = Left::default();
    // One kind whose server does not answer keeps the namespace, but not the other kinds.
    let mut unanswered = None;
    let pods = context.caches.pods.in_namespace(&key.name);
    if pods.is_empty() {
        for kind in discover(&context.client, true)
            .await?
            .iter()
            .filter(|k| k.namespaced)
        {
            let remaining = match empty(context, kind, &key.name).await {
                Ok(remaining) => remaining,
                Err(error) => {
                    unanswered = Some(error);
                    continue;
                }
            };
            let (plural, group) = (&kind.resource.plural, &kind.resource.group);
            left.add(&format!("{plural}.{group}"), remaining.iter());
        }
    } else {
        if pods.iter().any(|p| !pods::is_deleting(p)) {
            let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.name);
            api.delete_collection(&DeleteParams::background(), &ListParams::default())
                .await
                .map_err(failed::<Pod>("delete all in", &namespace.metadata))?;
        }
        left.add("pods.", pods.iter().map(|pod| &pod.metadata));
    }
    if left.kinds.is_empty() && unanswered.is_none() {
        return finalize(context, &namespace).await;
    }
    tell(context, &namespace, &left).await?;
    if let Some(error) = unanswered {
        return Err(error);
    }
    // Removals wake us; this is for what no watch covers.
    Ok(Next::After(Duration::from_secs(30)))
}

/// What still is in a namespace.
#[derive(Default)]
struct Left {
    /// Objects of each `plural.group`.
    kinds: BTreeMap<String, usize>,
    /// Objects that each finalizer holds.
    finalizers: BTreeMap<String, usize>,
}

impl Left {
    fn add<'a>(&mut self, kind: &str, objects: impl Iterator<Item = &'a ObjectMeta>) {
        for meta in objects {
            *self.kinds.entry(kind.into()).or_default() += 1;
            for finalizer in meta.finalizers.iter().flatten() {
                *self.finalizers.entry(finalizer.clone()).or_default() += 1;
            }
        }
    }
}

// Deletes all objects of a kind in a namespace; answers what is left.
async fn empty(
    context: &Context,
    kind: &Served,
    namespace: &str,
) -> Result<Vec<ObjectMeta>, Error> {
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
        return Ok(Vec::new());
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
        .into_iter()
        .map(|object| object.metadata)
        .collect())
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

async fn tell(context: &Context, namespace: &Namespace, left: &Left) -> Result<(), Error> {
    let next = with_conditions(namespace, left, context.now());
    if next.status == namespace.status {
        return Ok(());
    }
    let api: Api<Namespace> = Api::all(context.client.clone());
    api.replace_status(name(&namespace.metadata), &PostParams::default(), &next)
        .await
        .map_err(failed::<Namespace>("update status of", &namespace.metadata))?;
    Ok(())
}

// What goes wrong is tried again and not told here, so the first three always hold.
fn conditions(left: &Left) -> [(&'static str, bool, &'static str, String); 5] {
    let list = |counts: &BTreeMap<String, usize>, verb: &str| {
        let parts: Vec<String> = counts
            .iter()
            .map(|(name, n)| format!("{name} {verb} {n} resource instances"))
            .collect();
        parts.join(", ")
    };
    let (kinds, finalizers) = (&left.kinds, &left.finalizers);
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".into(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".into(),
        ),
        (
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into(),
        ),
        match kinds.is_empty() {
            true => (
                "NamespaceContentRemaining",
                false,
                "ContentRemoved",
                "All content successfully removed".into(),
            ),
            false => (
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", list(kinds, "has")),
            ),
        },
        match finalizers.is_empty() {
            true => (
                "NamespaceFinalizersRemaining",
                false,
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished".into(),
            ),
            false => (
                "NamespaceFinalizersRemaining",
                true,
                "SomeFinalizersRemain",
                format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    list(finalizers, "in")
                ),
            ),
        },
    ]
}

fn with_conditions(namespace: &Namespace, left: &Left, now: Timestamp) -> Namespace {
    let mut next = namespace.clone();
    let all = next
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    for (type_, holds, reason, message) in conditions(left) {
        let status = if holds { "True" } else { "False" };
        let since = all
            .iter()
            .find(|c| c.type_ == type_ && c.status == status)
            .and_then(|c| c.last_transition_time.clone());
        let condition = NamespaceCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        };
        match all.iter_mut().find(|c| c.type_ == type_) {
            Some(known) => *known = condition,
            None => all.push(condition),
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_named_and_the_time_does_not_move() {
        let early: Timestamp = "2026-01-01T00:00:00Z".parse().expect("time");
        let late: Timestamp = "2026-01-01T00:01:00Z".parse().expect("time");
        let held = ObjectMeta {
            finalizers: Some(vec!["example.com/held".into()]),
            ..ObjectMeta::default()
        };
        let mut left = Left::default();
        left.add("pods.", [held, ObjectMeta::default()].iter());
        let first = with_conditions(&Namespace::default(), &left, early);
        let again = with_conditions(&first, &left, late);
        assert_eq!(first.status, again.status);
        let conditions = again.status.and_then(|s| s.conditions).expect("conditions");
        let said: Vec<_> = conditions
            .iter()
            .map(|c| (c.status.as_str(), c.message.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(
            said[3..],
            [
                (
                    "True",
                    "Some resources are remaining: pods. has 2 resource instances"
                ),
                (
                    "True",
                    "Some content in the namespace has finalizers remaining: example.com/held in 1 resource instances"
                ),
            ]
        );
        assert!(said[..3].iter().all(|(status, _)| *status == "False"));
    }
}
