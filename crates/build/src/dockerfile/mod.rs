//! The Dockerfile language: bytes to instructions with places; pure.
//!
//! * [`lines`]: physical lines to logical ones: directives, comments, continuations, heredocs.
//! * [`words`]: quoting, and the ways a value may be written.
//! * [`expand`]: `$name` and all forms of `${name…}`.
//! * [`instruction`]: logical lines to typed instructions.
//! * [`mounts`]: `RUN --mount=…`.
//! * [`stages`]: which stages a target needs, and where names lead.
//!
//! Nothing stops at the first mistake: findings are collected, each with line and column.

pub(crate) mod expand;
pub(crate) mod instruction;
pub(crate) mod lines;
pub(crate) mod mounts;
pub(crate) mod stages;
pub(crate) mod words;

use towpath_kit::kinds::{Finding, Severity};

pub(crate) use instruction::{Command, Copy, Instruction, Op, Place, Run};
pub(crate) use stages::Plan;

/// Largest Dockerfile read, bytes.
pub(crate) const FILE_BYTES: usize = 1 << 20;
/// Most instructions, those of heredocs and `ONBUILD` not counted.
pub(crate) const INSTRUCTIONS: usize = 5_000;

/// Findings of one file.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) file: String,
    pub(crate) all: Vec<Finding>,
}

const FINDINGS: usize = 200;

impl Findings {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            all: Vec::new(),
        }
    }

    pub(crate) fn error(&mut self, place: Place, rule: &str, message: impl Into<String>) {
        self.add(Severity::Error, place, rule, message.into(), "");
    }

    pub(crate) fn warning(
        &mut self,
        place: Place,
        rule: &str,
        message: impl Into<String>,
        hint: &str,
    ) {
        self.add(Severity::Warning, place, rule, message.into(), hint);
    }

    fn add(&mut self, severity: Severity, place: Place, rule: &str, message: String, hint: &str) {
        if self.all.len() < FINDINGS {
            self.all.push(Finding {
                severity,
                rule: format!("dockerfile/{rule}"),
                message,
                file: self.file.clone(),
                line: place.line,
                column: place.column,
                hint: hint.into(),
            });
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.all
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }
}

/// A parsed file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) escape: char,
    pub(crate) instructions: Vec<Instruction>,
}

/// Reads a file; what is wrong with it is in `findings`.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> File {
    let split = lines::split(text, findings);
    let instructions = split
        .lines
        .iter()
        .filter_map(|line| instruction::parse(line, split.escape, findings))
        .collect();
    File {
        escape: split.escape,
        instructions,
    }
}
