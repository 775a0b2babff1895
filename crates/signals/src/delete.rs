//! How samples are taken away again.

use towpath_query::promql::Matcher;

use crate::WriteError;

/// Deletes samples.
pub trait Delete: Send + Sync {
    /// Deletes the samples from `start` to `end`, both included, of series that pass one of the
    /// sets. They are out of sight when this returns and stay so.
    ///
    /// # Errors
    /// It cannot be written down.
    fn delete(&self, sets: &[Vec<Matcher>], start: i64, end: i64) -> Result<(), WriteError>;

    /// Frees what deleted samples take on the disk; tells how many bytes.
    ///
    /// # Errors
    /// The disk fails.
    fn clean(&self) -> Result<u64, WriteError>;
}
