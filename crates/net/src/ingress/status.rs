//! Writes the ingress's address into the status of the objects it serves.

use super::route;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use towpath_daemon::CancellationToken;
use towpath_kit::cache::{Cache, Key};
use towpath_kit::controller::{self, Next};
use towpath_kit::queue::Queue;

struct Context {
    client: kube::Client,
    ingresses: Cache<Ingress>,
    address: String,
}

/// Runs until cancelled.
pub(crate) async fn keep(
    client: kube::Client,
    ingresses: Cache<Ingress>,
    queue: Queue<Key>,
    address: IpAddr,
    cancel: CancellationToken,
) {
    let context = Arc::new(Context {
        client,
        ingresses,
        address: address.to_string(),
    });
    controller::run("ingress-status", queue, 1, context, cancel, reconcile).await;
}

async fn reconcile(context: Arc<Context>, key: Key) -> Result<Next, kube::Error> {
    let Some(ingress) = context.ingresses.get(&key) else {
        return Ok(Next::Wait);
    };
    if !route::is_ours(&ingress) {
        return Ok(Next::Wait);
    }
    let shown = ingress.status.as_ref().and_then(|status| {
        status
            .load_balancer
            .as_ref()?
            .ingress
            .as_ref()?
            .first()?
            .ip
            .as_deref()
    });
    if shown == Some(context.address.as_str()) {
        return Ok(Next::Wait);
    }
    let api: Api<Ingress> = Api::namespaced(context.client.clone(), &key.namespace);
    let patch = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": context.address }] } } });
    match api
        .patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Next::Wait),
        other => other.map(|_| Next::Wait),
    }
}
