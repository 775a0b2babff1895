//! Why a step did not work; the reconcilers try again.

use towpath_kit::traits::SourceError;

/// What failed, with its subject.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the cluster.
    #[error("{what}")]
    Cluster {
        /// Operation and object.
        what: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// A call to the cluster took too long.
    #[error("{0} took longer than {1} s")]
    Deadline(String, u64),
    /// The cluster does not know the kind.
    #[error("the cluster has no kind {kind} in {api_version}")]
    UnknownKind {
        /// `group/version`.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// Reading or writing commits.
    #[error("{what}")]
    Source {
        /// Operation and repository.
        what: String,
        /// Cause.
        #[source]
        source: SourceError,
    },
}

impl Error {
    pub(crate) fn cluster(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Cluster {
            what,
            source: Box::new(source),
        }
    }

    pub(crate) fn source(what: impl Into<String>) -> impl FnOnce(SourceError) -> Self {
        let what = what.into();
        move |source| Self::Source { what, source }
    }

    /// Whether trying the same again cannot help.
    pub(crate) fn is_definite(&self) -> bool {
        match self {
            Self::Cluster { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => matches!(status.code, 400 | 403 | 405 | 413 | 422),
                _ => false,
            },
            Self::UnknownKind { .. } => true,
            Self::Deadline(..) | Self::Source { .. } => false,
        }
    }

    /// The whole chain as one sentence.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Cluster { what, source } => match source.as_ref() {
                kube::Error::Api(status) => format!("{what}: {}", status.message),
                other => format!("{what}: {other}"),
            },
            Self::Source { what, source } => format!("{what}: {source}"),
            other => other.to_string(),
        }
    }
}
