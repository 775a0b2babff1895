//! `Promotion`: one release into one environment. A rollback is a promotion of an older
//! release with a reason.

use super::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked for; immutable but for `approvals` and `cancel`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "towpath.dev",
    version = "v1alpha1",
    kind = "Promotion",
    plural = "promotions",
    category = "towpath",
    namespaced,
    status = "PromotionStatus",
    printcolumn = r#"{"name":"Environment","type":"string","jsonPath":".spec.environment"}"#,
    printcolumn = r#"{"name":"Release","type":"string","jsonPath":".spec.release"}"#,
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.kind"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct PromotionSpec {
    /// `Environment` in the same namespace.
    pub environment: String,
    /// `Release` in the same namespace. Empty only for rollbacks: then the last release that
    /// was healthy here before the present one.
    #[serde(default)]
    pub release: String,
    /// `deploy`, `promote`, `rollback`, or `auto-rollback` where the environment asks for it.
    pub kind: String,
    /// Who asked. The API server overwrites it with the authenticated principal.
    #[serde(default)]
    pub by: String,
    /// Why; required for a rollback.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who approved so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// Set by a person to withdraw it while it waits.
    #[serde(default)]
    pub cancel: bool,
}

impl PromotionSpec {
    /// Whether it takes an environment back to what ran there before.
    pub fn goes_back(&self) -> bool {
        matches!(self.kind.as_str(), "rollback" | "auto-rollback")
    }

    /// Name of the promotion that takes back a failed one by itself.
    pub fn way_back(failed: &str) -> String {
        format!("{failed}-back")
    }
}

/// One person's yes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Who.
    pub by: String,
    /// RFC 3339.
    pub at: String,
    /// Why, where said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Where a promotion stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PromotionPhase {
    /// A gate has not passed yet: see `gates`.
    #[default]
    Waiting,
    /// Someone must approve.
    WaitingForApproval,
    /// The commit is written, the application syncs.
    Deploying,
    /// Healthy in the environment.
    Succeeded,
    /// Did not get healthy, or could not be applied.
    Failed,
    /// A gate refused it for good (hold, failed predecessor).
    Refused,
    /// Withdrawn by a person.
    Cancelled,
    /// A newer promotion took its place while it waited.
    Superseded,
}

impl PromotionPhase {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(
            self,
            Self::Waiting | Self::WaitingForApproval | Self::Deploying
        )
    }
}

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: PromotionPhase,
    /// Release that is promoted, once known.
    #[serde(default)]
    pub release: String,
    /// Release that ran before.
    #[serde(default)]
    pub previous: String,
    /// Commit written to the environment's branch.
    #[serde(default)]
    pub revision: String,
    /// One sentence: what it waits for, or why it ended so.
    #[serde(default)]
    pub message: String,
    /// Each gate's answer.
    #[serde(default)]
    pub gates: Vec<PromotionGate>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Final probe answers, exit codes and last log lines of what failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Standard conditions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// One gate's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionGate {
    /// `hold`, `after`, `approvals`, `gates`.
    pub name: String,
    /// `pass`, `wait` or `fail`.
    pub answer: String,
    /// Sentence.
    pub message: String,
}
