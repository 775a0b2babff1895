//! What happens next to a run: a pure function of what is observed. Doing it again from the same
//! observation decides the same, so a restart at any point is harmless.

use super::contexts::{Facts, value};
use super::graph::{Graph, LIMIT_ROWS, row, rows, split_id};
use super::observed::{PodState, Progress};
use crate::expr::{Scope, Status, interpolate};
use crate::workflow::{Concurrency, Job, Read, Workflow};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use towpath_kit::kinds::{Condition, GateVerdict, JobStatus, Phase, RunStatus, Severity};
use towpath_stdx::clock::parse_rfc3339;

/// Condition that names a run's concurrency group: `message` is the group, `reason` is
/// `Holding` or `Waiting`.
pub const CONCURRENCY: &str = "Concurrency";

// A pod that has not started by then will not.
const START_LIMIT_S: u64 = 600;

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
    let mut status = begin(observed);
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
        _ => return refuse(observed, status),
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

// A fresh status for a new attempt; a re-run of what failed keeps the rest.
fn begin(observed: &Observed<'_>) -> RunStatus {
    let (facts, old) = (observed.facts, observed.status);
    let mut status = old.clone();
    if status.attempt != facts.spec.attempt {
        status = RunStatus {
            attempt: facts.spec.attempt,
            ..RunStatus::default()
        };
        if facts.spec.failed_only && old.attempt > 0 {
            status.jobs = old.jobs.clone();
            status.images = old.images.clone();
            status.gates = old.gates.iter().filter(|g| g.passed).cloned().collect();
            reset_failed(&mut status.jobs);
        }
        status.started_at = Some(observed.now.into());
    }
    status.workflow_name = facts.workflow_name.clone();
    status.title = facts
        .commit
        .message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    status.findings = observed.read.findings.clone();
    status
}

// Jobs that did not succeed run again, and those that need one that does.
fn reset_failed(jobs: &mut Vec<JobStatus>) {
    let mut again: BTreeSet<String> = jobs
        .iter()
        .filter(|j| j.phase != Phase::Succeeded)
        .map(|j| split_id(&j.id).0.to_string())
        .collect();
    loop {
        let more: Vec<String> = jobs
            .iter()
            .filter(|j| j.needs.iter().any(|n| again.contains(n)))
            .map(|j| split_id(&j.id).0.to_string())
            .filter(|id| !again.contains(id))
            .collect();
        if more.is_empty() {
            break;
        }
        again.extend(more);
    }
    // Cells that succeeded stay; a job whose needs run again is planned from the start.
    let fresh: BTreeSet<String> = jobs
        .iter()
        .filter(|j| j.needs.iter().any(|n| again.contains(n)))
        .map(|j| split_id(&j.id).0.to_string())
        .collect();
    let mut out: Vec<JobStatus> = Vec::new();
    for job in jobs.drain(..) {
        let id = split_id(&job.id).0.to_string();
        if fresh.contains(&id) {
            if !out.iter().any(|o| o.id == id) {
                out.push(JobStatus {
                    id: id.clone(),
                    name: id,
                    needs: job.needs,
                    ..JobStatus::default()
                });
            }
        } else if job.phase == Phase::Succeeded {
            out.push(job);
        } else {
            out.push(JobStatus {
                id: job.id,
                name: job.name,
                needs: job.needs,
                ..JobStatus::default()
            });
        }
    }
    *jobs = out;
}

// Nothing of a workflow with errors runs.
fn refuse(observed: &Observed<'_>, mut status: RunStatus) -> Plan {
    let errors = observed
        .read
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error);
    let first = errors.clone().next();
    let more = errors.count().saturating_sub(1);
    let place = first
        .map(|f| format!("{}:{}:{}: {}", f.file, f.line, f.column, f.message))
        .unwrap_or_default();
    status.phase = Phase::Failed;
    status.message = if more > 0 {
        format!("{place} (and {more} more)")
    } else {
        place
    };
    status.finished_at = Some(observed.now.into());
    let actions = observed
        .pods
        .keys()
        .map(|row| Action::Remove { row: row.clone() })
        .collect();
    Plan {
        status,
        actions,
        again: None,
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

    // Whether the run may go on: one run of a group at a time, in the order they were made.
    fn concurrency(&mut self, status: &mut RunStatus) -> bool {
        let Some(concurrency) = &self.workflow.concurrency else {
            return true;
        };
        let group = match self.group(concurrency, |t| self.evaluate(t)) {
            Ok((group, _)) if group.is_empty() => return true,
            Ok(found) => found,
            Err(message) => {
                status.phase = Phase::Failed;
                status.message = format!("concurrency: {message}");
                status.finished_at = Some(self.observed.now.into());
                return false;
            }
        };
        let (group, cancels) = group;
        let key = group.to_lowercase();
        let before: Vec<&Earlier> = self
            .observed
            .earlier
            .iter()
            .filter(|e| e.group.as_ref().is_none_or(|g| g.to_lowercase() == key))
            .collect();
        if before.is_empty() {
            set_condition(status, "Holding", &group, self.observed.now);
            return true;
        }
        for earlier in &before {
            let replaced = earlier.waiting && !concurrency.queue_all;
            if !self.observed.facts.spec.cancel && earlier.group.is_some() && (cancels || replaced)
            {
                self.actions.push(Action::CancelRun {
                    name: earlier.name.clone(),
                });
            }
        }
        let first = before[0];
        status.message = if first.since.is_empty() {
            format!("waits for run {} (concurrency group {group})", first.name)
        } else {
            format!(
                "waits for run {} since {} (concurrency group {group})",
                first.name, first.since
            )
        };
        if before.iter().any(|e| e.group.is_none()) {
            self.look_again(Duration::from_millis(500));
        }
        set_condition(status, "Waiting", &group, self.observed.now);
        false
    }

    fn group(
        &self,
        concurrency: &Concurrency,
        evaluate: impl Fn(&str) -> Result<String, String>,
    ) -> Result<(String, bool), String> {
        let group = evaluate(&concurrency.group)?;
        let cancels = match &concurrency.cancel_in_progress {
            Some(text) => evaluate(text)?.trim() == "true",
            None => false,
        };
        Ok((group.trim().to_string(), cancels))
    }

    // A run that is cancelled while it waits for its group has nothing to end.
    fn cancel_waiting(&mut self, status: &mut RunStatus) {
        if self.observed.facts.spec.cancel && !status.phase.is_final() {
            for job in &mut status.jobs {
                end(
                    job,
                    Phase::Cancelled,
                    "the run was cancelled before it began",
                    self.observed.now,
                );
            }
            status.phase = Phase::Cancelled;
            status.message = "cancelled while it waited".into();
            status.finished_at = Some(self.observed.now.into());
        }
    }

    // Rows with a pod: what their streams and pods say.
    fn running(&mut self, status: &mut RunStatus) {
        let (images, gates) = (&mut status.images, &mut status.gates);
        for job in status.jobs.iter_mut().filter(|j| j.phase == Phase::Running) {
            let progress = self.observed.progress.get(&job.id);
            let pod = self.observed.pods.get(&job.id);
            if let Some(progress) = progress {
                merge_steps(job, progress);
                for image in &progress.images {
                    images.retain(|i| i.name != image.name || i.tag != image.tag);
                    images.push(image.clone());
                }
                for verdict in &progress.gates {
                    push_gate(gates, verdict);
                }
                if progress.started {
                    job.message.clear();
                }
            }
            let now = self.observed.now;
            if let Some(ended) = progress.and_then(|p| p.ended.as_ref()) {
                job.outputs = ended.outputs.clone();
                let asked = self.observed.facts.spec.cancel || pod.is_none_or(|p| p.deleting);
                let message = match ended.conclusion {
                    Phase::Cancelled if !asked => format!("pod {} was told to stop", job.pod),
                    _ => ended.message.clone(),
                };
                end(job, ended.conclusion, &message, now);
                self.actions.push(Action::Remove {
                    row: job.id.clone(),
                });
                continue;
            }
            let over = progress.is_some_and(|p| p.stream_over);
            match pod {
                None => {
                    let phase = if self.observed.facts.spec.cancel {
                        Phase::Cancelled
                    } else {
                        Phase::Failed
                    };
                    end(
                        job,
                        phase,
                        &format!("pod {} was deleted before the job ended", job.pod),
                        now,
                    );
                    self.actions.push(Action::Remove {
                        row: job.id.clone(),
                    });
                }
                Some(pod) if pod.ended && (over || !pod.started) => {
                    let reason = if pod.reason.is_empty() {
                        "it ended without a result"
                    } else {
                        &pod.reason
                    };
                    let reason = describe(reason);
                    end(
                        job,
                        Phase::Failed,
                        &format!("pod {}: {reason}", job.pod),
                        now,
                    );
                    self.actions.push(Action::Remove {
                        row: job.id.clone(),
                    });
                }
                Some(pod) if !pod.started => {
                    let since = job
                        .started_at
                        .as_deref()
                        .and_then(parse_rfc3339)
                        .unwrap_or(0);
                    let waited = parse_rfc3339(now).unwrap_or(0).saturating_sub(since);
                    let reason = if pod.reason.is_empty() {
                        "is being started"
                    } else {
                        &pod.reason
                    };
                    job.message = format!("pod {}: {reason}", job.pod);
                    if waited > START_LIMIT_S {
                        let message = format!(
                            "pod {} was not started within {START_LIMIT_S} s: {reason}",
                            job.pod
                        );
                        end(job, Phase::Failed, &message, now);
                        self.actions.push(Action::Remove {
                            row: job.id.clone(),
                        });
                    } else {
                        self.again = Some(Duration::from_secs(START_LIMIT_S - waited + 1));
                    }
                }
                Some(_) => {}
            }
        }
        if self.observed.facts.spec.cancel {
            for job in status.jobs.iter().filter(|j| j.phase == Phase::Running) {
                if self.observed.pods.get(&job.id).is_some_and(|p| !p.deleting) {
                    self.actions.push(Action::Stop {
                        pod: job.pod.clone(),
                    });
                }
            }
        }
    }

    // A failed cell ends its siblings, unless the matrix says otherwise.
    fn siblings(&mut self, status: &mut RunStatus) {
        let mut stopped: Vec<(String, String)> = Vec::new();
        for job in self.workflow.jobs.iter().filter(|j| Graph::has_matrix(j)) {
            let graph = self.graph(&status.jobs);
            let cells = rows(&status.jobs, &job.id);
            let failed = cells
                .iter()
                .find(|c| c.phase == Phase::Failed && !graph.forgiven(&c.id));
            if let Some(failed) = failed.filter(|_| graph.fail_fast(job)) {
                let open = cells.iter().filter(|c| !c.phase.is_final());
                stopped.extend(open.map(|c| (c.id.clone(), failed.name.clone())));
            }
        }
        for (id, failed) in stopped {
            let Some(row) = status.jobs.iter_mut().find(|j| j.id == id) else {
                continue;
            };
            if row.phase == Phase::Queued {
                end(
                    row,
                    Phase::Cancelled,
                    &format!("{failed} failed"),
                    self.observed.now,
                );
            } else if self.observed.pods.get(&row.id).is_some_and(|p| !p.deleting) {
                row.message = format!("is stopped because {failed} failed");
                self.actions.push(Action::Stop {
                    pod: row.pod.clone(),
                });
            }
        }
    }

    // Jobs that wait: skip, expand or start. Returns whether another pass may find more to do.
    fn queued(&mut self, status: &mut RunStatus) -> bool {
        let mut changed = false;
        for job in &self.workflow.jobs {
            if !rows(&status.jobs, &job.id)
                .iter()
                .any(|r| r.phase == Phase::Queued)
            {
                continue;
            }
            let graph = self.graph(&status.jobs);
            let waits = graph.waits_for(job);
            if !waits.is_empty() {
                let message = format!("waits for {}", waits.join(", "));
                each_queued(status, &job.id, |row| row.message = message.clone());
                continue;
            }
            let wanted = graph.wanted(job);
            let plain = status
                .jobs
                .iter()
                .position(|r| r.id == job.id && r.phase == Phase::Queued);
            match wanted {
                Err(message) => {
                    each_queued(status, &job.id, |row| {
                        end(row, Phase::Failed, &message, self.observed.now)
                    });
                    changed = true;
                }
                Ok(false) => {
                    let (phase, message) = self.unwanted(status, job);
                    each_queued(status, &job.id, |row| {
                        end(row, phase, &message, self.observed.now)
                    });
                    changed = true;
                }
                Ok(true) => {
                    if let Some(at) = plain {
                        match graph.expanded(job) {
                            Err(message) => {
                                end(
                                    &mut status.jobs[at],
                                    Phase::Failed,
                                    &message,
                                    self.observed.now,
                                );
                                changed = true;
                                continue;
                            }
                            Ok(cells) if status.jobs.len() + cells.len() > LIMIT_ROWS => {
                                let message = format!("the run has more than {LIMIT_ROWS} jobs");
                                end(
                                    &mut status.jobs[at],
                                    Phase::Failed,
                                    &message,
                                    self.observed.now,
                                );
                                changed = true;
                                continue;
                            }
                            Ok(cells) => drop(status.jobs.splice(at..=at, cells)),
                        }
                    }
                    changed |= self.start(status, job);
                }
            }
        }
        changed
    }

    fn unwanted(&self, status: &RunStatus, job: &Job) -> (Phase, String) {
        if self.observed.facts.spec.cancel {
            return (Phase::Cancelled, "the run was cancelled".into());
        }
        let bad = |n: &&String| {
            rows(&status.jobs, n)
                .iter()
                .any(|r| r.phase != Phase::Succeeded)
        };
        match job.needs.iter().find(bad) {
            Some(need) => (Phase::Skipped, format!("job {need} did not succeed")),
            None => (Phase::Skipped, "its condition does not hold".into()),
        }
    }

    fn start(&mut self, status: &mut RunStatus, job: &'a Job) -> bool {
        let limit = self
            .graph(&status.jobs)
            .max_parallel(job)
            .unwrap_or(usize::MAX);
        let mut active = rows(&status.jobs, &job.id)
            .iter()
            .filter(|r| r.phase == Phase::Running)
            .count();
        let waiting: Vec<String> = rows(&status.jobs, &job.id)
            .iter()
            .filter(|r| r.phase == Phase::Queued)
            .map(|r| r.id.clone())
            .collect();
        let mut failed = false;
        for id in waiting {
            let decision = if active >= limit {
                Ok(Err(format!("waits: {limit} at a time")))
            } else {
                self.prepare(status, job, &id)
            };
            let Some(row) = status.jobs.iter_mut().find(|r| r.id == id) else {
                continue;
            };
            match decision {
                Err(message) => {
                    end(row, Phase::Failed, &message, self.observed.now);
                    failed = true;
                }
                Ok(Err(message)) => row.message = message,
                Ok(Ok(start)) => {
                    active += 1;
                    if row.steps.is_empty() {
                        row.steps = super::graph::row(job).steps;
                    }
                    row.phase = Phase::Running;
                    row.pod = pod_name(
                        &self.observed.facts.name,
                        self.observed.facts.spec.attempt,
                        &id,
                    );
                    row.message = format!("pod {} is being started", row.pod);
                    row.started_at = Some(self.observed.now.into());
                    self.actions.push(Action::Start(start));
                }
            }
        }
        failed
    }

    // A start, or what it waits for, or why it cannot be.
    fn prepare(
        &mut self,
        status: &RunStatus,
        job: &'a Job,
        id: &str,
    ) -> Result<Result<Start, String>, String> {
        let graph = self.graph(&status.jobs);
        let placed = graph.placed(id)?;
        let labels = placed.runs_on()?;
        let known = |l: &&String| self.observed.images.contains_key(*l);
        let image = labels
            .iter()
            .find(known)
            .and_then(|l| self.observed.images.get(l))
            .ok_or_else(|| {
                let all: Vec<&str> = self.observed.images.keys().map(String::as_str).collect();
                format!(
                    "no runner has the label {}; there are: {}",
                    labels.join(", "),
                    all.join(", ")
                )
            })?;
        let timeout_minutes =
            placed.number(job.timeout_minutes.as_ref(), 360.0, "timeout-minutes")?;
        let cancel_minutes = placed.number(
            job.cancel_timeout_minutes.as_ref(),
            5.0,
            "cancel-timeout-minutes",
        )?;
        let mut group = None;
        if let Some(concurrency) = &job.concurrency {
            let (name, cancels) = self
                .group(concurrency, |t| placed.text(t))
                .map_err(|e| format!("concurrency: {e}"))?;
            let key = group_key(&self.observed.facts.spec.repository, &name);
            let starting = self
                .actions
                .iter()
                .any(|a| matches!(a, Action::Start(s) if s.group.as_ref() == Some(&key)));
            if let Some(pod) = self.observed.held.get(&key) {
                if cancels {
                    self.actions.push(Action::Stop { pod: pod.clone() });
                }
                return Ok(Err(format!(
                    "waits for pod {pod} (concurrency group {name})"
                )));
            }
            if starting {
                return Ok(Err(format!("waits for concurrency group {name}")));
            }
            group = Some(key);
        }
        Ok(Ok(Start {
            row: id.to_string(),
            image: image.clone(),
            timeout_minutes,
            cancel_minutes,
            group,
        }))
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

fn each_queued(status: &mut RunStatus, id: &str, mut change: impl FnMut(&mut JobStatus)) {
    status
        .jobs
        .iter_mut()
        .filter(|r| split_id(&r.id).0 == id && r.phase == Phase::Queued)
        .for_each(&mut change);
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

fn merge_steps(job: &mut JobStatus, progress: &Progress) {
    for step in &progress.steps {
        match job.steps.iter_mut().find(|s| s.number == step.number) {
            Some(own) => {
                let name = if step.name.is_empty() {
                    own.name.clone()
                } else {
                    step.name.clone()
                };
                *own = step.clone();
                own.name = name;
            }
            None => job.steps.push(step.clone()),
        }
    }
}

fn push_gate(gates: &mut Vec<GateVerdict>, verdict: &GateVerdict) {
    if !gates.contains(verdict) {
        gates.push(verdict.clone());
    }
}

// The kernel's and the node's words, with what they mean.
fn describe(reason: &str) -> String {
    if reason.contains("OOMKilled") {
        return format!("{reason}: the job used more memory than its limit");
    }
    if reason.contains("DeadlineExceeded") {
        return format!("{reason}: the job took longer than its timeout");
    }
    reason.to_string()
}

fn set_condition(status: &mut RunStatus, reason: &str, group: &str, now: &str) {
    let word = if reason == "Holding" { "True" } else { "False" };
    let old = status
        .conditions
        .iter()
        .find(|c| c.type_ == CONCURRENCY)
        .cloned();
    let since = old
        .filter(|c| c.status == word)
        .and_then(|c| c.last_transition_time);
    status.conditions.retain(|c| c.type_ != CONCURRENCY);
    status.conditions.push(Condition {
        type_: CONCURRENCY.into(),
        status: word.into(),
        reason: reason.into(),
        message: group.into(),
        last_transition_time: Some(since.unwrap_or_else(|| now.into())),
    });
}
