//! What happens next to a run: a pure function of what is observed. Doing it again from the same
//! observation decides the same, so a restart at any point is harmless.

mod attempt;
mod concurrency;
mod queued;
mod running;

use super::contexts::{Facts, value};
use super::graph::{Graph, row};
use super::observed::{PodState, Progress};
use crate::expr::{Scope, Status, interpolate};
use crate::workflow::{Read, Workflow};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use towpath_kit::kinds::{JobStatus, Phase, RunStatus};

/// Condition that names a run's concurrency group: `message` is the group, `reason` is
/// `Holding` or `Waiting`.
pub const CONCURRENCY: &str = "Concurrency";

/// Another run of the same repository that was made earlier and has not ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Earlier {
    /// Name.
    pub name: String,
    /// Its group; `None` where it has not been planned yet.
    pub group: Option<String>,
    /// Whether it waits for its group.
    pub waiting: bool,
    /// RFC 3339 since when it runs.
    pub since: String,
}

/// Everything a plan is made from.
pub struct Observed<'a> {
    /// Facts.
    pub facts: &'a Facts,
    /// The workflow file.
    pub read: &'a Read,
    /// Status as written down.
    pub status: &'a RunStatus,
    /// By row.
    pub progress: &'a BTreeMap<String, Progress>,
    /// By row.
    pub pods: &'a BTreeMap<String, PodState>,
    /// Runs that may be in the way.
    pub earlier: &'a [Earlier],
    /// Job concurrency groups that other pods hold: key to pod.
    pub held: &'a BTreeMap<String, String>,
    /// `runs-on` label to image.
    pub images: &'a BTreeMap<String, String>,
    /// RFC 3339.
    pub now: &'a str,
}

/// A job to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Row.
    pub row: String,
    /// Image reference.
    pub image: String,
    /// Limit for the job.
    pub timeout_minutes: f64,
    /// Limit for what runs after a cancel.
    pub cancel_minutes: f64,
    /// Key of its concurrency group.
    pub group: Option<String>,
}

/// Something to do; each is idempotent.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make the pod of a row.
    Start(Start),
    /// Ask a pod to end; it gets its grace.
    Stop {
        /// Pod.
        pod: String,
    },
    /// Remove pod and secret of a row that has ended.
    Remove {
        /// Row.
        row: String,
    },
    /// Cancel another run that this one replaces.
    CancelRun {
        /// Name.
        name: String,
    },
}

/// The decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Status to write.
    pub status: RunStatus,
    /// What to do.
    pub actions: Vec<Action>,
    /// Look again after this time even if nothing happens.
    pub again: Option<Duration>,
}

/// Name of a row's pod and secret: the same for the same row of the same attempt.
pub fn pod_name(run: &str, attempt: u32, row: &str) -> String {
    let hash = towpath_stdx::id::hex(&Sha256::digest(
        format!("{run}\0{attempt}\0{row}").as_bytes(),
    ));
    let plain: String = format!("{run}-{row}")
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(50)
        .collect();
    format!("{}-{}", plain.trim_matches('-'), &hash[..8])
}

/// Key of a job concurrency group, fit for a label.
pub fn group_key(repository: &str, group: &str) -> String {
    let text = format!("{repository}\0{}", group.to_lowercase());
    towpath_stdx::id::hex(&Sha256::digest(text.as_bytes()))[..32].to_string()
}

/// Decides what happens next.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let mut status = attempt::begin(observed);
    if status.phase.is_final() {
        let actions = observed
            .pods
            .keys()
            .map(|row| Action::Remove { row: row.clone() })
            .collect();
        return Plan {
            status,
            actions,
            again: None,
        };
    }
    let workflow = match &observed.read.workflow {
        Some(workflow) if observed.read.runs() => workflow,
        _ => return attempt::refuse(observed, status),
    };
    let mut planner = Planner {
        observed,
        workflow,
        actions: Vec::new(),
        again: None,
    };
    if status.jobs.is_empty() {
        status.jobs = workflow.jobs.iter().map(row).collect();
    }
    if !planner.concurrency(&mut status) {
        planner.cancel_waiting(&mut status);
        return Plan {
            status,
            actions: planner.actions,
            again: planner.again,
        };
    }
    planner.running(&mut status);
    planner.siblings(&mut status);
    // Each pass may end jobs that others wait for; a graph of n jobs settles in n passes.
    for _ in 0..=workflow.jobs.len() {
        if !planner.queued(&mut status) {
            break;
        }
    }
    planner.conclude(&mut status);
    Plan {
        status,
        actions: planner.actions,
        again: planner.again,
    }
}

struct Planner<'a> {
    observed: &'a Observed<'a>,
    workflow: &'a Workflow,
    actions: Vec<Action>,
    again: Option<Duration>,
}

impl<'a> Planner<'a> {
    fn graph<'s>(&self, rows: &'s [JobStatus]) -> Graph<'s>
    where
        'a: 's,
    {
        Graph {
            facts: self.observed.facts,
            workflow: self.workflow,
            rows,
            cancelled: self.observed.facts.spec.cancel,
        }
    }

    fn look_again(&mut self, after: Duration) {
        self.again = Some(self.again.map_or(after, |a| a.min(after)));
    }

    fn evaluate(&self, text: &str) -> Result<String, String> {
        let contexts = value(self.observed.facts.root());
        interpolate(text, &Scope::new(&contexts, Status::default()))
    }

    // Worst of its jobs; a job that may fail does not count.
    fn conclude(&mut self, status: &mut RunStatus) {
        let graph = self.graph(&status.jobs);
        let open = status.jobs.iter().filter(|j| !j.phase.is_final()).count();
        if open > 0 {
            let started = status.jobs.iter().any(|j| j.phase != Phase::Queued);
            status.phase = if started {
                Phase::Running
            } else {
                Phase::Queued
            };
            let done = status.jobs.len() - open;
            status.message = if self.observed.facts.spec.cancel {
                "is being cancelled".into()
            } else {
                format!("{done} of {} jobs have ended", status.jobs.len())
            };
            return;
        }
        let failed = status
            .jobs
            .iter()
            .find(|j| j.phase == Phase::Failed && !graph.forgiven(&j.id));
        let cancelled = status.jobs.iter().any(|j| j.phase == Phase::Cancelled);
        let (phase, message) = match failed {
            Some(job) => (Phase::Failed, format!("job {}: {}", job.name, job.message)),
            None if cancelled => (Phase::Cancelled, "cancelled".into()),
            None if status.jobs.iter().all(|j| j.phase == Phase::Skipped) => {
                (Phase::Skipped, "every job was skipped".into())
            }
            None => (Phase::Succeeded, String::new()),
        };
        status.phase = phase;
        status.message = message;
        status.finished_at = Some(self.observed.now.into());
    }
}

fn end(job: &mut JobStatus, phase: Phase, message: &str, now: &str) {
    job.phase = phase;
    job.message = message.to_string();
    job.finished_at = Some(now.to_string());
    for step in &mut job.steps {
        match step.phase {
            Phase::Queued => step.phase = Phase::Skipped,
            Phase::Running => {
                step.phase = if phase == Phase::Succeeded {
                    Phase::Failed
                } else {
                    phase
                };
                step.finished_at = Some(now.to_string());
            }
            _ => {}
        }
    }
}
