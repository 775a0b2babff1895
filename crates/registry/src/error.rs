//! Failures of the registry itself; a client's mistakes are [`crate::wire::Refusal`]s.

use towpath_store::BlobError;

/// A failed operation with its subject.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index could not be read or written.
    #[error("{what} the registry's index")]
    Index {
        /// Operation.
        what: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The index holds a record that does not match its checksum before its end.
    #[error("the registry's index is damaged at byte {0}")]
    Damaged(u64),
    /// Blob storage failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An image is malformed or an origin failed.
    #[error(transparent)]
    Image(#[from] towpath_oci::Error),
}
