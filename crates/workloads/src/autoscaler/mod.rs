//! Horizontal pod autoscaler (autoscaling/v2) on the node's own figures of cpu and memory.
//!
//! Usage has no event, so every autoscaler is looked at every 15 s; without any there is no
//! timer.

mod behavior;
mod plan;
mod replicas;
mod status;

use crate::context::{self, Context, Reconciler};
use crate::objects;
use crate::{Error, pods, selector, time};
use behavior::History;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use parking_lot::Mutex;
use plan::Observed;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;
use towpath_kit::traits::ResourceFigures;

const INTERVAL: Duration = Duration::from_secs(15);

struct Controller {
    context: Arc<Context>,
    figures: Arc<dyn ResourceFigures>,
    events: Events,
    histories: Mutex<BTreeMap<Key, History>>,
}

/// Runs until `cancel`.
pub(crate) async fn run(
    context: Arc<Context>,
    figures: Arc<dyn ResourceFigures>,
    cancel: CancellationToken,
) {
    let queue: Queue<Key> = Queue::default();
    let q = queue.clone();
    context.caches.autoscalers.on_change(move |change| {
        // Our own status is no news.
        let same = match (change.old, change.new) {
            (Some(old), Some(new)) => old.spec == new.spec,
            _ => false,
        };
        if !same {
            q.add(change.key.clone());
        }
    });
    let events = Events::new(context.client.clone(), "horizontal-pod-autoscaler");
    context::start(
        Controller {
            context,
            figures,
            events,
            histories: Mutex::default(),
        },
        queue,
        cancel,
    )
    .await;
}

impl Reconciler for Controller {
    const NAME: &'static str = "autoscaler";
    const WORKERS: usize = 1;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(autoscaler) = self.context.caches.autoscalers.get(key) else {
            self.histories.lock().remove(key);
            return Ok(Next::Wait);
        };
        let mut written = autoscaler.status.clone().unwrap_or_default();
        match self.look(key, &autoscaler, &mut written).await {
            Ok(()) => {}
            Err(error) => {
                let about = objects::reference(autoscaler.as_ref());
                let message = format!(
                    "the HPA controller was unable to get the target's current scale: {}",
                    error.words()
                );
                status::set(
                    &mut written,
                    "AbleToScale",
                    false,
                    "FailedGetScale",
                    &message,
                    self.context.now(),
                );
                self.events
                    .warning(&about, "FailedGetScale", "Scale", error.words())
                    .await;
            }
        }
        if autoscaler.status.as_ref() != Some(&written) {
            let mut next = autoscaler.as_ref().clone();
            next.status = Some(written);
            match objects::replace_status(&self.context.client, &next).await {
                Err(error) if !error.is_conflict() && !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(Next::After(INTERVAL))
    }
}

impl Controller {
    async fn look(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        written: &mut HorizontalPodAutoscalerStatus,
    ) -> Result<(), Error> {
        let (api, scale) = self.scale(key, autoscaler).await?;
        let current = scale.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        let text = scale
            .status
            .as_ref()
            .and_then(|s| s.selector.clone())
            .unwrap_or_default();
        let Some(wanted) = selector::parse(&text).filter(|s| !selector::is_empty(s)) else {
            let message = "the HPA target's scale is missing a selector";
            status::set(
                written,
                "ScalingActive",
                false,
                "InvalidSelector",
                message,
                self.context.now(),
            );
            return Ok(());
        };
        let mut pods = self.context.caches.pods.in_namespace(&key.namespace);
        pods.retain(|p| {
            selector::matches(&wanted, p.metadata.labels.as_ref()) && pods::phase(p) != "Succeeded"
        });
        let figures = self.figures.pods(&key.namespace).await;
        let (now, instant) = (
            time::now(self.context.clock.as_ref()),
            self.context.clock.monotonic(),
        );
        let seen = Observed {
            autoscaler,
            current,
            pods: &pods,
            figures: &figures,
            now,
            instant,
        };
        let plan = plan::plan(&seen, self.histories.lock().entry(key.clone()).or_default());
        *written = plan.status;
        let about = objects::reference(autoscaler);
        if let Some((reason, note)) = plan.warning {
            self.events.warning(&about, &reason, "Scale", note).await;
        }
        let Some(to) = plan.rescale else {
            return Ok(());
        };
        let target = &autoscaler.spec.scale_target_ref.name;
        let patch = Patch::Merge(json!({"spec": {"replicas": to}}));
        match api
            .patch_scale(target, &PatchParams::default(), &patch)
            .await
        {
            Ok(_) => {
                self.histories
                    .lock()
                    .entry(key.clone())
                    .or_default()
                    .changed(current, to, instant);
                let message =
                    format!("the HPA controller was able to update the target scale to {to}");
                status::set(
                    written,
                    "AbleToScale",
                    true,
                    "SucceededRescale",
                    &message,
                    now,
                );
                written.last_scale_time =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
                let note = format!("New size: {to}; reason: {}", plan.reason);
                self.events
                    .normal(&about, "SuccessfulRescale", "Scale", note)
                    .await;
            }
            Err(error) => {
                let error = objects::failed::<HorizontalPodAutoscaler>(
                    "scale the target of",
                    &autoscaler.metadata,
                )(error);
                let message = format!(
                    "the HPA controller was unable to update the target scale: {}",
                    error.words()
                );
                status::set(
                    written,
                    "AbleToScale",
                    false,
                    "FailedUpdateScale",
                    &message,
                    now,
                );
                let note = format!(
                    "New size: {to}; reason: {}; error: {}",
                    plan.reason,
                    error.words()
                );
                self.events
                    .warning(&about, "FailedRescale", "Scale", note)
                    .await;
            }
        }
        Ok(())
    }

    async fn scale(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
    ) -> Result<(Api<DynamicObject>, Scale), Error> {
        let target = autoscaler.spec.scale_target_ref.clone();
        let api_version = target
            .api_version
            .clone()
            .unwrap_or_else(|| "apps/v1".into());
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = GroupVersionKind::gvk(group, version, &target.kind);
        let unknown = |_| Error::UnknownKind {
            api_version: api_version.clone(),
            kind: target.kind.clone(),
        };
        let client = self.context.client.clone();
        let (resource, _) = kube::discovery::pinned_kind(&client, &kind)
            .await
            .map_err(unknown)?;
        let api: Api<DynamicObject> = Api::namespaced_with(client, &key.namespace, &resource);
        let subject = format!("{}/{}", key.namespace, target.name);
        let failed = |source| Error::Request {
            verb: "get scale of",
            kind: target.kind.clone(),
            name: subject,
            source: Box::new(source),
        };
        let scale = api.get_scale(&target.name).await.map_err(failed)?;
        Ok((api, scale))
    }
}
