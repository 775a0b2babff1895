//! Why an operation of the pipeline failed.

/// Failed operation with its subject.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API refused or was not reached.
    #[error("{what}")]
    Api {
        /// Operation and object.
        what: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// The repository could not be read.
    #[error("read {repository} at {sha}")]
    Source {
        /// `<namespace>/<name>`.
        repository: String,
        /// Commit.
        sha: String,
        /// Cause.
        #[source]
        source: towpath_kit::traits::SourceError,
    },
    /// A value could not be written as JSON.
    #[error("encode {what}")]
    Encode {
        /// What.
        what: &'static str,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api {
            what,
            source: Box::new(source),
        }
    }
}
