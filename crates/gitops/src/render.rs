//! Commits to objects, remembered: the same commit and path are rendered once.

use crate::Error;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use towpath_kit::traits::SourceTree;
use towpath_render::{Finding, Rendered, Tree};

const KEPT: usize = 64;

/// What a commit's directory renders to, or why it does not.
pub(crate) type Outcome = Arc<Result<Rendered, Vec<Finding>>>;

/// Repository, commit and path.
type Input = (String, String, String);

/// Renders through memory.
pub(crate) struct Renderer {
    tree: Arc<dyn SourceTree>,
    kept: Mutex<VecDeque<(Input, Outcome)>>,
}

impl Renderer {
    pub(crate) fn new(tree: Arc<dyn SourceTree>) -> Self {
        Self {
            tree,
            kept: Mutex::default(),
        }
    }

    pub(crate) async fn render(
        &self,
        repository: &str,
        sha: &str,
        path: &str,
    ) -> Result<Outcome, Error> {
        let key = (repository.to_string(), sha.to_string(), path.to_string());
        if let Some((_, outcome)) = self.kept.lock().iter().find(|(k, _)| *k == key) {
            return Ok(outcome.clone());
        }
        // An overlay seldom reaches out of its top directory; the whole commit is the fallback.
        let top = path.trim_matches('/').split('/').next().unwrap_or_default();
        let mut outcome = self.build(repository, sha, top, path).await?;
        let reaches_out =
            |findings: &Vec<Finding>| findings.iter().any(|f| f.rule == "kustomize/missing");
        if !top.is_empty() && outcome.as_ref().is_err_and(reaches_out) {
            outcome = self.build(repository, sha, "", path).await?;
        }
        let outcome = Arc::new(outcome);
        let mut kept = self.kept.lock();
        kept.push_back((key, outcome.clone()));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(outcome)
    }

    async fn build(
        &self,
        repository: &str,
        sha: &str,
        under: &str,
        path: &str,
    ) -> Result<Result<Rendered, Vec<Finding>>, Error> {
        let what = format!("read {repository} at {sha}");
        let files = self
            .tree
            .files(repository, sha, under)
            .await
            .map_err(Error::source(what))?;
        let path = path.to_string();
        // Rendering is work, not waiting.
        let built = tokio::task::spawn_blocking(move || {
            let plain = files.into_iter().filter(|f| f.mode != 0o120000);
            let tree: Tree = plain.map(|f| (f.path, f.content.to_vec())).collect();
            towpath_render::build(&tree, &path)
        });
        let lost = |error| {
            vec![Finding::error(
                "render/failed",
                format!("the renderer stopped: {error}"),
            )]
        };
        Ok(built.await.unwrap_or_else(|error| Err(lost(error))))
    }
}
