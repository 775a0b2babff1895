//! What makes batches durable: a small trait, so that index, ring and rules stay the same
//! whatever lies under them.

use crate::error::Error;
use crate::rec::Rec;
use std::sync::Arc;

/// One object as it is kept.
pub struct Row {
    /// Resource.
    pub resource: Arc<str>,
    /// State.
    pub rec: Arc<Rec>,
}

/// What one commit makes durable.
#[derive(Default)]
pub struct Batch {
    /// Written objects; the row number of each is final.
    pub puts: Vec<Row>,
    /// Row numbers of removed objects.
    pub deletes: Vec<i64>,
    /// Last revision, where it must be kept because no written row carries it.
    pub revision: Option<u64>,
    /// Whether it must be on disk when the commit returns.
    pub durable: bool,
}

impl Batch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty() && self.revision.is_none()
    }
}

/// What was kept.
pub struct Loaded {
    /// All objects.
    pub rows: Vec<Row>,
    /// Highest revision ever made durable.
    pub revision: u64,
    /// Whether the last user closed it.
    pub clean: bool,
}

/// A durable place for objects, used by one thread.
pub trait Backend: Send {
    /// Reads everything, checks it, and makes what it recovered durable.
    fn load(&mut self) -> Result<Loaded, Error>;
    /// Makes a batch durable (or, where not asked for, written). [`Error::Full`] promises that
    /// nothing was written; after any other error the state on disk is unknown and no further
    /// call may be made.
    fn commit(&mut self, batch: &Batch) -> Result<(), Error>;
    /// Makes earlier commits durable that did not ask for it.
    fn sync(&mut self) -> Result<(), Error>;
    /// Housekeeping between batches, after the acknowledgements: when due, or `now`, because
    /// space runs out and what follows must fit in what is there.
    fn tidy(&mut self, now: bool) -> Result<(), Error>;
    /// Last call: marks a clean end.
    fn close(&mut self, revision: u64) -> Result<(), Error>;
}
