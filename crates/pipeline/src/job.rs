//! What the server hands to a job's pod, and what the pod says back. One JSON file in; one JSON
//! event per line out.

use crate::workflow::{Defaults, Pairs, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use towpath_kit::kinds::{BuiltImage, Finding, GateVerdict, Phase};

/// Version of both formats.
pub const FORMAT: u32 = 1;

/// `job.json`. Holds secrets: it travels in a `Secret` and is never logged.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct JobFile {
    /// [`FORMAT`].
    pub format: u32,
    /// Namespace of the project.
    pub namespace: String,
    /// `Repository`.
    pub repository: String,
    /// `Run`.
    pub run: String,
    /// Id of the job, with `.N` for a matrix cell.
    pub job: String,
    /// Base URL of the server, as pods reach it.
    pub server: String,
    /// Job token.
    pub token: String,
    /// Evaluated contexts: `github`, `needs`, `strategy`, `matrix`, `inputs`, `vars`, `secrets`.
    pub contexts: serde_json::Value,
    /// The event, for `GITHUB_EVENT_PATH`.
    pub event: serde_json::Value,
    /// Workflow `env:`, unevaluated.
    pub workflow_env: Pairs,
    /// Job `env:`, unevaluated.
    pub env: Pairs,
    /// Job defaults over workflow defaults, unevaluated.
    pub defaults: Defaults,
    /// Steps, unevaluated.
    pub steps: Vec<Step>,
    /// `outputs:`, unevaluated.
    pub outputs: Pairs,
    /// Limit for all steps together.
    pub timeout_minutes: f64,
    /// Limit for steps that run although the job was cancelled.
    pub cancel_timeout_minutes: f64,
    /// Further texts to mask.
    pub masks: Vec<String>,
    /// Variables of the runner's environment, e.g. `PATH` and proxies.
    pub environment: BTreeMap<String, String>,
    /// Most bytes that the job may have on disk; 0 for no limit.
    #[serde(default)]
    pub disk_bytes: u64,
    /// Most processes and threads that the job may have; 0 for no limit.
    #[serde(default)]
    pub processes: u64,
    /// Commit's time, for reproducible builds.
    #[serde(default)]
    pub commit_time: Option<i64>,
}

/// One event with its number; numbers grow by one, so that a reader can resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// 1-based.
    pub n: u64,
    /// RFC 3339.
    pub t: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a job reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// The runner has read its job.
    Started,
    /// A step begins.
    StepStarted {
        /// 1-based.
        step: u32,
        /// Evaluated name.
        name: String,
    },
    /// A line of a step's log, masked.
    Log {
        /// Step.
        step: u32,
        /// 1-based line of the step's log.
        line: u64,
        /// Without line end.
        text: String,
    },
    /// An error, warning or notice.
    Annotation {
        /// Step.
        step: u32,
        /// Line of the log it stands on.
        line: u64,
        /// What.
        finding: Finding,
    },
    /// A step ended.
    StepEnded {
        /// Step.
        step: u32,
        /// After `continue-on-error`.
        conclusion: Phase,
        /// Of a command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
    },
    /// An image was pushed.
    Image {
        /// Which.
        image: BuiltImage,
    },
    /// A gate gave its verdict.
    Gate {
        /// Verdict.
        verdict: GateVerdict,
    },
    /// Nothing more will come.
    Ended {
        /// Succeeded, Failed or Cancelled.
        conclusion: Phase,
        /// One sentence where it did not end well.
        message: String,
        /// `outputs:`, evaluated.
        outputs: BTreeMap<String, String>,
    },
}
