//! The seam between shim and OCI runtime.

use super::{Layout, session};
use crate::spec::Process;
use crate::user::Ids;
use std::io;
use std::os::fd::OwnedFd;

/// Why a container or a process did not start.
#[derive(Debug)]
pub(super) struct Failure {
    /// Whether its program is missing or not runnable.
    pub(super) program: bool,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            program: false,
            message: message.into(),
        }
    }

    pub(super) fn what(what: &str) -> impl Fn(io::Error) -> Self + '_ {
        move |error| Self::new(format!("{what}: {error}"))
    }
}

/// Standard descriptors of a process; all above 2.
pub(super) struct Stdio {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Stdio {
    pub(super) fn null() -> io::Result<Self> {
        Ok(Self {
            stdin: session::null()?,
            stdout: session::null()?,
            stderr: session::null()?,
        })
    }
}

/// A started process, with the master end of its terminal where it has one.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) terminal: Option<OwnedFd>,
}

/// Makes containers and adds processes to them. Called from a process with one thread; what it
/// starts are children of that process.
pub(super) trait OciRuntime {
    /// Makes the container of `layout.bundle` and starts its first process. On return the
    /// program runs.
    fn start(
        &mut self,
        layout: &Layout,
        process: &Process,
        stdio: Stdio,
    ) -> Result<Started, Failure>;
    /// Adds a process. On return its program runs.
    fn exec(
        &mut self,
        layout: &Layout,
        process: &Process,
        ids: &Ids,
        stdio: Stdio,
    ) -> Result<Started, Failure>;
    /// How it wants `config.json` written.
    fn dialect(&self) -> crate::oci::Dialect;
}
