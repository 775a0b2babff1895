//! `Environment`: where releases of one repository go.

use super::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person asks of an environment.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "towpath.dev",
    version = "v1alpha1",
    kind = "Environment",
    plural = "environments",
    category = "towpath",
    namespaced,
    status = "EnvironmentStatus",
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository"}"#,
    printcolumn = r#"{"name":"Release","type":"string","jsonPath":".status.release"}"#,
    printcolumn = r#"{"name":"Health","type":"string","jsonPath":".status.health"}"#,
    printcolumn = r#"{"name":"Sync","type":"string","jsonPath":".status.sync"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// `Repository` in the same namespace.
    pub repository: String,
    /// Short name for people and for branch `env/<stage>`: `dev`, `stg`, `prd`.
    pub stage: String,
    /// Position in the row of environments; lower comes first.
    #[serde(default)]
    pub order: i32,
    /// Branch whose releases arrive here by themselves where `auto` is set.
    #[serde(default = "default_branch")]
    pub branch: String,
    /// Directory in the repository that is rendered, e.g. `deploy/overlays/dev`.
    pub path: String,
    /// Namespace that the manifests go to.
    pub namespace: String,
    /// API server; empty means the cluster that Towpath runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// How releases get in.
    #[serde(default)]
    pub promotion: PromotionPolicy,
    /// Actions need the name typed, and the UI shows its band.
    #[serde(default)]
    pub protected: bool,
    /// Where the running application answers, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
}

fn default_branch() -> String {
    "main".into()
}

/// Rules a promotion must meet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionPolicy {
    /// Every new release of `branch` is promoted at once.
    #[serde(default)]
    pub auto: bool,
    /// Stage that must have run the release healthily before; empty means none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
    /// Number of people who must approve.
    #[serde(default)]
    pub approvals: u32,
    /// Whoever asked for a promotion cannot be one of them.
    #[serde(default)]
    pub prevent_self_approval: bool,
    /// A release that fails here is taken back at once to the last one that was healthy, and put
    /// on hold.
    #[serde(default)]
    pub auto_rollback: bool,
}

/// What runs here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// `Release` that is deployed; empty where none is.
    #[serde(default)]
    pub release: String,
    /// Its commit.
    #[serde(default)]
    pub sha: String,
    /// Commit on branch `env/<stage>`.
    #[serde(default)]
    pub revision: String,
    /// `Promotion` under way, or the last one.
    #[serde(default)]
    pub promotion: String,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing`, `Unknown`.
    #[serde(default)]
    pub health: String,
    /// `Synced`, `OutOfSync`, `Unknown`.
    #[serde(default)]
    pub sync: String,
    /// The worst reason, as a sentence.
    #[serde(default)]
    pub message: String,
    /// RFC 3339 time since which `release` runs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Past deployments, newest first, at most 20.
    #[serde(default)]
    pub history: Vec<Deployment>,
    /// Standard conditions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// One entry of an environment's history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// `deploy`, `redeploy`, `promote`, `rollback` or `auto-rollback`.
    pub kind: String,
    /// `Release`.
    pub release: String,
    /// Commit of the release.
    pub sha: String,
    /// Commit on the environment's branch.
    pub revision: String,
    /// `Promotion`.
    pub promotion: String,
    /// Who.
    pub by: String,
    /// Why, where someone said so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// RFC 3339.
    pub at: String,
    /// `Succeeded` or `Failed`.
    pub outcome: String,
}
