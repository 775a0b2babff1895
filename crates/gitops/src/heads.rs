//! Where branches point, remembered: asking git means starting a program, and most changes that
//! wake a reconciler are not about branches.
//!
//! What is remembered for a repository is forgotten when one of its branches is known to have
//! moved (a push was recorded, a promotion wrote), and after a while in any case.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towpath_kit::traits::{CommitInfo, SourceError, SourceTree};
use towpath_stdx::Clock;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Heads {
    tree: Arc<dyn SourceTree>,
    clock: Arc<dyn Clock>,
    keep: Duration,
    // By repository, then by revision.
    known: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    commits: HashMap<String, HashMap<String, Known>>,
    // How often something was forgotten: an answer that was on its way then is not kept.
    forgotten: u64,
}

struct Known {
    commit: Option<CommitInfo>,
    at: Instant,
}

impl Heads {
    pub(crate) fn new(tree: Arc<dyn SourceTree>, clock: Arc<dyn Clock>, keep: Duration) -> Self {
        Self {
            tree,
            clock,
            keep,
            known: Arc::default(),
        }
    }

    /// The commit a revision names; `None` where there is no such revision.
    pub(crate) async fn resolve(
        &self,
        repository: &str,
        revision: &str,
    ) -> Result<Option<CommitInfo>, SourceError> {
        let now = self.clock.monotonic();
        let forgotten = {
            let memory = self.known.lock();
            let known = memory.commits.get(repository).and_then(|r| r.get(revision));
            if let Some(known) = known.filter(|k| now.saturating_duration_since(k.at) < self.keep) {
                return Ok(known.commit.clone());
            }
            memory.forgotten
        };
        let commit = match self.tree.resolve(repository, revision).await {
            Ok(commit) => Some(commit),
            Err(SourceError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let mut memory = self.known.lock();
        if memory.forgotten == forgotten {
            let known = Known {
                commit: commit.clone(),
                at: now,
            };
            memory
                .commits
                .entry(repository.to_string())
                .or_default()
                .insert(revision.to_string(), known);
        }
        Ok(commit)
    }

    /// A branch of the repository moved.
    pub(crate) fn forget(&self, repository: &str) {
        let mut memory = self.known.lock();
        memory.commits.remove(repository);
        memory.forgotten += 1;
    }
}
