//! Concurrency groups: one run or job of a group at a time, in the order they were made.

use super::{Action, CONCURRENCY, Earlier, Planner, end};
use crate::workflow::Concurrency;
use std::time::Duration;
use towpath_kit::kinds::{Condition, Phase, RunStatus};

impl Planner<'_> {
    // Whether the run may go on: one run of a group at a time, in the order they were made.
    pub(super) fn concurrency(&mut self, status: &mut RunStatus) -> bool {
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

    pub(super) fn group(
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
    pub(super) fn cancel_waiting(&mut self, status: &mut RunStatus) {
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
