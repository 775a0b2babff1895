//! A workflow as data, after its file was found free of errors. Texts keep their expressions:
//! they are evaluated where their contexts are known.

use serde::{Deserialize, Serialize};

/// Names with texts, in the order of the file.
pub type Pairs = Vec<(String, String)>;

/// One file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workflow {
    /// `name:`.
    pub name: Option<String>,
    /// `run-name:`.
    pub run_name: Option<String>,
    /// `on:`.
    pub triggers: Vec<Trigger>,
    /// `env:`.
    pub env: Pairs,
    /// `defaults.run`.
    pub defaults: Defaults,
    /// `concurrency:`.
    pub concurrency: Option<Concurrency>,
    /// `jobs:`, in order.
    pub jobs: Vec<Job>,
}

/// One event under `on:`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trigger {
    /// `push`, `pull_request`, …
    pub event: String,
    /// `branches`, `paths-ignore`, … with their patterns; absent where not written.
    pub filters: Vec<(String, Vec<String>)>,
    /// `types:`.
    pub types: Vec<String>,
    /// Inputs of `workflow_dispatch`.
    pub inputs: Vec<Input>,
}

impl Trigger {
    /// Patterns of one filter.
    pub fn filter(&self, name: &str) -> Option<&[String]> {
        self.filters
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, p)| p.as_slice())
    }
}

/// An input of `workflow_dispatch`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// Name.
    pub name: String,
    /// `string`, `boolean`, `number`, `choice` or `environment`.
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// Used where it is not given.
    pub default: Option<String>,
    /// Of a `choice`.
    pub options: Vec<String>,
}

/// `defaults.run`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Defaults {
    /// `shell:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// `working-directory:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
}

/// `concurrency:`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Concurrency {
    /// Group.
    pub group: String,
    /// `cancel-in-progress:`.
    pub cancel_in_progress: Option<String>,
    /// `queue: max`: nobody who waits is replaced.
    pub queue_all: bool,
}

/// One job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// Key.
    pub id: String,
    /// `name:`.
    pub name: Option<String>,
    /// `needs:`.
    pub needs: Vec<String>,
    /// `if:`.
    pub condition: Option<String>,
    /// `runs-on:`.
    pub runs_on: Vec<String>,
    /// `env:`.
    pub env: Pairs,
    /// `defaults.run`.
    pub defaults: Defaults,
    /// `concurrency:`.
    pub concurrency: Option<Concurrency>,
    /// `outputs:`.
    pub outputs: Pairs,
    /// `steps:`.
    pub steps: Vec<Step>,
    /// `timeout-minutes:`.
    pub timeout_minutes: Option<String>,
    /// `cancel-timeout-minutes:`.
    pub cancel_timeout_minutes: Option<String>,
    /// `continue-on-error:`.
    pub continue_on_error: Option<String>,
    /// `strategy:`.
    pub strategy: Option<Strategy>,
}

/// `strategy:`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strategy {
    /// `matrix:`, as JSON with expressions in its texts.
    pub matrix: serde_json::Value,
    /// `fail-fast:`.
    pub fail_fast: Option<String>,
    /// `max-parallel:`.
    pub max_parallel: Option<String>,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `id:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `name:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `if:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// `uses:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<String>,
    /// `run:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// `with:`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Pairs,
    /// `env:`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Pairs,
    /// `working-directory:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// `shell:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// `continue-on-error:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_on_error: Option<String>,
    /// `timeout-minutes:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_minutes: Option<String>,
    /// Line in the file, for messages.
    #[serde(default)]
    pub line: u32,
}

impl Step {
    /// What people call it: `name`, else the first line of `run`, else `uses`.
    pub fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match (&self.run, &self.uses) {
            (Some(run), _) => {
                let line = run
                    .lines()
                    .find(|l| !l.trim().is_empty())
                    .unwrap_or_default()
                    .trim();
                format!("Run {line}")
            }
            (None, Some(uses)) => format!("Run {uses}"),
            (None, None) => "Run".into(),
        }
    }
}

impl Workflow {
    /// A job by its key.
    pub fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|j| j.id == id)
    }
}
