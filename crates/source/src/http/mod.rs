//! The HTTP doors to repositories: git's smart protocol, and what the UI reads.

mod auth;
mod body;
mod commits;
mod pack;

use crate::names::RepoName;
use crate::record::Recorder;
use crate::tree::Trees;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;
use tokio::sync::Semaphore;
use towpath_kit::queue::Queue;
use towpath_kit::traits::{Authenticator, Authorizer};

/// What the handlers work with.
pub(crate) struct Front {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) trees: Arc<Trees>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    /// Repositories whose logs have grown.
    pub(crate) queue: Queue<towpath_kit::cache::Key>,
    /// Transfers that may run at a time; more wait.
    pub(crate) transfers: Arc<Semaphore>,
}

/// Routes, absolute.
pub(crate) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/git/{owner}/{file}/info/refs", get(pack::advertise))
        .route("/git/{owner}/{file}/git-upload-pack", post(pack::fetch))
        .route("/git/{owner}/{file}/git-receive-pack", post(pack::push))
        .route("/api/v1/repos/{owner}/{name}/commits", get(commits::list))
        .route(
            "/api/v1/repos/{owner}/{name}/commits/{sha}",
            get(commits::show),
        )
        .with_state(front)
}

impl Front {
    /// The repository's directory; made now where the object is newer than our last look.
    pub(crate) async fn repository(&self, name: &RepoName) -> Option<std::path::PathBuf> {
        let text = name.to_string();
        if let Ok(dir) = self.trees.dir(&text) {
            return Some(dir);
        }
        if let Err(error) = self.recorder.reconcile(name).await {
            tracing::warn!(repository = %name, error = error.chain(), "repository could not be made");
        }
        self.trees.dir(&text).ok()
    }
}
