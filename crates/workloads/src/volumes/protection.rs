//! Claims and volumes in use are not removed under those who use them.

use crate::context::{self, Context};
use crate::objects::{self, failed, name};
use crate::scheduler::claim_names;
use crate::{Error, pods};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Api, Patch, PatchParams};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let (claims, volumes): (Queue<Key>, Queue<Key>) = Default::default();
    let q = claims.clone();
    context
        .caches
        .claims
        .on_change(move |change| q.add(change.key.clone()));
    let q = volumes.clone();
    context
        .caches
        .volumes
        .on_change(move |change| q.add(change.key.clone()));
    let q = claims.clone();
    context.caches.pods.on_change(move |change| {
        if let Some(pod) = change
            .old
            .filter(|_| change.new.is_none_or(|p| pods::is_terminal(p)))
        {
            claim_names(pod)
                .into_iter()
                .for_each(|claim| q.add(Key::new(&change.key.namespace, claim)));
        }
    });
    tokio::join!(
        context::run(
            "claim protection",
            claims,
            1,
            context.clone(),
            cancel.clone(),
            |c, key| async move { claim(&c, &key).await }
        ),
        context::run(
            "volume protection",
            volumes,
            1,
            context,
            cancel,
            |c, key| async move { volume(&c, &key).await }
        ),
    );
}

// The list of finalizers after protection was put on or taken off; `None` where it is right.
fn next_finalizers(
    have: Option<&Vec<String>>,
    finalizer: &str,
    deleting: bool,
    used: bool,
) -> Option<Vec<String>> {
    let mut list = have.cloned().unwrap_or_default();
    let on = list.iter().any(|f| f == finalizer);
    match (on, deleting) {
        (false, false) => {
            list.push(finalizer.into());
            Some(list)
        }
        (true, true) if !used => {
            list.retain(|f| f != finalizer);
            Some(list)
        }
        _ => None,
    }
}

async fn claim(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(claim) = context.caches.claims.get(key) else {
        return Ok(Next::Wait);
    };
    let meta = &claim.metadata;
    let deleting = meta.deletion_timestamp.is_some();
    let uses = |p: &k8s_openapi::api::core::v1::Pod| {
        !pods::is_terminal(p) && pods::node(p).is_some() && claim_names(p).contains(&key.name)
    };
    let used = deleting
        && context
            .caches
            .pods
            .in_namespace(&key.namespace)
            .iter()
            .any(|p| uses(p));
    if let Some(list) = next_finalizers(meta.finalizers.as_ref(), CLAIM, deleting, used) {
        let patch = objects::finalizers_patch(meta, list);
        objects::merge::<PersistentVolumeClaim>(&context.client, meta, patch).await?;
    }
    Ok(Next::Wait)
}

async fn volume(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(volume) = context.caches.volumes.get(key) else {
        return Ok(Next::Wait);
    };
    let meta = &volume.metadata;
    let used = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    let list = next_finalizers(
        meta.finalizers.as_ref(),
        VOLUME,
        meta.deletion_timestamp.is_some(),
        used,
    );
    if let Some(list) = list {
        let api: Api<PersistentVolume> = Api::all(context.client.clone());
        let patch = Patch::Merge(objects::finalizers_patch(meta, list));
        api.patch(name(meta), &PatchParams::default(), &patch)
            .await
            .map_err(failed::<PersistentVolume>("patch", meta))?;
    }
    Ok(Next::Wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_goes_on_early_and_off_when_unused() {
        let on = vec![CLAIM.to_string()];
        assert_eq!(next_finalizers(None, CLAIM, false, false), Some(on.clone()));
        assert_eq!(next_finalizers(Some(&on), CLAIM, false, false), None);
        assert_eq!(next_finalizers(Some(&on), CLAIM, true, true), None);
        assert_eq!(next_finalizers(Some(&on), CLAIM, true, false), Some(vec![]));
        assert_eq!(next_finalizers(None, CLAIM, true, false), None);
    }
}
