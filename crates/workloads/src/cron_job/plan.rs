//! What a cron job needs next: which of its jobs ended, which go, and whether one is due.

use super::schedule;
use crate::job::{finished_at, has, is_finished};
use crate::objects::{name, uid};
use crate::time;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;
use towpath_api::cron::{self, Schedule};

/// What to do, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Without the job to be made.
    pub(super) status: CronJobStatus,
    /// `(is warning, reason, note)`.
    pub(super) events: Vec<(bool, &'static str, String)>,
    /// Beyond what is kept of the ended ones.
    pub(super) forget: Vec<Arc<Job>>,
    /// Running ones that the next takes the place of.
    pub(super) replace: Vec<Arc<Job>>,
    /// The time for which a job is to be made.
    pub(super) start: Option<Timestamp>,
    pub(super) after: Option<Duration>,
}

/// Plans the next step. `owned` are all jobs that it controls; `zone` finds time zones by name.
pub(super) fn plan(
    cron: &CronJob,
    owned: &[Arc<Job>],
    now: Timestamp,
    zone: impl Fn(&str) -> Option<TimeZone>,
) -> Plan {
    let spec = cron.spec.clone();
    let mut plan = Plan {
        status: cron.status.clone().unwrap_or_default(),
        ..Plan::default()
    };
    follow(&mut plan, owned);
    plan.forget = beyond_history(&spec, owned);
    if cron.metadata.deletion_timestamp.is_some() || spec.suspend == Some(true) {
        return plan;
    }
    let zone = match spec.time_zone.as_deref() {
        None => TimeZone::UTC,
        Some(text) => match zone(text) {
            Some(zone) => zone,
            None => {
                let note = format!("invalid timeZone: \"{text}\": unknown time zone {text}");
                plan.events.push((true, "UnknownTimeZone", note));
                return plan;
            }
        },
    };
    let schedule = match cron::parse(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(why) => {
            let note = format!("unparseable schedule: \"{}\" : {why}", spec.schedule);
            plan.events.push((true, "UnparseableSchedule", note));
            return plan;
        }
    };
    due(&mut plan, cron, &spec, &schedule, owned, now, &zone);
    plan.after = schedule
        .next(now, &zone)
        .map(|next| schedule::until(next, now));
    plan
}

// The list of running jobs, and the time of the last success.
fn follow(plan: &mut Plan, owned: &[Arc<Job>]) {
    let status = &mut plan.status;
    let was = status.active.take().unwrap_or_default();
    let job = |reference: &ObjectReference| {
        owned
            .iter()
            .find(|job| job.metadata.uid == reference.uid)
            .cloned()
    };
    let mut active = Vec::new();
    for reference in was {
        match job(&reference) {
            Some(job) if is_finished(&job) => {
                let how = if has(job.status.as_ref(), "Complete") {
                    "Complete"
                } else {
                    "Failed"
                };
                let note = format!(
                    "Saw completed job: {}, condition: {how}",
                    name(&job.metadata)
                );
                plan.events.push((false, "SawCompletedJob", note));
            }
            Some(_) => active.push(reference),
            None => {
                let gone = reference.name.unwrap_or_default();
                let note = format!("Active job went missing: {gone}");
                plan.events.push((false, "MissingJob", note));
            }
        }
    }
    for job in owned.iter().filter(|job| !is_finished(job)) {
        if !active.iter().any(|r| r.uid == job.metadata.uid) {
            active.push(reference(job));
        }
    }
    let succeeded = owned
        .iter()
        .filter(|job| has(job.status.as_ref(), "Complete"))
        .filter_map(|job| job.status.as_ref()?.completion_time.clone());
    let last = succeeded.chain(status.last_successful_time.take()).max();
    status.last_successful_time = last;
    status.active = (!active.is_empty()).then_some(active);
}

/// How the status names a job.
pub(super) fn reference(job: &Job) -> ObjectReference {
    job.object_ref(&())
}

// Ended jobs that are older than those to keep.
fn beyond_history(spec: &CronJobSpec, owned: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let older = |condition: &str, keep: Option<i32>| {
        let mut ended: Vec<Arc<Job>> = owned
            .iter()
            .filter(|job| has(job.status.as_ref(), condition))
            .filter(|job| job.metadata.deletion_timestamp.is_none())
            .cloned()
            .collect();
        ended.sort_by_cached_key(|job| {
            let start = job.status.as_ref().and_then(|s| s.start_time.clone());
            Reverse((start, finished_at(job).cloned(), job.metadata.name.clone()))
        });
        let keep = keep.and_then(|n| usize::try_from(n).ok());
        ended.into_iter().skip(keep.unwrap_or(usize::MAX))
    };
    older("Complete", spec.successful_jobs_history_limit)
        .chain(older("Failed", spec.failed_jobs_history_limit))
        .collect()
}

fn due(
    plan: &mut Plan,
    cron: &CronJob,
    spec: &CronJobSpec,
    schedule: &Schedule,
    owned: &[Arc<Job>],
    now: Timestamp,
    zone: &TimeZone,
) {
    let deadline = spec.starting_deadline_seconds.map(time::seconds);
    let since = plan
        .status
        .last_schedule_time
        .as_ref()
        .or(cron.metadata.creation_timestamp.as_ref())
        .map_or(now, |t| t.0);
    // Before the deadline nothing can start any more, so it is not looked for.
    let earliest = match deadline.and_then(|d| now.checked_sub(d).ok()) {
        Some(bound) => since.max(bound),
        None => since,
    };
    let Some((scheduled, many)) = schedule::latest(schedule, earliest, now, zone) else {
        return;
    };
    if many {
        let note = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or \
                    check clock skew";
        plan.events.push((true, "TooManyMissedTimes", note.into()));
    }
    if deadline.is_some_and(|d| time::left(&Time(scheduled), d, now).is_none()) {
        let note = format!("Missed scheduled time to start a job: {scheduled}");
        plan.events.push((true, "MissSchedule", note));
        return;
    }
    let wanted = job_name(cron, scheduled);
    let exists = owned.iter().any(|job| name(&job.metadata) == wanted);
    let was_made = plan
        .status
        .last_schedule_time
        .as_ref()
        .is_some_and(|last| last.0 == scheduled);
    if exists || was_made {
        plan.status.last_schedule_time = Some(Time(scheduled));
        return;
    }
    let running = || {
        let active = plan.status.active.iter().flatten();
        owned
            .iter()
            .filter(|job| {
                active
                    .clone()
                    .any(|r| r.uid.as_deref() == Some(uid(&job.metadata)))
            })
            .cloned()
            .collect::<Vec<_>>()
    };
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if plan.status.active.is_some() => {
            let note = "Not starting job because prior execution is running and concurrency \
                        policy is Forbid";
            plan.events.push((false, "JobAlreadyActive", note.into()));
            return;
        }
        Some("Replace") => plan.replace = running(),
        _ => {}
    }
    plan.start = Some(scheduled);
}

/// Name of the job of one time: the same for every attempt, so that none is made twice.
pub(super) fn job_name(cron: &CronJob, scheduled: Timestamp) -> String {
    format!("{}-{}", name(&cron.metadata), scheduled.as_second() / 60)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
