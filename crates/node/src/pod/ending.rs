//! How a container ended, and its last words.

use super::container::{Outcome, Task};
use super::model::{Ended, instant};
use super::start::{container_id, termination_log};
use k8s_openapi::jiff::Timestamp;
use std::path::Path;
use std::time::Duration;
use towpath_container::{Record, log};

const MESSAGE_BYTES: usize = 4096;

impl Task {
    /// What the runtime's last record says.
    pub(super) fn outcome(&self, attempt: u32, record: &Record) -> Outcome {
        let exit = record.exit.unwrap_or_default();
        let (started, finished) = (
            instant(record.started_at.as_ref()),
            instant(record.finished_at.as_ref()),
        );
        let id = container_id(&self.handle.uid, self.name(), attempt);
        let ended = match &record.error {
            Some(error) => Ended {
                exit_code: 128,
                signal: 0,
                reason: "StartError".into(),
                message: error.message.clone(),
                started: finished,
                finished,
                id,
            },
            None => {
                let reason = match (exit.oom, exit.code) {
                    (true, _) => "OOMKilled",
                    (false, 0) => "Completed",
                    (false, _) => "Error",
                };
                let message = self.last_words(attempt, exit.code);
                Ended {
                    exit_code: exit.code,
                    signal: 0,
                    reason: reason.into(),
                    message,
                    started,
                    finished,
                    id,
                }
            }
        };
        Outcome {
            ended,
            ran: elapsed(started, finished),
            attempt,
        }
    }

    fn last_words(&self, attempt: u32, code: i32) -> String {
        let file = termination_log(&self.agent, &self.handle.uid, self.name(), attempt);
        let said = towpath_stdx::bounded::read_file(&file, 1 << 20).unwrap_or_default();
        if !said.is_empty() {
            return String::from_utf8_lossy(&said[..said.len().min(MESSAGE_BYTES)]).into_owned();
        }
        if code != 0
            && self.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
        {
            return log_tail(&self.agent.log_file(&self.handle.uid, self.name(), attempt));
        }
        String::new()
    }
}

/// Time between two instants; none where one is not known.
pub(super) fn elapsed(from: Option<Timestamp>, to: Option<Timestamp>) -> Duration {
    match (from, to) {
        (Some(from), Some(to)) => Duration::try_from(to.duration_since(from)).unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

// The last lines of a log, as upstream cuts them: 80 lines, 2048 bytes.
fn log_tail(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let mut lines: Vec<String> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(log::parse_line)
        .map(|line| String::from_utf8_lossy(line.text).into_owned())
        .collect();
    lines.drain(..lines.len().saturating_sub(80));
    let text = lines.join("\n");
    let cut = (0..=text.len())
        .find(|at| text.is_char_boundary(*at) && text.len() - at <= 2048)
        .unwrap_or(0);
    text[cut..].to_string()
}
