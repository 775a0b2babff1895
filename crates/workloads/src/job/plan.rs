//! What a job needs next, and its status.
//!
//! A pod counts once: it ends → its UID is written to `uncountedTerminatedPods` → its finalizer
//! is removed → when the finalizer is seen gone, the UID turns into a count. Every step is
//! repeatable, so a crash between any two loses and doubles nothing.

use super::indexes::{self, Indexes};
use crate::{pods, time};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Finalizer that keeps an ended pod until it is counted.
pub(crate) const TRACKING: &str = "batch.kubernetes.io/job-tracking";

const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const MAX_BACKOFF: Duration = Duration::from_secs(360);
const MAX_UNCOUNTED: usize = 500;

/// What the job needs, in this order: the status, then the rest.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) status: JobStatus,
    /// Pods whose finalizer goes once the status holds them.
    pub(crate) untrack: Vec<Arc<Pod>>,
    /// Pods to delete; they count as failed.
    pub(crate) delete: Vec<Arc<Pod>>,
    /// Pods to delete without counting them: surplus, or of a suspended job.
    pub(crate) dismiss: Vec<Arc<Pod>>,
    /// Pods to make: an index each where the job is indexed.
    pub(crate) create: Vec<Option<u32>>,
    pub(crate) after: Option<Duration>,
    /// `(is warning, reason, note)`.
    pub(crate) event: Option<(bool, &'static str, String)>,
}

/// Whether a condition of the job is true.
pub(crate) fn has(status: Option<&JobStatus>, type_: &str) -> bool {
    status
        .and_then(|s| s.conditions.as_ref())
        .is_some_and(|c| c.iter().any(|c| c.type_ == type_ && c.status == "True"))
}

/// Whether the job ended for good.
pub(crate) fn is_finished(job: &Job) -> bool {
    has(job.status.as_ref(), "Complete") || has(job.status.as_ref(), "Failed")
}

/// When it ended.
pub(crate) fn finished_at(job: &Job) -> Option<&Time> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended = conditions
        .iter()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True");
    ended?.last_transition_time.as_ref()
}

fn is_tracked(pod: &Pod) -> bool {
    pod.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|f| f == TRACKING)
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Plans the next step; `owned` are all pods of the job.
pub(crate) fn plan(job: &Job, owned: &[Arc<Pod>], now: Timestamp) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let mut work = Work::start(job, &spec, owned, now);
    work.count();
    work.judge();
    work.shape();
    work.finish()
}

struct Work<'a> {
    job: &'a Job,
    spec: &'a JobSpec,
    owned: &'a [Arc<Pod>],
    now: Timestamp,
    status: JobStatus,
    uncounted: (BTreeSet<String>, BTreeSet<String>),
    indexes: Option<Indexes>,
    active: Vec<Arc<Pod>>,
    plan: Plan,
}

impl<'a> Work<'a> {
    fn start(job: &'a Job, spec: &'a JobSpec, owned: &'a [Arc<Pod>], now: Timestamp) -> Self {
        let mut status = job.status.clone().unwrap_or_default();
        let set =
            |list: Option<Vec<String>>| list.into_iter().flatten().collect::<BTreeSet<String>>();
        let uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
        let plan = Plan {
            status: JobStatus::default(),
            untrack: Vec::new(),
            delete: Vec::new(),
            dismiss: Vec::new(),
            create: Vec::new(),
            after: None,
            event: None,
        };
        if status.start_time.is_none() && !spec.suspend.unwrap_or(false) {
            status.start_time = Some(Time(now));
        }
        Self {
            job,
            spec,
            owned,
            now,
            status,
            uncounted: (set(uncounted.succeeded), set(uncounted.failed)),
            indexes: None,
            active: owned
                .iter()
                .filter(|p| pods::is_active(p))
                .cloned()
                .collect(),
            plan,
        }
    }

    // Ended pods move one step on.
    fn count(&mut self) {
        let tracked: BTreeSet<&str> = self
            .owned
            .iter()
            .filter(|p| is_tracked(p))
            .map(|p| uid(p))
            .collect();
        let flush = |waiting: &mut BTreeSet<String>, counter: &mut Option<i32>| {
            let before = waiting.len();
            waiting.retain(|uid| tracked.contains(uid.as_str()));
            let counted = i32::try_from(before - waiting.len()).unwrap_or(0);
            if counted > 0 {
                *counter = Some(counter.unwrap_or(0) + counted);
            }
        };
        flush(&mut self.uncounted.0, &mut self.status.succeeded);
        flush(&mut self.uncounted.1, &mut self.status.failed);
        let ending = is_finished(self.job) || self.job.metadata.deletion_timestamp.is_some();
        for pod in self.owned.iter().filter(|p| is_tracked(p)) {
            let ended = pods::is_terminal(pod) || pods::is_deleting(pod);
            if !ended {
                continue;
            }
            let known = self.uncounted.0.contains(uid(pod)) || self.uncounted.1.contains(uid(pod));
            if !known && !ending {
                if self.uncounted.0.len() + self.uncounted.1.len() >= MAX_UNCOUNTED {
                    break;
                }
                let list = if pods::phase(pod) == "Succeeded" {
                    &mut self.uncounted.0
                } else {
                    &mut self.uncounted.1
                };
                list.insert(uid(pod).to_string());
            }
            self.plan.untrack.push(pod.clone());
        }
        if self.spec.completion_mode.as_deref() == Some("Indexed") {
            let mut done =
                Indexes::parse(self.status.completed_indexes.as_deref().unwrap_or_default());
            for pod in self.owned.iter().filter(|p| pods::phase(p) == "Succeeded") {
                if let Some(index) = indexes::of(pod)
                    .filter(|i| i64::from(*i) < i64::from(self.spec.completions.unwrap_or(0)))
                {
                    done.insert(index);
                }
            }
            let text = done.to_string();
            self.status.completed_indexes = (!text.is_empty()).then_some(text);
            self.indexes = Some(done);
        }
    }

    fn succeeded(&self) -> i32 {
        match &self.indexes {
            Some(done) => i32::try_from(done.len()).unwrap_or(i32::MAX),
            None => {
                self.status.succeeded.unwrap_or(0)
                    + i32::try_from(self.uncounted.0.len()).unwrap_or(0)
            }
        }
    }

    fn failed(&self) -> i32 {
        self.status.failed.unwrap_or(0) + i32::try_from(self.uncounted.1.len()).unwrap_or(0)
    }

    fn deadline(&self) -> Option<Duration> {
        self.spec.active_deadline_seconds.map(time::seconds)
    }

    // Decides whether the job is won or lost; the final condition waits until no pod is left.
    fn judge(&mut self) {
        if is_finished(self.job) {
            return;
        }
        let suspended = self.spec.suspend.unwrap_or(false);
        let over = match (&self.status.start_time, self.deadline()) {
            (Some(start), Some(limit)) if !suspended => {
                time::left(start, limit, self.now).is_none()
            }
            _ => false,
        };
        if !has(Some(&self.status), "FailureTarget")
            && !has(Some(&self.status), "SuccessCriteriaMet")
        {
            let reached = match self.spec.completions {
                Some(completions) => self.succeeded() >= completions,
                None => self.succeeded() > 0 && self.active.is_empty(),
            };
            if self.failed() > self.spec.backoff_limit.unwrap_or(6) {
                let message = "Job has reached the specified backoff limit";
                self.condition("FailureTarget", "True", "BackoffLimitExceeded", message);
            } else if over {
                let message = "Job was active longer than specified deadline";
                self.condition("FailureTarget", "True", "DeadlineExceeded", message);
            } else if reached {
                let message = "Reached expected number of succeeded pods";
                self.condition("SuccessCriteriaMet", "True", "CompletionsReached", message);
            }
        }
        let still = self.owned.iter().any(|p| !pods::is_terminal(p));
        if still || !self.uncounted.0.is_empty() || !self.uncounted.1.is_empty() {
            return;
        }
        let target = self.status.conditions.iter().flatten().find(|c| {
            c.status == "True" && matches!(c.type_.as_str(), "FailureTarget" | "SuccessCriteriaMet")
        });
        if let Some(target) = target.cloned() {
            let (reason, message) = (
                target.reason.unwrap_or_default(),
                target.message.unwrap_or_default(),
            );
            if target.type_ == "FailureTarget" {
                self.condition("Failed", "True", &reason, &message);
                let reason = if reason == "DeadlineExceeded" {
                    "DeadlineExceeded"
                } else {
                    "BackoffLimitExceeded"
                };
                self.plan.event = Some((true, reason, message));
            } else {
                self.condition("Complete", "True", &reason, &message);
                self.status.completion_time = Some(Time(self.now));
                self.plan.event = Some((false, "Completed", "Job completed".into()));
            }
        }
    }

    // Makes or deletes pods so that the right number is active.
    fn shape(&mut self) {
        if self.job.metadata.deletion_timestamp.is_some()
            || is_finished(self.job)
            || has(Some(&self.status), "Complete")
            || has(Some(&self.status), "Failed")
        {
            return;
        }
        if has(Some(&self.status), "FailureTarget") || has(Some(&self.status), "SuccessCriteriaMet")
        {
            self.plan.delete = self.active.clone();
            return;
        }
        if self.spec.suspend.unwrap_or(false) {
            self.plan.dismiss = self.active.clone();
            self.status.start_time = None;
            if !has(Some(&self.status), "Suspended") {
                self.condition("Suspended", "True", "JobSuspended", "Job suspended");
                self.plan.event = Some((false, "Suspended", "Job suspended".into()));
            }
            return;
        }
        if has(Some(&self.status), "Suspended") {
            self.condition("Suspended", "False", "JobResumed", "Job resumed");
            self.status.start_time = Some(Time(self.now));
            self.plan.event = Some((false, "Resumed", "Job resumed".into()));
        }
        let wanted = self.wanted_active();
        let active = self.active.len();
        if active > wanted {
            let mut surplus = self.active.clone();
            surplus.sort_by_cached_key(|p| {
                (
                    pods::node(p).is_some(),
                    pods::is_ready(p),
                    std::cmp::Reverse(p.metadata.creation_timestamp.clone()),
                )
            });
            surplus.truncate(active - wanted);
            self.plan.dismiss = surplus;
        } else if active < wanted {
            match self.backoff() {
                Some(wait) => self.plan.after = Some(wait),
                None => self.plan.create = self.next_pods(wanted - active),
            }
        }
        if let (Some(start), Some(limit)) = (&self.status.start_time, self.deadline()) {
            self.plan.after = time::earlier(self.plan.after, time::left(start, limit, self.now));
        }
    }

    fn wanted_active(&self) -> usize {
        let parallelism = self.spec.parallelism.unwrap_or(1).max(0);
        let wanted = match self.spec.completions {
            None if self.succeeded() > 0 => {
                return self
                    .active
                    .len()
                    .min(usize::try_from(parallelism).unwrap_or(0));
            }
            None => parallelism,
            Some(completions) => (completions - self.succeeded()).clamp(0, parallelism),
        };
        usize::try_from(wanted).unwrap_or(0)
    }

    fn next_pods(&self, number: usize) -> Vec<Option<u32>> {
        let Some(done) = &self.indexes else {
            return vec![None; number];
        };
        let taken: BTreeSet<u32> = self.active.iter().filter_map(|p| indexes::of(p)).collect();
        let all = 0..u32::try_from(self.spec.completions.unwrap_or(0)).unwrap_or(0);
        all.filter(|i| !done.contains(*i) && !taken.contains(i))
            .take(number)
            .map(Some)
            .collect()
    }

    // After failures new pods wait, 10 s doubling up to 6 min, from the last failure on.
    fn backoff(&self) -> Option<Duration> {
        let ended = |p: &Arc<Pod>| {
            let statuses = p
                .status
                .as_ref()
                .and_then(|s| s.container_statuses.as_ref());
            let finish = statuses
                .into_iter()
                .flatten()
                .filter_map(|s| s.state.as_ref()?.terminated.as_ref()?.finished_at.clone())
                .max();
            finish
                .or_else(|| p.metadata.deletion_timestamp.clone())
                .or_else(|| {
                    pods::condition(p, "Ready").and_then(|c| c.last_transition_time.clone())
                })
                .or_else(|| p.metadata.creation_timestamp.clone())
        };
        let last_success = self
            .owned
            .iter()
            .filter(|p| pods::phase(p) == "Succeeded")
            .filter_map(ended)
            .max();
        let failures: Vec<Time> = self
            .owned
            .iter()
            .filter(|p| pods::phase(p) == "Failed")
            .filter_map(ended)
            .filter(|at| last_success.as_ref().is_none_or(|success| at > success))
            .collect();
        let last = failures.iter().max()?;
        let doublings = u32::try_from(failures.len().saturating_sub(1).min(16)).unwrap_or(16);
        let wait = FIRST_BACKOFF
            .saturating_mul(1 << doublings)
            .min(MAX_BACKOFF);
        time::left(last, wait, self.now)
    }

    fn condition(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let conditions = self.status.conditions.get_or_insert_default();
        conditions.retain(|c| c.type_ != type_);
        conditions.push(JobCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_probe_time: Some(Time(self.now)),
            last_transition_time: Some(Time(self.now)),
        });
    }

    fn finish(mut self) -> Plan {
        let count = |test: &dyn Fn(&Pod) -> bool| {
            i32::try_from(self.owned.iter().filter(|p| test(p)).count())
                .ok()
                .filter(|n| *n != 0)
        };
        let active = count(&pods::is_active);
        let ready = count(&|p| pods::is_active(p) && pods::is_ready(p)).or(Some(0));
        let terminating = count(&|p| pods::is_deleting(p) && !pods::is_terminal(p)).or(Some(0));
        let list = |set: &BTreeSet<String>| {
            (!set.is_empty()).then(|| set.iter().cloned().collect::<Vec<_>>())
        };
        self.status.active = active;
        self.status.ready = ready;
        self.status.terminating = terminating;
        self.status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
            succeeded: list(&self.uncounted.0),
            failed: list(&self.uncounted.1),
        });
        self.plan.status = self.status;
        self.plan
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
