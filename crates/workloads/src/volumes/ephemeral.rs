//! Claims of generic ephemeral volumes: made for their pod, owned by it, gone with it.

use crate::context::{self, Context};
use crate::ownership::controller_reference;
use crate::{Error, objects, pods};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::core::ObjectMeta;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let queue: Queue<Key> = Queue::default();
    let q = queue.clone();
    context.caches.pods.on_change(move |change| {
        if change.old.is_none()
            && change
                .new
                .is_some_and(|p| pods::is_active(p) && !wanted(p).is_empty())
        {
            q.add(change.key.clone());
        }
    });
    context::run(
        "ephemeral volume",
        queue,
        1,
        context,
        cancel,
        |c, key| async move { reconcile(&c, &key).await },
    )
    .await;
}

fn wanted(pod: &Pod) -> Vec<PersistentVolumeClaim> {
    let volumes = pod
        .spec
        .as_ref()
        .and_then(|s| s.volumes.as_deref())
        .unwrap_or_default();
    let pod_name = objects::name(&pod.metadata);
    volumes
        .iter()
        .filter_map(|volume| {
            let template = volume.ephemeral.as_ref()?.volume_claim_template.clone()?;
            let meta = template.metadata.unwrap_or_default();
            Some(PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(format!("{pod_name}-{}", volume.name)),
                    namespace: pod.metadata.namespace.clone(),
                    labels: meta.labels,
                    annotations: meta.annotations,
                    owner_references: Some(vec![controller_reference(pod)]),
                    ..ObjectMeta::default()
                },
                spec: Some(template.spec),
                status: None,
            })
        })
        .collect()
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(pod) = context.caches.pods.get(key).filter(|p| pods::is_active(p)) else {
        return Ok(Next::Wait);
    };
    for claim in wanted(&pod) {
        match objects::create(&context.client, &claim).await {
            Err(error) if !error.is_already_exists() => return Err(error),
            _ => {}
        }
    }
    Ok(Next::Wait)
}
