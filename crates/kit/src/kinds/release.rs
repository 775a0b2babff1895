//! `Release`: what a commit became. Immutable but for `hold`.

use super::{BuiltImage, GateVerdict};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was made, from what.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "towpath.dev",
    version = "v1alpha1",
    kind = "Release",
    plural = "releases",
    category = "towpath",
    namespaced,
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository"}"#,
    printcolumn = r#"{"name":"Commit","type":"string","jsonPath":".spec.sha"}"#,
    printcolumn = r#"{"name":"Held","type":"string","jsonPath":".spec.hold.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSpec {
    /// `Repository` in the same namespace.
    pub repository: String,
    /// Commit.
    pub sha: String,
    /// Branch it was pushed to (short name).
    pub branch: String,
    /// First line of the commit's message.
    #[serde(default)]
    pub title: String,
    /// `Run` that made it.
    pub run: String,
    /// Who pushed the commit.
    pub actor: String,
    /// Images, by digest.
    #[serde(default)]
    pub images: Vec<BuiltImage>,
    /// What the gates said.
    #[serde(default)]
    pub gates: Vec<GateVerdict>,
    /// Present while no environment may take this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// Why a release may not be promoted, until someone lifts it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Sentence.
    pub reason: String,
    /// Who.
    pub by: String,
    /// RFC 3339.
    pub since: String,
}
