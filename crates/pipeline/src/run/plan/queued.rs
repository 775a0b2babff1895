//! Jobs that wait: skipped, expanded or started once what they need has ended.

use super::{Action, Planner, Start, end, group_key, pod_name};
use crate::run::graph::{LIMIT_ROWS, row as row_of, rows, split_id};
use crate::workflow::Job;
use towpath_kit::kinds::{JobStatus, Phase, RunStatus};

impl<'a> Planner<'a> {
    // Jobs that wait: skip, expand or start. Returns whether another pass may find more to do.
    pub(super) fn queued(&mut self, status: &mut RunStatus) -> bool {
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
                        row.steps = row_of(job).steps;
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
}

fn each_queued(status: &mut RunStatus, id: &str, mut change: impl FnMut(&mut JobStatus)) {
    status
        .jobs
        .iter_mut()
        .filter(|r| split_id(&r.id).0 == id && r.phase == Phase::Queued)
        .for_each(&mut change);
}
