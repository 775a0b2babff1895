//! Who wrote last what, for the ledger of changes. Implemented by `apiserver`; a real cluster
//! does not say it.

use std::time::Duration;

/// Who wrote, with what, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Name of the principal.
    pub name: String,
    /// Program, as it calls itself.
    pub agent: String,
    /// Time since 1970.
    pub at: Duration,
}

/// Remembers recent writes of people and of programs that are not part of this process.
pub trait Authors: Send + Sync {
    /// The last write to an object, by plural name of its kind, where it is recent enough to be
    /// remembered.
    fn last(&self, resource: &str, namespace: &str, name: &str) -> Option<Author>;
}
