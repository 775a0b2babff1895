//! What a run looks like from outside: its pods and what their logs said so far.

use crate::job::Event;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use towpath_kit::kinds::{BuiltImage, Finding, GateVerdict, Phase, Severity, StepStatus};

const LIMIT_STEPS: usize = 2000;
const LIMIT_ANNOTATIONS: usize = 20;

/// A pod, as far as it matters for its job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Name.
    pub name: String,
    /// Its container has started at some time.
    pub started: bool,
    /// Nothing in it runs any more.
    pub ended: bool,
    /// Someone asked for its end.
    pub deleting: bool,
    /// Why it waits or ended: `ImagePullBackOff: …`, `OOMKilled`, `Evicted: …`.
    pub reason: String,
}

impl PodState {
    /// Reads a pod.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let container = status
            .and_then(|s| s.container_statuses.as_ref())
            .and_then(|c| c.first());
        let state = container.and_then(|c| c.state.as_ref());
        let waiting = state.and_then(|s| s.waiting.as_ref());
        let terminated = state.and_then(|s| s.terminated.as_ref());
        let running = state.and_then(|s| s.running.as_ref()).is_some();
        let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or("Pending");
        let join = |reason: Option<&String>, message: Option<&String>| match (reason, message) {
            (Some(r), Some(m)) if !m.is_empty() => format!("{r}: {m}"),
            (Some(r), _) => r.clone(),
            (None, m) => m.cloned().unwrap_or_default(),
        };
        let unscheduled = || {
            let conditions = status.and_then(|s| s.conditions.as_ref())?;
            let condition = conditions
                .iter()
                .find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
            Some(join(condition.reason.as_ref(), condition.message.as_ref()))
        };
        let pod_reason = join(
            status.and_then(|s| s.reason.as_ref()),
            status.and_then(|s| s.message.as_ref()),
        );
        let reason = if let Some(terminated) = terminated.filter(|t| t.exit_code != 0) {
            let own = join(terminated.reason.as_ref(), terminated.message.as_ref());
            let own = if own.is_empty() || own == "Error" {
                format!("exit code {}", terminated.exit_code)
            } else {
                own
            };
            if pod_reason.is_empty() {
                own
            } else {
                format!("{pod_reason}, {own}")
            }
        } else if let Some(waiting) = waiting {
            join(waiting.reason.as_ref(), waiting.message.as_ref())
        } else if !pod_reason.is_empty() {
            pod_reason
        } else {
            unscheduled().unwrap_or_default()
        };
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            started: running || terminated.is_some(),
            ended: matches!(phase, "Succeeded" | "Failed"),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            reason,
        }
    }
}

/// How a job ended by its own account.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Succeeded, Failed or Cancelled.
    pub conclusion: Phase,
    /// Sentence.
    pub message: String,
    /// Outputs.
    pub outputs: BTreeMap<String, String>,
}

/// What a job's event stream said so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The runner reads its job.
    pub started: bool,
    /// Steps, as far as they have begun.
    pub steps: Vec<StepStatus>,
    /// Images pushed.
    pub images: Vec<BuiltImage>,
    /// Verdicts.
    pub gates: Vec<GateVerdict>,
    /// Its last word.
    pub ended: Option<Ended>,
    /// The stream will say no more.
    pub stream_over: bool,
    /// Number of the last event taken.
    pub last: u64,
}

impl Progress {
    /// Starts from what was written down before.
    pub fn resume(steps: &[StepStatus]) -> Self {
        Self {
            steps: steps.to_vec(),
            ..Self::default()
        }
    }

    fn step(&mut self, number: u32) -> Option<&mut StepStatus> {
        let at = self.steps.iter().position(|s| s.number == number);
        match at {
            Some(at) => self.steps.get_mut(at),
            None if self.steps.len() < LIMIT_STEPS => {
                self.steps.push(StepStatus {
                    number,
                    ..StepStatus::default()
                });
                self.steps.last_mut()
            }
            None => None,
        }
    }

    /// Takes an event; returns whether the run's status changes by it. Events of steps that have
    /// ended are old: the stream is read from its start after a restart.
    pub fn take(&mut self, number: u64, time: &str, event: &Event) -> bool {
        if number <= self.last {
            return false;
        }
        self.last = number;
        match event {
            Event::Started => self.started = true,
            Event::StepStarted { step, name } => {
                let Some(step) = self.step(*step).filter(|s| !s.phase.is_final()) else {
                    return false;
                };
                step.name = name.clone();
                step.phase = Phase::Running;
                step.started_at = Some(time.into());
                step.annotations.clear();
            }
            Event::Log { step, line, .. } => {
                if let Some(step) = self.step(*step) {
                    step.log_lines = step.log_lines.max(*line);
                }
                return false;
            }
            Event::Annotation {
                step,
                line,
                finding,
            } => {
                let Some(step) = self.step(*step).filter(|s| !s.phase.is_final()) else {
                    return false;
                };
                annotate(step, *line, finding);
            }
            Event::StepEnded {
                step,
                conclusion,
                exit_code,
            } => {
                let Some(step) = self.step(*step).filter(|s| !s.phase.is_final()) else {
                    return false;
                };
                step.phase = *conclusion;
                step.exit_code = *exit_code;
                step.finished_at = (*conclusion != Phase::Skipped).then(|| time.into());
            }
            Event::Image { image } => {
                if !self.images.contains(image) {
                    self.images.push(image.clone());
                }
            }
            Event::Gate { verdict } => {
                if !self.gates.contains(verdict) {
                    self.gates.push(verdict.clone());
                }
            }
            Event::Ended {
                conclusion,
                message,
                outputs,
            } => {
                let ended = Ended {
                    conclusion: *conclusion,
                    message: message.clone(),
                    outputs: outputs.clone(),
                };
                self.ended = Some(ended);
            }
        }
        true
    }
}

fn annotate(step: &mut StepStatus, line: u64, finding: &Finding) {
    if finding.severity == Severity::Error && step.first_error_line.is_none() {
        step.first_error_line = Some(line);
    }
    if step.annotations.len() < LIMIT_ANNOTATIONS {
        step.annotations.push(finding.clone());
    }
}
