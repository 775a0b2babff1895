//! Why a reconcile did not end well.

use std::fmt::Write;

/// What failed, with its subject.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the API.
    #[error("{verb} {kind} {name}")]
    Request {
        /// `create`, `patch`, …
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Namespace and name.
        name: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// Reading what the API serves.
    #[error("discover the kinds that the API serves")]
    Discovery(#[source] Box<kube::Error>),
    /// A kind that the API does not serve.
    #[error("{api_version} {kind} is not served by the API")]
    UnknownKind {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// A local volume's directory.
    #[error("{verb} volume directory {path}")]
    Directory {
        /// `make` or `remove`.
        verb: &'static str,
        /// Directory.
        path: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// An object that cannot be worked with.
    #[error("{subject}: {why}")]
    Invalid {
        /// Kind, namespace and name.
        subject: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    fn has(&self, code: u16, reason: &str) -> bool {
        self.status()
            .is_some_and(|s| s.code == code && (reason.is_empty() || s.reason == reason))
    }

    /// The object is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.has(404, "")
    }

    /// The object changed since it was read, or is another one under the same name.
    pub(crate) fn is_conflict(&self) -> bool {
        self.has(409, "Conflict")
    }

    /// An object of this name is there already.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.has(409, "AlreadyExists")
    }

    /// The namespace is being deleted, so nothing can be made in it any more.
    pub(crate) fn is_namespace_ending(&self) -> bool {
        self.status().is_some_and(|s| {
            s.code == 403
                && (s.message.contains("is being terminated")
                    || s.details.as_ref().is_some_and(|d| {
                        d.causes.iter().any(|c| c.reason == "NamespaceTerminating")
                    }))
        })
    }

    /// The API's own words where it answered, else the whole chain.
    pub(crate) fn words(&self) -> String {
        match self.status() {
            Some(status) => status.message.clone(),
            None => self.chain(),
        }
    }

    /// The error and its causes on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            let _ = write!(text, ": {inner}");
            cause = inner.source();
        }
        text
    }
}
