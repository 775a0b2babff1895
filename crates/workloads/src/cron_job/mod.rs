//! Cron jobs: a job at each time of a schedule.

mod plan;
mod schedule;

use crate::context::{self, Context, Reconciler, next};
use crate::objects::{self, name, uid};
use crate::{Error, ownership, waking};
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::{Cache, Key};
use towpath_kit::controller::Next;
use towpath_kit::events::Events;
use towpath_kit::queue::Queue;

/// Tells a job's pods which time they are for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

struct Controller {
    context: Arc<Context>,
    crons: Cache<CronJob>,
    events: Events,
}

/// Runs until `cancel`.
pub(crate) async fn run(context: Arc<Context>, cancel: CancellationToken) {
    let queue = Queue::default();
    let crons = context.caches.cron_jobs.clone();
    let q = queue.clone();
    crons.on_change(move |change| q.add(change.key.clone()));
    let q = queue.clone();
    context.caches.jobs.on_change(move |change| {
        waking::owners(change, "CronJob").for_each(|key| q.add(key));
    });
    let events = Events::new(context.client.clone(), "cronjob-controller");
    let controller = Controller {
        context,
        crons,
        events,
    };
    context::start(controller, queue, cancel).await;
}

fn zone(text: &str) -> Option<TimeZone> {
    TimeZone::get(text).ok()
}

impl Reconciler for Controller {
    const NAME: &'static str = "cronjob";
    const WORKERS: usize = 2;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let Some(cron) = self.crons.get(key) else {
            return Ok(Next::Wait);
        };
        let mut owned = context.caches.jobs.in_namespace(&key.namespace);
        owned.retain(|job| ownership::is_controlled_by(&job.metadata, uid(&cron.metadata)));
        let plan = plan::plan(&cron, &owned, context.now(), zone);
        let about = objects::reference(cron.as_ref());
        let mut status = plan.status;
        for job in &plan.replace {
            self.delete(&about, job).await?;
            if let Some(active) = &mut status.active {
                active.retain(|r| r.uid != job.metadata.uid);
            }
        }
        if let Some(scheduled) = plan.start {
            let made = self.create(&cron, &about, scheduled).await?;
            status.active.get_or_insert_default().push(made);
            status.last_schedule_time = Some(Time(scheduled));
        }
        if cron.status.as_ref().unwrap_or(&Default::default()) != &status {
            let mut cron = cron.as_ref().clone();
            cron.status = Some(status);
            objects::replace_status(&context.client, &cron).await?;
        }
        for (warning, reason, note) in plan.events {
            match warning {
                true => self.events.warning(&about, reason, "Sync", note).await,
                false => self.events.normal(&about, reason, "Sync", note).await,
            }
        }
        for job in &plan.forget {
            self.delete(&about, job).await?;
        }
        Ok(next(plan.after))
    }
}

impl Controller {
    // One that exists already was made by an attempt whose end was not seen.
    async fn create(
        &self,
        cron: &CronJob,
        about: &ObjectReference,
        scheduled: Timestamp,
    ) -> Result<ObjectReference, Error> {
        let job = job(cron, scheduled);
        match objects::create(&self.context.client, &job).await {
            Ok(made) => {
                let note = format!("Created job {}", name(&made.metadata));
                self.events
                    .normal(about, "SuccessfulCreate", "Create", note)
                    .await;
                Ok(plan::reference(&made))
            }
            Err(error) => {
                if !error.is_namespace_ending() {
                    let note = format!("Error creating job: {}", error.words());
                    self.events
                        .warning(about, "FailedCreate", "Create", note)
                        .await;
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, about: &ObjectReference, job: &Job) -> Result<(), Error> {
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: job.metadata.uid.clone(),
            resource_version: None,
        });
        objects::delete::<Job>(&self.context.client, &job.metadata, params).await?;
        let note = format!("Deleted job {}", name(&job.metadata));
        self.events
            .normal(about, "SuccessfulDelete", "Delete", note)
            .await;
        Ok(())
    }
}

fn job(cron: &CronJob, scheduled: Timestamp) -> Job {
    let spec = cron.spec.clone();
    let template = spec.job_template;
    let meta = template.metadata.unwrap_or_default();
    let in_zone = |text: &str| {
        let zoned = scheduled.to_zoned(zone(text)?);
        Some(zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
    };
    let told = spec.time_zone.as_deref().and_then(in_zone);
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(
        SCHEDULED.into(),
        told.unwrap_or_else(|| scheduled.to_string()),
    );
    Job {
        metadata: ObjectMeta {
            name: Some(plan::job_name(cron, scheduled)),
            namespace: cron.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            finalizers: meta.finalizers,
            owner_references: Some(vec![ownership::controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
