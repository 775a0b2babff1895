//! Jobs: pods that must succeed a number of times. And their end: time to live after it.
//!
//! Pod failure policies, success policies and back-off limits per index are not supported; a job
//! that asks for them fails at once and says so.

mod indexes;
mod plan;

use crate::context::{self, Context, Reconciler, next};
use crate::expectations::Expectations;
use crate::objects::{self, name, uid};
use crate::{Error, ownership, pods, time};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Preconditions};
use plan::TRACKING;
pub(crate) use plan::{finished_at, has, is_finished};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;

struct Controller {
    context: Arc<Context>,
    events: Events,
    expectations: Arc<Expectations>,
}

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let (queue, strays) = (Queue::default(), Queue::default());
    let expectations = Arc::new(Expectations::default());
    watch(&context, &queue, &strays, &expectations);
    let events = Events::new(context.client.clone(), "job-controller");
    let controller = Controller {
        context: context.clone(),
        events,
        expectations,
    };
    tokio::join!(
        context::start(controller, queue, cancel.clone()),
        context::run(
            "job pods",
            strays,
            1,
            context,
            cancel,
            |c, key| async move { free_stray(&c, &key).await }
        ),
    );
}

fn watch(
    context: &Arc<Context>,
    queue: &Queue<Key>,
    strays: &Queue<Key>,
    expectations: &Arc<Expectations>,
) {
    let (q, s, e) = (queue.clone(), strays.clone(), expectations.clone());
    let pods = context.caches.pods.clone();
    context.caches.jobs.on_change(move |change| {
        q.add(change.key.clone());
        if let (Some(job), None) = (change.old, change.new) {
            e.forget(change.key);
            for pod in pods.in_namespace(&change.key.namespace) {
                if ownership::is_controlled_by(&pod.metadata, uid(&job.metadata)) {
                    s.add(Key::of(pod.as_ref()));
                }
            }
        }
    });
    let (q, s, e) = (queue.clone(), strays.clone(), expectations.clone());
    context.caches.pods.on_change(move |change| {
        let owners = e.saw(change, "Job");
        let owned = !owners.is_empty();
        owners.into_iter().for_each(|key| q.add(key));
        let tracked = change.new.is_some_and(|p| is_tracked(p));
        if tracked && (!owned || change.new.is_some_and(|p| pods::is_deleting(p))) {
            s.add(change.key.clone());
        }
    });
}

fn is_tracked(pod: &Pod) -> bool {
    pod.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|f| f == TRACKING)
}

async fn untrack(context: &Context, pod: &Pod) -> Result<(), Error> {
    let mut kept = pod.metadata.finalizers.clone().unwrap_or_default();
    kept.retain(|f| f != TRACKING);
    let patch = objects::finalizers_patch(&pod.metadata, kept);
    match objects::merge::<Pod>(&context.client, &pod.metadata, patch).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

// A pod whose job is gone must not be kept by the finalizer.
async fn free_stray(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(pod) = context.caches.pods.get(key) else {
        return Ok(Next::Wait);
    };
    if !is_tracked(&pod) {
        return Ok(Next::Wait);
    }
    if let Some(owner) = ownership::controller_of(&pod.metadata).filter(|r| r.kind == "Job") {
        let api = kube::Api::<Job>::namespaced(context.client.clone(), &key.namespace);
        let found = api
            .get_metadata_opt(&owner.name)
            .await
            .map_err(objects::failed::<Job>("get", &pod.metadata))?;
        if found.is_some_and(|job| job.metadata.uid.as_deref() == Some(owner.uid.as_str())) {
            return Ok(Next::Wait);
        }
    }
    untrack(context, &pod).await?;
    Ok(Next::Wait)
}

impl Reconciler for Controller {
    const NAME: &'static str = "job";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let Some(job) = context.caches.jobs.get(key) else {
            return Ok(Next::Wait);
        };
        let spec = job.spec.clone().unwrap_or_default();
        if spec
            .managed_by
            .as_deref()
            .is_some_and(|m| m != "kubernetes.io/job-controller")
        {
            return Ok(Next::Wait);
        }
        if !is_finished(&job)
            && let Some(field) = unsupported(&spec)
        {
            return self.refuse(&job, field).await;
        }
        let mut owned = context.caches.pods.in_namespace(&key.namespace);
        owned.retain(|p| ownership::is_controlled_by(&p.metadata, uid(&job.metadata)));
        let met = self.expectations.met(key, context.clock.monotonic());
        let plan = plan::plan(&job, &owned, context.now());
        if job.status.as_ref() != Some(&plan.status) {
            let mut job = job.as_ref().clone();
            job.status = Some(plan.status);
            objects::replace_status(&context.client, &job).await?;
        }
        for pod in &plan.untrack {
            untrack(context, pod).await?;
        }
        let about = objects::reference(job.as_ref());
        if let Some((warning, reason, note)) = plan.event {
            match warning {
                true => self.events.warning(&about, reason, "Sync", note).await,
                false => self.events.normal(&about, reason, "Sync", note).await,
            }
        }
        if met {
            for pod in &plan.dismiss {
                untrack(context, pod).await?;
            }
            for pod in plan.delete.iter().chain(&plan.dismiss) {
                self.delete(key, &job, pod).await?;
            }
            for index in plan.create {
                self.create(key, &job, index).await?;
            }
        }
        if is_finished(&job) {
            return self.time_to_live(&job, &spec).await;
        }
        Ok(next(plan.after))
    }
}

impl Controller {
    async fn create(&self, key: &Key, job: &Job, index: Option<u32>) -> Result<(), Error> {
        let template = job
            .spec
            .as_ref()
            .map(|s| s.template.clone())
            .unwrap_or_default();
        let base = match index {
            Some(index) => format!("{}-{index}-", key.name),
            None => format!("{}-", key.name),
        };
        let pod_name = format!(
            "{base}{}",
            towpath_stdx::id::suffix(self.context.random.as_ref(), 5)
        );
        let owner = ownership::controller_reference(job);
        let mut pod = pods::from_template(&template, &key.namespace, pod_name.clone(), owner);
        pod.metadata.generate_name = Some(base);
        let labels = pod.metadata.labels.get_or_insert_default();
        for label in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
            labels.insert(label.into(), uid(&job.metadata).into());
        }
        for label in ["job-name", "batch.kubernetes.io/job-name"] {
            labels.insert(label.into(), key.name.clone());
        }
        pod.metadata
            .finalizers
            .get_or_insert_default()
            .push(TRACKING.into());
        if let Some(index) = index {
            indexes::give(&mut pod, &key.name, index);
        }
        self.expectations
            .will_create(key, &pod_name, self.context.clock.monotonic());
        let about = objects::reference(job);
        match objects::create(&self.context.client, &pod).await {
            Ok(_) => {
                self.events
                    .normal(
                        &about,
                        "SuccessfulCreate",
                        "Create",
                        format!("Created pod: {pod_name}"),
                    )
                    .await;
                Ok(())
            }
            Err(error) => {
                self.expectations.saw_created(key, &pod_name);
                if !error.is_namespace_ending() {
                    let note = format!("Error creating: {}", error.words());
                    self.events
                        .warning(&about, "FailedCreate", "Create", note)
                        .await;
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &Key, job: &Job, pod: &Pod) -> Result<(), Error> {
        let pod_uid = uid(&pod.metadata);
        self.expectations
            .will_delete(key, pod_uid, self.context.clock.monotonic());
        let result = objects::delete::<Pod>(
            &self.context.client,
            &pod.metadata,
            objects::exactly(&pod.metadata),
        )
        .await;
        if result.is_err() {
            self.expectations.saw_deleted(key, pod_uid);
        } else {
            let note = format!("Deleted pod: {}", name(&pod.metadata));
            self.events
                .normal(&objects::reference(job), "SuccessfulDelete", "Delete", note)
                .await;
        }
        result
    }

    // A finished job goes when its time has come, with its pods.
    async fn time_to_live(&self, job: &Job, spec: &JobSpec) -> Result<Next, Error> {
        let (Some(ttl), Some(ended)) = (spec.ttl_seconds_after_finished, finished_at(job)) else {
            return Ok(Next::Wait);
        };
        if job.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Wait);
        }
        if let Some(left) = time::left(ended, time::seconds(i64::from(ttl)), self.context.now()) {
            return Ok(Next::After(left));
        }
        let preconditions = Preconditions {
            uid: job.metadata.uid.clone(),
            resource_version: job.metadata.resource_version.clone(),
        };
        let params = DeleteParams::foreground().preconditions(preconditions);
        objects::delete::<Job>(&self.context.client, &job.metadata, params).await?;
        Ok(Next::Wait)
    }

    async fn refuse(&self, job: &Job, field: &str) -> Result<Next, Error> {
        let mut job = job.clone();
        let now = Time(self.context.now());
        let message = format!("spec.{field} is not supported by this cluster");
        let status = job.status.get_or_insert_default();
        status
            .conditions
            .get_or_insert_default()
            .push(JobCondition {
                type_: "Failed".into(),
                status: "True".into(),
                reason: Some("Unsupported".into()),
                message: Some(message.clone()),
                last_probe_time: Some(now.clone()),
                last_transition_time: Some(now),
            });
        objects::replace_status(&self.context.client, &job).await?;
        self.events
            .warning(&objects::reference(&job), "Unsupported", "Sync", message)
            .await;
        Ok(Next::Wait)
    }
}

fn unsupported(spec: &JobSpec) -> Option<&'static str> {
    let fields = [
        (spec.pod_failure_policy.is_some(), "podFailurePolicy"),
        (spec.success_policy.is_some(), "successPolicy"),
        (
            spec.backoff_limit_per_index.is_some(),
            "backoffLimitPerIndex",
        ),
    ];
    fields
        .into_iter()
        .find(|(set, _)| *set)
        .map(|(_, name)| name)
}
