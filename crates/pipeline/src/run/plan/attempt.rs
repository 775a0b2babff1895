//! How an attempt begins: afresh, with what a re-run keeps, or not at all.

use super::{Action, Observed, Plan};
use crate::run::graph::split_id;
use std::collections::BTreeSet;
use towpath_kit::kinds::{JobStatus, Phase, RunStatus, Severity};

// A fresh status for a new attempt; a re-run of what failed keeps the rest.
pub(super) fn begin(observed: &Observed<'_>) -> RunStatus {
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
pub(super) fn refuse(observed: &Observed<'_>, mut status: RunStatus) -> Plan {
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
