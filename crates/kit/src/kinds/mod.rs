//! The five kinds of the spine and the Argo CD `Application`, as client-side types.
//!
//! Feature crates meet in these objects and nowhere else. Each type derives the CRD that
//! is installed at start, on the embedded API and on a real cluster alike (`crds`), so the
//! schema that users see with `kubectl explain` is the one the reconcilers compile against.
//!
//! Every spine object carries the key of the one before it in `spec` and, for look-ups by
//! selector, in the labels of [`labels`].

mod application;
mod environment;
mod promotion;
mod release;
mod repository;
mod run;

pub use application::*;
pub use environment::*;
pub use promotion::*;
pub use release::*;
pub use repository::*;
pub use run::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Label and annotation keys that join a pod to the commit behind it.
pub mod labels {
    /// Full commit id (40 hex digits) that the object came from.
    pub const COMMIT: &str = "towpath.dev/commit";
    /// Name of the `Repository` in the same namespace.
    pub const REPOSITORY: &str = "towpath.dev/repository";
    /// Name of the `Run`.
    pub const RUN: &str = "towpath.dev/run";
    /// Id of the job within the run, with `.N` appended for matrix cell N.
    pub const JOB: &str = "towpath.dev/job";
    /// Name of the `Release`.
    pub const RELEASE: &str = "towpath.dev/release";
    /// Name of the `Environment`.
    pub const ENVIRONMENT: &str = "towpath.dev/environment";
    /// Name of the `Promotion`.
    pub const PROMOTION: &str = "towpath.dev/promotion";
    /// Annotation of a pod: most processes and threads that each of its containers may have, where
    /// that is fewer than the node allows. Kubernetes has no field for it.
    pub const PROCESSES: &str = "towpath.dev/processes";
}

/// Where something was found wrong in a file, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// `error` stops the work, `warning` does not.
    pub severity: Severity,
    /// Stable identifier of the rule, e.g. `workflow/unknown-key`.
    pub rule: String,
    /// What is wrong, as one sentence.
    pub message: String,
    /// Path within the repository; empty where no file is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// 1-based; 0 where unknown.
    #[serde(default)]
    pub line: u32,
    /// 1-based; 0 where unknown.
    #[serde(default)]
    pub column: u32,
    /// What would make it right.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// Weight of a [`Finding`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing stops.
    Warning,
    /// Stops the work.
    #[default]
    Error,
}

/// One condition in the Kubernetes convention (`type`, `status`, `reason`, `message`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// CamelCase name, e.g. `Ready`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// CamelCase word for programs.
    #[serde(default)]
    pub reason: String,
    /// Sentence for people.
    #[serde(default)]
    pub message: String,
    /// RFC 3339; moves only when `status` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

/// The CRDs of every kind above, in installation order.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        Repository::crd(),
        Run::crd(),
        Release::crd(),
        Environment::crd(),
        Promotion::crd(),
        Application::crd(),
    ]
}
