//! Why the network could not be set up or taken down.

use std::io;
use std::path::{Path, PathBuf};

/// One variant per operation, with its subject.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory.
    #[error("{what} {}", path.display())]
    File {
        /// `read`, `write`, …
        what: &'static str,
        /// Subject.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A netlink request.
    #[error("{0}")]
    Link(String, #[source] rtnetlink::Error),
    /// The netlink socket.
    #[error("open netlink socket")]
    Netlink(#[source] io::Error),
    /// A link that should be there is not.
    #[error("link {0} is not there")]
    NoLink(String),
    /// A namespace operation.
    #[error("{what} {}", path.display())]
    Namespace {
        /// `make network namespace`, …
        what: &'static str,
        /// Its file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The `nft` program.
    #[error("change nftables table {table}")]
    Rules {
        /// Table.
        table: String,
        /// Cause, with the program's words.
        #[source]
        source: io::Error,
    },
    /// A sandbox id that is no file name.
    #[error("sandbox id {0:?} is not 1 to 128 of a-z A-Z 0-9 . _ -")]
    Id(String),
    /// All addresses are taken.
    #[error("pod network {0} has no free address")]
    Exhausted(String),
    /// A listener.
    #[error("listen on {0}")]
    Listen(String, #[source] io::Error),
}

impl Error {
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            what,
            path: path.to_path_buf(),
            source,
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
