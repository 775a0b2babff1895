//! Jobs and what makes them on a schedule.

use super::show::{Row, Show, flag, name, namespace};
use crate::family::Kind::Gauge;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobStatus};
use k8s_openapi::jiff::tz::TimeZone;
use towpath_api::cron;

pub(super) fn job(object: &Job) -> Vec<(&'static str, &str)> {
    vec![
        ("namespace", namespace(&object.metadata)),
        ("job_name", name(&object.metadata)),
    ]
}

pub(super) fn cron_job(object: &CronJob) -> Vec<(&'static str, &str)> {
    vec![
        ("namespace", namespace(&object.metadata)),
        ("cronjob", name(&object.metadata)),
    ]
}

const REASONS: [&str; 3] = ["BackoffLimitExceeded", "DeadlineExceeded", "Evicted"];

fn spec<N: Into<f64>>(job: &Job, show: &mut Show<'_>, get: fn(&JobSpec) -> Option<N>) {
    show.maybe(job.spec.as_ref().and_then(get));
}

fn count(job: &Job, get: fn(&JobStatus) -> Option<i32>) -> f64 {
    f64::from(job.status.as_ref().and_then(get).unwrap_or(0))
}

fn condition(job: &Job, show: &mut Show<'_>, kind: &str) {
    let conditions = job
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    for condition in conditions.filter(|c| c.type_ == kind) {
        show.status(&[], "condition", &condition.status);
    }
}

fn failed(job: &Job, show: &mut Show<'_>) {
    let failed = count(job, |s| s.failed);
    if failed == 0.0 {
        return show.value(0.0);
    }
    let mut known = false;
    let conditions = job
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    for condition in conditions.filter(|c| c.type_ == "Failed") {
        for reason in REASONS {
            let it = condition.reason.as_deref() == Some(reason);
            known |= it;
            show.put(&[("reason", reason)], flag(it));
        }
    }
    if !known {
        show.put(&[("reason", "")], failed);
    }
}

pub(super) const JOBS: &[Row<Job>] = &[
    ("kube_job_info", Gauge, "Information about job.", |_, s| {
        s.value(1.0)
    }),
    (
        "kube_job_owner",
        Gauge,
        "Information about the Job's owner.",
        |j, s| {
            s.owners(j.metadata.owner_references.as_ref(), true);
        },
    ),
    (
        "kube_job_spec_parallelism",
        Gauge,
        "The maximum desired number of pods the job should run at any given time.",
        |j, s| spec(j, s, |spec| spec.parallelism),
    ),
    (
        "kube_job_spec_completions",
        Gauge,
        "The desired number of successfully finished pods the job should be run with.",
        |j, s| spec(j, s, |spec| spec.completions),
    ),
    (
        "kube_job_spec_active_deadline_seconds",
        Gauge,
        "The duration in seconds relative to the startTime that the job may be active before the system tries to terminate it.",
        |j, s| spec(j, s, |spec| spec.active_deadline_seconds.map(|n| n as f64)),
    ),
    (
        "kube_job_status_succeeded",
        Gauge,
        "The number of pods which reached Phase Succeeded.",
        |j, s| s.value(count(j, |t| t.succeeded)),
    ),
    (
        "kube_job_status_failed",
        Gauge,
        "The number of pods which reached Phase Failed and the reason for failure.",
        failed,
    ),
    (
        "kube_job_status_active",
        Gauge,
        "The number of actively running pods.",
        |j, s| s.value(count(j, |t| t.active)),
    ),
    (
        "kube_job_status_ready",
        Gauge,
        "The number of ready pods that belong to this Job.",
        |j, s| s.value(count(j, |t| t.ready)),
    ),
    (
        "kube_job_complete",
        Gauge,
        "The job has completed its execution.",
        |j, s| condition(j, s, "Complete"),
    ),
    (
        "kube_job_failed",
        Gauge,
        "The job has failed its execution.",
        |j, s| condition(j, s, "Failed"),
    ),
    (
        "kube_job_status_start_time",
        Gauge,
        "StartTime represents time when the job was acknowledged by the Job Manager.",
        |j, s| {
            s.time(j.status.as_ref().and_then(|t| t.start_time.as_ref()));
        },
    ),
    (
        "kube_job_status_completion_time",
        Gauge,
        "CompletionTime represents time when the job was completed.",
        |j, s| {
            s.time(j.status.as_ref().and_then(|t| t.completion_time.as_ref()));
        },
    ),
    (
        "kube_job_status_suspended",
        Gauge,
        "The number of pods which reached Phase Suspended.",
        |j, s| {
            let conditions = j.status.iter().flat_map(|t| t.conditions.iter().flatten());
            for condition in conditions.filter(|c| c.type_ == "Suspended") {
                s.value(flag(condition.status == "True"));
            }
        },
    ),
];

fn of<N: Into<f64>>(cron: &CronJob, show: &mut Show<'_>, get: fn(&CronJobSpec) -> Option<N>) {
    show.maybe(get(&cron.spec));
}

fn next_time(cron: &CronJob, show: &mut Show<'_>) {
    let spec = &cron.spec;
    if spec.suspend == Some(true) {
        return;
    }
    let last = cron
        .status
        .as_ref()
        .and_then(|s| s.last_schedule_time.as_ref());
    let from = last.or(cron.metadata.creation_timestamp.as_ref());
    let zone = match &spec.time_zone {
        Some(name) => TimeZone::get(name).ok(),
        None => Some(TimeZone::UTC),
    };
    if let (Some(from), Some(zone), Ok(schedule)) = (from, zone, cron::parse(&spec.schedule)) {
        show.maybe(schedule.next(from.0, &zone).map(|at| at.as_second() as f64));
    }
}

pub(super) const CRON_JOBS: &[Row<CronJob>] = &[
    ("kube_cronjob_info", Gauge, "Info about cronjob.", |c, s| {
        let spec = &c.spec;
        s.info(&[
            ("schedule", &spec.schedule),
            (
                "concurrency_policy",
                spec.concurrency_policy.as_deref().unwrap_or_default(),
            ),
            ("timezone", spec.time_zone.as_deref().unwrap_or("local")),
        ]);
    }),
    (
        "kube_cronjob_status_active",
        Gauge,
        "Active holds pointers to currently running jobs.",
        |c, s| {
            let active = c.status.as_ref().and_then(|t| t.active.as_ref());
            s.value(active.map_or(0.0, |active| active.len() as f64));
        },
    ),
    (
        "kube_cronjob_status_last_schedule_time",
        Gauge,
        "LastScheduleTime keeps information of when was the last time the job was successfully scheduled.",
        |c, s| {
            s.time(
                c.status
                    .as_ref()
                    .and_then(|t| t.last_schedule_time.as_ref()),
            );
        },
    ),
    (
        "kube_cronjob_status_last_successful_time",
        Gauge,
        "LastSuccessfulTime keeps information of when was the last time the job was completed successfully.",
        |c, s| {
            s.time(
                c.status
                    .as_ref()
                    .and_then(|t| t.last_successful_time.as_ref()),
            );
        },
    ),
    (
        "kube_cronjob_spec_suspend",
        Gauge,
        "Suspend flag tells the controller to suspend subsequent executions.",
        |c, s| of(c, s, |spec| spec.suspend.map(flag)),
    ),
    (
        "kube_cronjob_spec_starting_deadline_seconds",
        Gauge,
        "Deadline in seconds for starting the job if it misses scheduled time for any reason.",
        |c, s| {
            of(c, s, |spec| {
                spec.starting_deadline_seconds.map(|n| n as f64)
            })
        },
    ),
    (
        "kube_cronjob_next_schedule_time",
        Gauge,
        "Next time the cronjob should be scheduled. The time after lastScheduleTime, or after the cron job's creation time if it's never been scheduled. Use this to determine if the job is delayed.",
        next_time,
    ),
    (
        "kube_cronjob_metadata_resource_version",
        Gauge,
        "Resource version representing a specific version of the cronjob.",
        |c, s| version(s, c.metadata.resource_version.as_deref()),
    ),
    (
        "kube_cronjob_spec_successful_job_history_limit",
        Gauge,
        "Successful job history limit tells the controller how many completed jobs should be preserved.",
        |c, s| of(c, s, |spec| spec.successful_jobs_history_limit),
    ),
    (
        "kube_cronjob_spec_failed_job_history_limit",
        Gauge,
        "Failed job history limit tells the controller how many failed jobs should be preserved.",
        |c, s| of(c, s, |spec| spec.failed_jobs_history_limit),
    ),
];

pub(super) fn version(show: &mut Show<'_>, version: Option<&str>) {
    show.maybe(version.and_then(|version| version.parse::<f64>().ok()));
}
