//! Why something about repositories could not be done.

use std::io;
use std::path::{Path, PathBuf};

/// One variant per operation, with its subject.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory.
    #[error("{what} {}", path.display())]
    File {
        /// `make`, `write`, …
        what: &'static str,
        /// Subject.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The git program.
    #[error("git {what} in {}", repository.display())]
    Git {
        /// Subcommand.
        what: &'static str,
        /// Directory of the repository.
        repository: PathBuf,
        /// Cause, with the program's words.
        #[source]
        source: io::Error,
    },
    /// A request to the API.
    #[error("{what} {subject}")]
    Api {
        /// `read repository`, `make run`, …
        what: &'static str,
        /// Object.
        subject: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// Reading a commit's files.
    #[error("read commit {sha} of {repository}")]
    Commit {
        /// `<namespace>/<name>`.
        repository: String,
        /// Commit.
        sha: String,
        /// Cause.
        #[source]
        source: towpath_kit::traits::SourceError,
    },
}

impl Error {
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            what,
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn git(what: &'static str, repository: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Git {
            what,
            repository: repository.to_path_buf(),
            source,
        }
    }

    pub(crate) fn api(
        what: &'static str,
        subject: impl std::fmt::Display,
    ) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api {
            what,
            subject: subject.to_string(),
            source: Box::new(source),
        }
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
