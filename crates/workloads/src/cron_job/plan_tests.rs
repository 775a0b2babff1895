//! Cron jobs at their times and beyond them.

use super::*;
use serde_json::{Value, json};

fn time(text: &str) -> Timestamp {
    text.parse().expect("time")
}

fn cron(spec: Value, status: Value) -> CronJob {
    let mut whole = json!({"schedule": "*/10 * * * *", "jobTemplate": {},
        "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1});
    for (key, value) in spec.as_object().expect("spec") {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "metadata": {"name": "c", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": whole, "status": status,
    }))
    .expect("cron job")
}

fn job(name: &str, condition: Option<(&str, &str)>) -> Arc<Job> {
    let conditions: Vec<Value> = condition
        .iter()
        .map(|(type_, at)| json!({"type": type_, "status": "True", "lastTransitionTime": at}))
        .collect();
    let ended = condition.map(|(_, at)| at);
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}")},
            "status": {"conditions": conditions, "startTime": ended, "completionTime": ended},
        }))
        .expect("job"),
    )
}

fn look(cron: &CronJob, owned: &[Arc<Job>], now: &str) -> Plan {
    plan(cron, owned, time(now), |name| {
        (name == "Here").then_some(TimeZone::UTC)
    })
}

fn reasons(plan: &Plan) -> Vec<&'static str> {
    plan.events.iter().map(|(_, reason, _)| *reason).collect()
}

#[test]
fn a_job_is_due_once_at_its_time() {
    let cron = cron(json!({}), json!({}));
    let early = look(&cron, &[], "2026-01-01T00:09:59Z");
    assert_eq!(early.start, None);
    assert!(early.after.is_some_and(|d| d < Duration::from_millis(1200)));
    let due = look(&cron, &[], "2026-01-01T00:10:01Z");
    assert_eq!(due.start, Some(time("2026-01-01T00:10:00Z")));
    let made = job(&job_name(&cron, time("2026-01-01T00:10:00Z")), None);
    let again = look(&cron, &[made], "2026-01-01T00:10:02Z");
    assert_eq!(again.start, None);
    assert_eq!(again.status.active.map(|a| a.len()), Some(1));
    assert_eq!(
        again.status.last_schedule_time.map(|t| t.0),
        Some(time("2026-01-01T00:10:00Z"))
    );
}

#[test]
fn one_that_ended_before_its_time_was_noted_is_not_made_again() {
    let last = json!({"lastScheduleTime": "2026-01-01T00:10:00Z"});
    let cron = cron(json!({}), last);
    assert_eq!(look(&cron, &[], "2026-01-01T00:10:30Z").start, None);
}

#[test]
fn policies_decide_about_what_still_runs() {
    let running = [job("c-1", None)];
    let at = "2026-01-01T00:10:01Z";
    let forbid = look(
        &cron(json!({"concurrencyPolicy": "Forbid"}), json!({})),
        &running,
        at,
    );
    assert_eq!(
        (forbid.start, reasons(&forbid)),
        (None, vec!["JobAlreadyActive"])
    );
    let replace = look(
        &cron(json!({"concurrencyPolicy": "Replace"}), json!({})),
        &running,
        at,
    );
    assert!(replace.start.is_some());
    assert_eq!(replace.replace.len(), 1);
    let allow = look(&cron(json!({}), json!({})), &running, at);
    assert!(allow.start.is_some() && allow.replace.is_empty());
}

#[test]
fn a_missed_time_starts_late_unless_its_deadline_is_over() {
    let now = "2026-01-01T00:15:00Z";
    let late = look(&cron(json!({}), json!({})), &[], now);
    assert_eq!(late.start, Some(time("2026-01-01T00:10:00Z")));
    let over = look(
        &cron(json!({"startingDeadlineSeconds": 60}), json!({})),
        &[],
        now,
    );
    assert_eq!(over.start, None);
}

#[test]
fn suspended_ones_and_wrong_zones_start_nothing() {
    let at = "2026-01-01T00:10:01Z";
    let suspended = look(&cron(json!({"suspend": true}), json!({})), &[], at);
    assert_eq!((suspended.start, suspended.after), (None, None));
    let lost = look(&cron(json!({"timeZone": "Nowhere"}), json!({})), &[], at);
    assert_eq!(
        (lost.start, reasons(&lost)),
        (None, vec!["UnknownTimeZone"])
    );
    // The whole table is there, wherever this runs.
    assert!(TimeZone::get("Europe/Amsterdam").is_ok() && TimeZone::get("Etc/UTC").is_ok());
    let here = look(&cron(json!({"timeZone": "Here"}), json!({})), &[], at);
    assert!(here.start.is_some());
}

#[test]
fn ended_jobs_are_noted_and_only_the_youngest_kept() {
    let ended: Vec<Arc<Job>> = (1..=5)
        .map(|n| {
            let at = format!("2026-01-01T00:0{n}:00Z");
            job(&format!("c-{n}"), Some(("Complete", &at)))
        })
        .chain([
            job("f-1", Some(("Failed", "2026-01-01T00:01:00Z"))),
            job("f-2", Some(("Failed", "2026-01-01T00:02:00Z"))),
        ])
        .collect();
    let was = json!({"active": [
        {"kind": "Job", "name": "c-5", "uid": "uid-c-5"},
        {"kind": "Job", "name": "gone", "uid": "uid-gone"},
    ]});
    let plan = look(&cron(json!({}), was), &ended, "2026-01-01T00:06:00Z");
    let mut gone: Vec<&str> = plan.forget.iter().map(|j| name(&j.metadata)).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["c-1", "c-2", "f-1"]);
    assert_eq!(reasons(&plan), ["SawCompletedJob", "MissingJob"]);
    assert_eq!(plan.status.active, None);
    assert_eq!(
        plan.status.last_successful_time.map(|t| t.0),
        Some(time("2026-01-01T00:05:00Z"))
    );
}
