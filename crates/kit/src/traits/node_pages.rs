//! The pages that a node shows of itself, as a kubelet's port does: figures and health.
//! Implemented by `telemetry`, served by `apiserver` at `nodes/<name>/proxy/…`.

use async_trait::async_trait;
use bytes::Bytes;

/// One page as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePage {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its content.
    pub body: Bytes,
}

/// Why a page is not shown.
#[derive(Debug, thiserror::Error)]
pub enum NodePageError {
    /// Nothing is shown at this path.
    #[error("the node shows no page {0}")]
    Unknown(String),
    /// The page could not be made.
    #[error("make the page {path}: {cause}")]
    Failed {
        /// Its path.
        path: String,
        /// What went wrong.
        cause: String,
    },
}

/// Shows the pages of the node that runs in this process.
#[async_trait]
pub trait NodePages: Send + Sync {
    /// Name of the Node.
    fn node(&self) -> String;
    /// The page at a path (`/metrics/cadvisor`), in a form that `accept` takes; the query is as
    /// it came.
    ///
    /// # Errors
    /// There is no such page, or it could not be made.
    async fn page(&self, path: &str, query: &str, accept: &str) -> Result<NodePage, NodePageError>;
}
