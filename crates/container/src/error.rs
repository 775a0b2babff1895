//! What can go wrong, by operation and subject.

use std::io;
use std::path::PathBuf;

/// A failed operation on a container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The description is not usable.
    #[error("container {id}: {cause}")]
    Invalid {
        /// Container.
        id: String,
        /// What is wrong.
        cause: String,
    },
    /// The shim's program could not be put into a sealed copy.
    #[error("seal a copy of {path}")]
    Seal {
        /// Program.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The shim did not come up.
    #[error("start shim of container {id}")]
    Shim {
        /// Container.
        id: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The program of the container or of an exec is not there or cannot be run.
    #[error("{0}")]
    Program(String),
    /// The container could not be made or started.
    #[error("start container {id}: {cause}")]
    Start {
        /// Container.
        id: String,
        /// The runtime's words.
        cause: String,
    },
    /// A process could not be added.
    #[error("exec in container {id}: {cause}")]
    Exec {
        /// Container.
        id: String,
        /// The runtime's words.
        cause: String,
    },
    /// The shim is gone, and with it the knowledge how the container ended.
    #[error("shim of container {0} is gone")]
    Lost(String),
    /// The container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// No such container.
    #[error("container {0} not found")]
    NotFound(String),
    /// Files of a container or its control group.
    #[error("{what}")]
    Io {
        /// Operation with its subject.
        what: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
