//! Writing a pod's status: one writer per pod, so that statuses arrive in order; it writes what
//! is true when it gets to write, not every step.

use super::status;
use crate::agent::{Agent, PodHandle, now};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use std::sync::Arc;
use tokio::sync::watch;

/// Writes until the pod is gone. `written` tells up to which version of the model.
pub(crate) async fn run(agent: Arc<Agent>, handle: Arc<PodHandle>, written: watch::Sender<u64>) {
    let api: Api<Pod> = Api::namespaced(agent.client.clone(), &handle.key.namespace);
    let (mut model, mut object) = (handle.changed.subscribe(), handle.object.subscribe());
    let mut sent: Option<PodStatus> = None;
    let mut failures = 0;
    loop {
        let version = *model.borrow_and_update();
        let (pod, gone) = object.borrow_and_update().clone();
        if gone {
            return;
        }
        let status = compute(&agent, &handle, &pod, sent.as_ref());
        if sent.as_ref() == Some(&status)
            || (sent.is_none() && pod.status.as_ref() == Some(&status))
        {
            written.send_replace(version);
            sent = Some(status);
            tokio::select! {
                changed = model.changed() => if changed.is_err() { return },
                changed = object.changed() => if changed.is_err() { return },
            }
            continue;
        }
        let patch = serde_json::json!({ "metadata": { "uid": handle.uid }, "status": status });
        let began = tokio::time::Instant::now();
        let patched = api
            .patch_status(
                &handle.key.name,
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await;
        tracing::debug!(pod = %handle.key, took = ?began.elapsed(), good = patched.is_ok(), "status");
        match patched {
            Ok(_) => {
                failures = 0;
                written.send_replace(version);
                sent = Some(status);
            }
            Err(kube::Error::Api(error)) if error.code == 404 => return,
            // Another pod of this name by now: the watch will say so.
            Err(kube::Error::Api(error)) if error.code == 409 && failures > 3 => return,
            Err(error) => {
                failures += 1;
                let wait = towpath_kit::queue::backoff(failures);
                tracing::warn!(pod = %handle.key, %error, ?wait, "status not written");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

// The watch may lag behind what was written: own conditions come from what was sent last, those
// of others from the object.
fn compute(agent: &Agent, handle: &PodHandle, pod: &Pod, sent: Option<&PodStatus>) -> PodStatus {
    let mut view = pod.clone();
    if let Some(sent) = sent {
        let seen = view.status.get_or_insert_default();
        let own: Vec<PodCondition> = sent.conditions.clone().unwrap_or_default();
        let others = seen
            .conditions
            .iter()
            .flatten()
            .filter(|c| !own.iter().any(|o| o.type_ == c.type_));
        let all = own.iter().chain(others).cloned().collect();
        seen.conditions = Some(all);
    }
    status::compute(&view, &handle.model(), &agent.host_ip(), now())
}
