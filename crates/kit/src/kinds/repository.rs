//! `Repository`: a git repository hosted by this server. Object `hello` in namespace `demo`
//! is served at `/git/demo/hello.git`.

use super::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a person asks of a repository.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "towpath.dev",
    version = "v1alpha1",
    kind = "Repository",
    plural = "repositories",
    shortname = "repo",
    category = "towpath",
    namespaced,
    status = "RepositoryStatus",
    printcolumn = r#"{"name":"Branch","type":"string","jsonPath":".spec.defaultBranch"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySpec {
    /// Branch that HEAD names.
    #[serde(default = "default_branch")]
    pub default_branch: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Rules for refs; the most specific pattern wins. Branches under `env/` always belong to
    /// the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<ProtectedRef>,
}

fn default_branch() -> String {
    "main".into()
}

/// What may not happen to the refs that match a pattern.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProtectedRef {
    /// Glob over the full ref name; `*` does not cross `/`. Example: `refs/heads/main`.
    pub pattern: String,
    /// Whether a push may rewrite history.
    #[serde(default)]
    pub allow_force: bool,
    /// Whether the ref may be deleted.
    #[serde(default)]
    pub allow_delete: bool,
    /// User names that may push; empty means everyone who may write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pushers: Vec<String>,
}

/// What the server has seen and handled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// URL to clone from.
    #[serde(default)]
    pub clone_url: String,
    /// Full ref name to the handled position in the ref's own log.
    #[serde(default)]
    pub refs: BTreeMap<String, RefStatus>,
    /// `Ready`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// How far one ref's log has been turned into runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefStatus {
    /// Commit id after the last handled entry; all zeros where the ref was deleted.
    pub sha: String,
    /// Number of entries of the ref's log that have been handled.
    pub handled: u64,
}
