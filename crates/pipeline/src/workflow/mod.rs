//! Workflow files: text → positioned YAML → findings along the grammar's tables → model.

pub mod builtin;
mod check;
mod contexts;
mod expressions;
mod grammar;
mod jobs;
mod model;
mod read;
mod triggers;

pub use model::{Concurrency, Defaults, Input, Job, Pairs, Step, Strategy, Trigger, Workflow};

use crate::yaml;
use towpath_kit::kinds::{Finding, Severity};

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Best effort where there are errors; absent where the text is not YAML at all.
    pub workflow: Option<Workflow>,
    /// What is wrong, in order of place.
    pub findings: Vec<Finding>,
}

impl Read {
    /// Whether nothing stops the workflow from running.
    pub fn runs(&self) -> bool {
        self.workflow.is_some() && !self.findings.iter().any(|f| f.severity == Severity::Error)
    }
}

/// Reads and checks one file.
pub fn read(path: &str, content: &[u8]) -> Read {
    let one = |at, rule: &str, message: String, hint: &str| Read {
        workflow: None,
        findings: vec![check::finding(
            Severity::Error,
            path,
            at,
            rule,
            message,
            hint,
        )],
    };
    let start = yaml::Place { line: 1, column: 1 };
    if content.len() > yaml::LIMIT_BYTES {
        let message = format!(
            "the file has {} bytes, more than {}",
            content.len(),
            yaml::LIMIT_BYTES
        );
        return one(start, "too-large", message, "split the workflow");
    }
    let source = match std::str::from_utf8(content) {
        Ok(source) => source,
        Err(error) => {
            let line = content[..error.valid_up_to()]
                .iter()
                .filter(|b| **b == b'\n')
                .count() as u32
                + 1;
            let at = yaml::Place { line, column: 1 };
            return one(at, "encoding", "the file is not UTF-8".into(), "");
        }
    };
    match yaml::read(source) {
        Err(problem) => one(
            problem.at,
            "yaml",
            format!("not valid YAML: {}", problem.message),
            "",
        ),
        Ok(node) => Read {
            findings: check::check(path, source, &node),
            workflow: Some(read::workflow(&node)),
        },
    }
}
