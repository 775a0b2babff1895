//! `Run`: one execution of one workflow for one commit.
//!
//! The name derives from the cause (`source`), the job graph and its state are status. Logs
//! are blobs; status carries only their address.

use super::{Condition, Finding};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What caused the run; immutable but for `cancel`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "towpath.dev",
    version = "v1alpha1",
    kind = "Run",
    plural = "runs",
    category = "towpath",
    namespaced,
    status = "RunStatus",
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository"}"#,
    printcolumn = r#"{"name":"Commit","type":"string","jsonPath":".spec.sha"}"#,
    printcolumn = r#"{"name":"Workflow","type":"string","jsonPath":".status.workflowName"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
    /// `Repository` in the same namespace.
    pub repository: String,
    /// Full ref name the event happened on.
    #[serde(rename = "ref")]
    pub ref_: String,
    /// Commit to run.
    pub sha: String,
    /// Commit the ref pointed at before; all zeros for a new ref.
    #[serde(default)]
    pub before: String,
    /// `push`, `pull_request` or `workflow_dispatch`.
    pub event: String,
    /// Path of the workflow file.
    pub workflow: String,
    /// The authenticated principal that caused it, never a name out of the commit.
    pub actor: String,
    /// Inputs of a `workflow_dispatch`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// 1 for the first try; a re-run is a new attempt of the same run.
    #[serde(default = "one")]
    pub attempt: u32,
    /// On a re-run: only jobs that did not succeed (and what needs them) run again.
    #[serde(default)]
    pub failed_only: bool,
    /// Set by a person to stop the run.
    #[serde(default)]
    pub cancel: bool,
}

fn one() -> u32 {
    1
}

/// Where a run, job or step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not started; waiting for something.
    #[default]
    Queued,
    /// Under way.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Stopped by a person, a newer run or a sibling.
    Cancelled,
    /// Never ran because its condition said so.
    Skipped,
}

impl Phase {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(self, Phase::Queued | Phase::Running)
    }
}

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Worst of its jobs.
    #[serde(default)]
    pub phase: Phase,
    /// `name:` of the workflow, or its path.
    #[serde(default)]
    pub workflow_name: String,
    /// Attempt this status belongs to.
    #[serde(default)]
    pub attempt: u32,
    /// One sentence: what it waits for, or why it ended as it did.
    #[serde(default)]
    pub message: String,
    /// First line of the commit's message.
    #[serde(default)]
    pub title: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// In the order of the file, matrix cells expanded.
    #[serde(default)]
    pub jobs: Vec<JobStatus>,
    /// What is wrong with the workflow itself.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Verdicts of the gates that ran.
    #[serde(default)]
    pub gates: Vec<GateVerdict>,
    /// Images that the run pushed.
    #[serde(default)]
    pub images: Vec<BuiltImage>,
    /// Standard conditions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// One job, or one cell of its matrix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// Key in `jobs:`, with `.N` appended for matrix cell N.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Ids of the jobs it waits for.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Where it stands.
    #[serde(default)]
    pub phase: Phase,
    /// Why, in one sentence.
    #[serde(default)]
    pub message: String,
    /// Pod that ran or runs it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// `outputs:` after evaluation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// In order.
    #[serde(default)]
    pub steps: Vec<StepStatus>,
}

/// One step of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// 1-based.
    pub number: u32,
    /// Display name.
    pub name: String,
    /// Conclusion, after `continue-on-error`.
    #[serde(default)]
    pub phase: Phase,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Exit code of a command, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// First line of its log that is an error, 1-based.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_error_line: Option<u64>,
    /// Errors, warnings and notices that the step reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Finding>,
    /// Number of lines in its log.
    #[serde(default)]
    pub log_lines: u64,
}

/// What one gate decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateVerdict {
    /// `coverage`, `secrets`, `vulnerabilities`.
    pub gate: String,
    /// Whether a release may follow.
    pub passed: bool,
    /// What was measured against which bound, and what would pass.
    pub message: String,
    /// Where.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// One image that a run pushed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuiltImage {
    /// Repository part of the reference, registry host included where there is one.
    pub name: String,
    /// Tag it was pushed under.
    #[serde(default)]
    pub tag: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// Digest of the SBOM's manifest (a referrer), where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<String>,
}
