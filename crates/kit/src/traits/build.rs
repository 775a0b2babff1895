//! Dockerfile to image. Implemented by `build`.

use super::Principal;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::PathBuf;
use towpath_stdx::Secret;

/// What to build. `context` is a directory the caller owns until the call returns.
pub struct BuildRequest {
    /// Unpacked build context.
    pub context: PathBuf,
    /// Path of the Dockerfile, relative to the context.
    pub dockerfile: String,
    /// Stage to stop at; `None` for the last.
    pub target: Option<String>,
    /// `--build-arg`.
    pub args: BTreeMap<String, String>,
    /// `--secret id=…`.
    pub secrets: BTreeMap<String, Secret>,
    /// References to push to, e.g. `demo/hello:4f2c91e`; the host part may be left out.
    pub tags: Vec<String>,
    /// Labels to add.
    pub labels: BTreeMap<String, String>,
    /// Scope of cache mounts and layer cache: the project's namespace.
    pub scope: String,
    /// `SOURCE_DATE_EPOCH`, seconds; clamps all times.
    pub source_date_epoch: Option<i64>,
    /// Memory bound for RUN, bytes; 0 for the default.
    pub memory_bytes: u64,
    /// Who asks.
    pub principal: Principal,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct BuildOutput {
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// Its size and layers' sizes, bytes.
    pub image_bytes: u64,
    /// Steps answered from the cache, and all steps.
    pub cached_steps: (u32, u32),
}

/// Why there is no image. `Display` names file and line where the input is at fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile or context is wrong; every finding has its place.
    #[error("{}", findings.first().map(|f| format!("{}:{}:{}: {}", f.file, f.line, f.column, f.message)).unwrap_or_default())]
    Input {
        /// All of them.
        findings: Vec<crate::kinds::Finding>,
    },
    /// A RUN ended badly.
    #[error("{file}:{line}: `{command}` ended with {status}")]
    Run {
        /// Dockerfile.
        file: String,
        /// Line of the instruction.
        line: u32,
        /// First line of the command.
        command: String,
        /// `exit code 2`, `signal 9 (out of memory)`, …
        status: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Receives the build's output line by line; called from the builder's task.
pub type BuildLog<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Builds images.
#[async_trait]
pub trait Builder: Send + Sync {
    /// Builds and pushes; cancel by dropping the future.
    async fn build(
        &self,
        request: BuildRequest,
        log: BuildLog<'_>,
    ) -> Result<BuildOutput, BuildError>;
}
