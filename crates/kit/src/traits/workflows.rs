//! Which workflows an event starts. Implemented by `pipeline`, used by `source`; pure.

use super::TreeFile;
use crate::kinds::Finding;

/// One movement of one ref.
#[derive(Clone, Debug)]
pub struct PushEvent {
    /// Full ref name.
    pub ref_name: String,
    /// Commit before; zeros for a new ref.
    pub before: String,
    /// Commit after; zeros for a deleted ref.
    pub after: String,
    /// Paths that changed; `None` counts as "everything".
    pub paths: Option<Vec<String>>,
    /// Message of the head commit (skip words).
    pub message: String,
}

/// A workflow file's answer to an event.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowMatch {
    /// Path of the file.
    pub path: String,
    /// `name:` or the path.
    pub name: String,
    /// Whether the event starts it. A file with findings of severity `error` that would have
    /// matched, or cannot be read far enough to know, starts too: its run fails and shows them.
    pub starts: bool,
    /// What is wrong with the file.
    pub findings: Vec<Finding>,
}

/// Matches events against the files below `.github/workflows/`.
pub trait Workflows: Send + Sync {
    /// One answer per file, in path order.
    fn matching(&self, event: &PushEvent, files: &[TreeFile]) -> Vec<WorkflowMatch>;
}
