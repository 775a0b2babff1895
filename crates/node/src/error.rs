//! What can go wrong in the agent, by operation and subject.

use std::io;
use towpath_kit::traits::{ImageError, NetworkError};

/// A failed operation of the node agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container runtime.
    #[error(transparent)]
    Container(#[from] towpath_container::Error),
    /// The API.
    #[error("{what}")]
    Api {
        /// Operation with its subject.
        what: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// An image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer of an image.
    #[error("unpack layer {layer}: {cause}")]
    Layer {
        /// Digest.
        layer: String,
        /// Cause.
        cause: String,
    },
    /// The pod network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Files.
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
    /// The API refuses writes for want of space.
    pub(crate) fn is_full(&self) -> bool {
        let Self::Api { source, .. } = self else {
            return false;
        };
        matches!(&**source, kube::Error::Api(status) if status.code == 507)
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api {
            what,
            source: Box::new(source),
        }
    }
}

/// An error with its causes, for events and statuses.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
