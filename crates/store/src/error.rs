//! What can go wrong, by operation.

use crate::rec::Rec;
use std::sync::Arc;

/// Why the store did not open or a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or database cannot be used.
    #[error("open object store {path}")]
    Open {
        /// Directory.
        path: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Written by a newer Towpath.
    #[error("object store has format {found}, this program reads up to {known}")]
    Format {
        /// On disk.
        found: i64,
        /// Newest known.
        known: i64,
    },
    /// A stored row does not match its checksum.
    #[error("object store is damaged: {0}")]
    Damaged(String),
    /// The back end failed.
    #[error("{what}")]
    Backend {
        /// Operation.
        what: &'static str,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk has no room; nothing was written and nothing was lost.
    #[error("no space left on the object store's disk")]
    Full,
}

/// Why a transaction was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// An operation's precondition does not hold; nothing of the transaction was done.
    #[error("precondition of operation {index} does not hold")]
    Conflict {
        /// Which operation.
        index: usize,
        /// What is there.
        current: Option<Arc<Rec>>,
    },
    /// An earlier write could not be made durable: reads go on, writes do not.
    #[error("object store is read-only: {0}")]
    ReadOnly(Arc<str>),
    /// The disk is nearly full: deletes and reads go on.
    #[error("object store refuses writes: {0}")]
    Full(Arc<str>),
    /// The store is closed.
    #[error("object store is closed")]
    Closed,
}
