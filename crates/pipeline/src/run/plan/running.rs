//! Jobs that run: what their streams and pods say, and what ends them.

use super::{Action, Planner, end};
use crate::run::graph::{Graph, rows};
use crate::run::observed::Progress;
use std::time::Duration;
use towpath_kit::kinds::{GateVerdict, JobStatus, Phase, RunStatus};
use towpath_stdx::clock::parse_rfc3339;

// A pod that has not started by then will not.
const START_LIMIT_S: u64 = 600;

impl Planner<'_> {
    // Rows with a pod: what their streams and pods say.
    pub(super) fn running(&mut self, status: &mut RunStatus) {
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
    pub(super) fn siblings(&mut self, status: &mut RunStatus) {
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
