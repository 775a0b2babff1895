//! Argo CD's `Application` (`argoproj.io/v1alpha1`), the part that Towpath acts on. Fields
//! that are not listed are kept and refused with a condition where they would change what is
//! deployed.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What should run where.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Application",
    plural = "applications",
    shortname = "app",
    shortname = "apps",
    namespaced,
    status = "ApplicationStatus",
    printcolumn = r#"{"name":"Sync Status","type":"string","jsonPath":".status.sync.status"}"#,
    printcolumn = r#"{"name":"Health Status","type":"string","jsonPath":".status.health.status"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".status.sync.revision","priority":10}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSpec {
    /// Where the manifests come from.
    pub source: ApplicationSource,
    /// Where they go.
    pub destination: ApplicationDestination,
    /// `default`.
    #[serde(default)]
    pub project: String,
    /// When and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_policy: Option<SyncPolicy>,
    /// Differences that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_differences: Vec<IgnoreDifference>,
}

/// A directory in a git repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSource {
    /// Clone URL; `towpath://<namespace>/<repository>` names one that this server hosts.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Directory.
    #[serde(default)]
    pub path: String,
    /// Branch, tag or commit; empty means HEAD.
    #[serde(default)]
    pub target_revision: String,
}

/// Cluster and namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationDestination {
    /// API server URL; `https://kubernetes.default.svc` is the cluster Towpath runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// Or the cluster's name; `in-cluster` is the cluster Towpath runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// For objects that name none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// When and how to sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncPolicy {
    /// Present: sync by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automated: Option<Automated>,
    /// `CreateNamespace=true`, `PruneLast=true`, `ServerSideApply=true`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync_options: Vec<String>,
}

/// Rules of automatic sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Automated {
    /// Delete what left the source.
    #[serde(default)]
    pub prune: bool,
    /// Undo manual changes.
    #[serde(default)]
    pub self_heal: bool,
    /// Whether a source without objects may delete everything.
    #[serde(default)]
    pub allow_empty: bool,
}

/// A difference that does not count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IgnoreDifference {
    /// API group.
    #[serde(default)]
    pub group: String,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// Object name; empty means every.
    #[serde(default)]
    pub name: String,
    /// RFC 6901 pointers.
    #[serde(default)]
    pub json_pointers: Vec<String>,
}

/// What is so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Whether live equals source.
    #[serde(default)]
    pub sync: SyncStatus,
    /// Worst health of its objects.
    #[serde(default)]
    pub health: HealthStatus,
    /// Every managed object.
    #[serde(default)]
    pub resources: Vec<ResourceStatus>,
    /// The last or present operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_state: Option<OperationState>,
    /// What is wrong.
    #[serde(default)]
    pub conditions: Vec<ApplicationCondition>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<String>,
}

/// Whether live equals source, at which commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// `Synced`, `OutOfSync` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// Commit.
    #[serde(default)]
    pub revision: String,
}

/// Health word and reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatus {
    /// `Healthy`, `Suspended`, `Progressing`, `Missing`, `Degraded` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// Sentence.
    #[serde(default)]
    pub message: String,
}

/// One managed object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// API group.
    #[serde(default)]
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Empty for cluster scope.
    #[serde(default)]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `Synced` or `OutOfSync`.
    #[serde(default)]
    pub status: String,
    /// Health, where the kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// Live but no longer in the source.
    #[serde(default)]
    pub requires_pruning: bool,
}

/// One sync operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationState {
    /// `Running`, `Succeeded`, `Failed`, `Error`.
    pub phase: String,
    /// Sentence.
    #[serde(default)]
    pub message: String,
    /// Commit.
    #[serde(default)]
    pub revision: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

/// A condition in Argo CD's shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationCondition {
    /// `ComparisonError`, `SyncError`, `InvalidSpecError`, …
    #[serde(rename = "type")]
    pub type_: String,
    /// Sentence.
    pub message: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}
