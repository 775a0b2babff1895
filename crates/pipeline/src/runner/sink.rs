//! The job's event stream: numbered, masked, one JSON object per line.

use crate::job::{Event, Line};
use crate::mask::Masker;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use towpath_kit::kinds::{Finding, Severity};
use towpath_stdx::{Clock, SystemClock};

// Container logs cut lines at 16 KiB; a log line with its JSON around it stays below.
const LIMIT_PIECE_BYTES: usize = 4000;
const LIMIT_ANNOTATIONS: u32 = 50;
const LIMIT_MESSAGE_CHARS: usize = 1000;

struct State {
    out: Box<dyn Write + Send>,
    number: u64,
    lines: BTreeMap<u32, u64>,
    annotations: BTreeMap<u32, u32>,
    masker: Masker,
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sink(Arc<Mutex<State>>);

impl Sink {
    pub(super) fn new(out: Box<dyn Write + Send>, masker: Masker) -> Self {
        let state = State {
            out,
            number: 0,
            lines: BTreeMap::new(),
            annotations: BTreeMap::new(),
            masker,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Sends an event whose texts hold nothing to mask, or are masked already.
    pub(super) fn event(&self, event: Event) {
        self.0.lock().send(event);
    }

    /// Logs a text of a step, masked, line by line.
    pub(super) fn log(&self, step: u32, text: &str) {
        let mut state = self.0.lock();
        for line in text.split('\n') {
            let masked = state
                .masker
                .mask_text(line.strip_suffix('\r').unwrap_or(line));
            state.log(step, &masked);
        }
    }

    /// Logs text that is masked already.
    pub(super) fn log_masked(&self, step: u32, text: &str) {
        self.0.lock().log(step, text);
    }

    /// Reports an error, warning or notice at the log's end.
    pub(super) fn annotate(&self, step: u32, mut finding: Finding) {
        let mut state = self.0.lock();
        finding.message = state
            .masker
            .mask_text(&finding.message)
            .chars()
            .take(LIMIT_MESSAGE_CHARS)
            .collect();
        finding.file = state.masker.mask_text(&finding.file);
        let count = state.annotations.entry(step).or_insert(0);
        *count += 1;
        if *count <= LIMIT_ANNOTATIONS {
            let line = state.lines.get(&step).copied().unwrap_or(0);
            state.send(Event::Annotation {
                step,
                line,
                finding,
            });
        }
    }

    /// Logs and reports an error.
    pub(super) fn error(&self, step: u32, message: &str) {
        self.log(step, &format!("##[error]{message}"));
        self.annotate(step, simple(Severity::Error, message));
    }

    /// Logs and reports a warning.
    pub(super) fn warning(&self, step: u32, message: &str) {
        self.log(step, &format!("##[warning]{message}"));
        self.annotate(step, simple(Severity::Warning, message));
    }

    pub(super) fn add_mask(&self, value: &str) {
        self.0.lock().masker.add(value);
    }

    /// A copy of the present masks.
    pub(super) fn masker(&self) -> Masker {
        self.0.lock().masker.clone()
    }

    pub(super) fn mask_text(&self, text: &str) -> String {
        self.0.lock().masker.mask_text(text)
    }
}

fn simple(severity: Severity, message: &str) -> Finding {
    Finding {
        severity,
        rule: "step".into(),
        message: message.into(),
        ..Finding::default()
    }
}

impl State {
    fn send(&mut self, event: Event) {
        self.number += 1;
        let line = Line {
            n: self.number,
            t: SystemClock.rfc3339(),
            event,
        };
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            // A log that cannot be written has no reader left; the exit code still counts.
            let _ = self.out.write_all(&text);
            let _ = self.out.flush();
        }
    }

    fn log(&mut self, step: u32, text: &str) {
        let mut rest = text;
        loop {
            let cut = if rest.len() <= LIMIT_PIECE_BYTES {
                rest.len()
            } else {
                (0..=LIMIT_PIECE_BYTES)
                    .rev()
                    .find(|&i| rest.is_char_boundary(i))
                    .unwrap_or(rest.len())
            };
            let line = self.lines.entry(step).or_insert(0);
            *line += 1;
            let line = *line;
            self.send(Event::Log {
                step,
                line,
                text: rest[..cut].to_string(),
            });
            rest = &rest[cut..];
            if rest.is_empty() {
                return;
            }
        }
    }
}
