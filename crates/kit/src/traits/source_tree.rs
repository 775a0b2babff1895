//! Reading and writing commits of hosted repositories. Implemented by `source`.

use async_trait::async_trait;
use bytes::Bytes;
use std::path::Path;

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// Path from the root of the repository, `/`-separated.
    pub path: String,
    /// Git's mode: 0o100644, 0o100755 or 0o120000 (symbolic link, content = target).
    pub mode: u32,
    /// Content.
    pub content: Bytes,
}

/// A commit's facts. Author strings are for display only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitInfo {
    /// 40 hex digits.
    pub sha: String,
    /// Tree id.
    pub tree: String,
    /// Parents.
    pub parents: Vec<String>,
    /// `Name <mail>`.
    pub author: String,
    /// Seconds since 1970.
    pub authored_at: i64,
    /// Whole message.
    pub message: String,
}

/// A commit to write.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Full ref, e.g. `refs/heads/env/dev`; made where missing.
    pub ref_name: String,
    /// Commit the ref must point at; `None` = it must not exist. Compare-and-swap.
    pub expected: Option<String>,
    /// Commit whose tree is the base of the new tree.
    pub base: String,
    /// Files to write over the base; `None` content deletes.
    pub changes: Vec<(String, Option<Bytes>)>,
    /// Message.
    pub message: String,
    /// Name of the principal on whose behalf it is written.
    pub on_behalf_of: String,
}

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such repository, ref, commit or path.
    #[error("{0} not found")]
    NotFound(String),
    /// The ref moved meanwhile.
    #[error("{ref_name} is at {actual}, not at {expected}")]
    Conflict {
        /// Ref.
        ref_name: String,
        /// Asked for.
        expected: String,
        /// Found.
        actual: String,
    },
    /// A limit on files or bytes.
    #[error("{0}")]
    TooLarge(String),
    /// Git failed.
    #[error("git: {0}")]
    Git(String),
}

/// Trees and commits. `repository` is `<namespace>/<name>`; `revision` a full ref, short
/// branch or tag name, or commit id.
#[async_trait]
pub trait SourceTree: Send + Sync {
    /// The commit a revision names.
    async fn resolve(&self, repository: &str, revision: &str) -> Result<CommitInfo, SourceError>;
    /// All files below `under` ("" = all) at a commit; bounded (20,000 files, 256 MiB).
    async fn files(
        &self,
        repository: &str,
        sha: &str,
        under: &str,
    ) -> Result<Vec<TreeFile>, SourceError>;
    /// Paths that differ between two commits (`before` of zeros = all paths).
    async fn changed(
        &self,
        repository: &str,
        before: &str,
        after: &str,
    ) -> Result<Vec<String>, SourceError>;
    /// First-parent log, newest first.
    async fn log(
        &self,
        repository: &str,
        revision: &str,
        limit: usize,
    ) -> Result<Vec<CommitInfo>, SourceError>;
    /// Unified diff between two commits, optionally below a path; bounded to 1 MiB.
    async fn diff(
        &self,
        repository: &str,
        from: &str,
        to: &str,
        under: &str,
    ) -> Result<String, SourceError>;
    /// Writes a commit; returns its id. Starts no run.
    async fn commit(&self, repository: &str, request: CommitRequest)
    -> Result<String, SourceError>;
    /// Unpacks a commit's tree into an empty directory, without hooks or submodules.
    async fn export(&self, repository: &str, sha: &str, into: &Path) -> Result<(), SourceError>;
}
