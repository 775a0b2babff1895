//! Runs one container on Linux: root file system, OCI spec, shim, control group, exec.
//! Knows nothing of pods.
//!
//! * [`spec`]: what to run, in plain data.
//! * [`Runtime`]: the server's side. It starts one shim per container and finds the running
//!   ones again after a restart; a [`Container`] waits, signals, executes, attaches.
//! * [`run()`](Runtime::run): one command in a root file system, output streamed, killed when
//!   dropped.
//! * [`shim`]: the other side. The same binary, executed again from a sealed copy as a child
//!   with one thread; it alone calls the OCI runtime. [`shim::main`] must be called before the
//!   process has any other thread.
//! * [`cgroup`], [`log`], [`record`]: what a shim leaves for others to read.
//!
//! Invariants: no process is made from a process with threads except by executing a program;
//! the server's end does not end a container; a record never goes backwards; nothing is
//! mounted in the host's mount namespace.

#![allow(unsafe_code)] // system calls without a safe wrapper, each with its argument

pub mod cgroup;
mod error;
pub mod log;
mod oci;
mod packet;
mod protocol;
pub mod record;
mod runtime;
mod seccomp;
pub mod shim;
pub mod spec;
mod user;

pub use error::Error;
pub use record::{Phase, Record};
pub use runtime::{
    Attachment, Backend, Chunk, Container, ExecProcess, ExecStdio, Pipe, RunSpec, Running, Runtime,
    RuntimeConfig, TerminalSize, host_rootfs_mounts, pin_ipc_namespace, remove_tree,
    unpin_namespace,
};
pub use spec::*;

/// Capabilities of a container that asks for nothing special, as container runtimes agree on.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
