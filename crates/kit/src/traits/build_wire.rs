//! How a build is asked for over HTTP: by a job's build step and by `towpath build`.
//!
//! `POST /api/v1/builds` with the context as an uncompressed tar (or zstd, by
//! `Content-Encoding`) for body and a [`BuildParameters`] as base64 of its JSON in header
//! [`BUILD_HEADER`]; it is a header so that secrets are in no log of requests. The answer is 200
//! with one [`BuildEvent`] per line as it happens; the last is `done` or `failed`.

use crate::kinds::Finding;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where builds are posted.
pub const BUILDS_PATH: &str = "/api/v1/builds";
/// Header with the parameters.
pub const BUILD_HEADER: &str = "towpath-build";

/// The request besides its context.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildParameters {
    /// Path of the Dockerfile, relative to the context; empty means `Dockerfile`.
    pub dockerfile: String,
    /// Stage to stop at; empty means the last.
    pub target: String,
    /// `--build-arg`.
    pub args: BTreeMap<String, String>,
    /// `--secret`.
    pub secrets: BTreeMap<String, String>,
    /// References to push to; empty builds without keeping a name.
    pub tags: Vec<String>,
    /// Labels to add.
    pub labels: BTreeMap<String, String>,
    /// Namespace of the project: scope of caches, and where `update` on `towpath.dev/images` is
    /// asked for.
    pub namespace: String,
    /// `SOURCE_DATE_EPOCH`, seconds.
    pub source_date_epoch: Option<i64>,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum BuildEvent {
    /// A line of output.
    Log {
        /// Without line end.
        text: String,
    },
    /// The image is there.
    Done {
        /// `sha256:…` of the manifest.
        digest: String,
        /// Size of the image, bytes.
        image_bytes: u64,
        /// Steps answered from the cache.
        cached_steps: u32,
        /// All steps.
        steps: u32,
    },
    /// There is no image.
    Failed {
        /// Why, as one sentence.
        message: String,
        /// What is wrong in the Dockerfile or context.
        #[serde(default)]
        findings: Vec<Finding>,
    },
}
