//! What can go wrong with an image.

use std::io;

/// A failed operation with its subject.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that is not an image reference.
    #[error("invalid image reference {0:?}: {1}")]
    Reference(String, &'static str),
    /// Text that is not a digest.
    #[error("invalid digest {0:?}")]
    Digest(String),
    /// Bytes that are not a manifest.
    #[error("invalid manifest: {0}")]
    Manifest(String),
    /// Bytes that are not an image configuration.
    #[error("invalid image configuration: {0}")]
    Config(String),
    /// A layer that is malformed or asks for something forbidden.
    #[error("layer entry {entry:?}: {reason}")]
    Entry {
        /// Path in the archive, or `byte N` where it has none.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// A budget is used up.
    #[error("layer exceeds {0}")]
    Limit(String),
    /// The file system refused.
    #[error("{what}")]
    Io {
        /// Operation with its subject.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Received bytes are not what their name says.
    #[error("content of {expected} has digest {actual}")]
    Mismatch {
        /// Asked for.
        expected: String,
        /// Received.
        actual: String,
    },
    /// A registry answered with an error.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// Request.
        url: String,
        /// HTTP status.
        status: u16,
        /// Its words, bounded.
        message: String,
    },
    /// A registry could not be reached in time.
    #[error("reach {url}: {cause}")]
    Unreachable {
        /// Request.
        url: String,
        /// Cause.
        cause: String,
    },
}

impl Error {
    /// Wraps an I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }

    pub(crate) fn entry(entry: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Entry {
            entry: entry.into(),
            reason: reason.into(),
        }
    }

    /// Whether asking again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}
