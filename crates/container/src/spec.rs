//! What to run, in plain data. A [`ContainerSpec`] is written to the container's state directory
//! and read there by its shim, so everything in it survives a restart of the server.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique id: letters, digits, `_+-.`, at most 128 characters.
    pub id: String,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// Its first process.
    pub process: Process,
    /// Host name in its own UTS namespace; ignored where that is shared with the host.
    pub hostname: Option<String>,
    /// Mounts in order, on top of `/proc`, `/sys`, `/dev` and what lives in it.
    pub mounts: Vec<Mount>,
    /// Namespaces to make, join or share.
    pub namespaces: Namespaces,
    /// Limits.
    pub resources: Resources,
    /// Control group below every hierarchy's root, e.g. `/towpath/pod<uid>/<id>`.
    pub cgroup: String,
    /// Kernel parameters of its own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Whether `/` is read-only for the processes in it.
    pub readonly_rootfs: bool,
    /// All devices, nothing masked, `/sys` writable. Capabilities and seccomp are separate.
    pub privileged: bool,
    /// Where its output goes.
    pub stdio: Stdio,
}

/// Overlay of layer directories. Mounted in the shim's own mount namespace, so nothing shows on
/// the host and nothing stays after a crash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rootfs {
    /// Read-only layers, uppermost first; `["/"]` is the host's own root file system (without
    /// what is mounted on it: see [`host_rootfs_mounts`](crate::host_rootfs_mounts)).
    pub lower: Vec<PathBuf>,
    /// Directory that takes the writes.
    pub upper: PathBuf,
    /// Scratch directory of overlayfs on the same file system as `upper`.
    pub work: PathBuf,
}

/// Who a process is. Names are looked up in the container's own `/etc/passwd` and `/etc/group`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct User {
    /// `""` (root), `name`, `uid`, `name:group`, `uid:gid`: an image's `USER`.
    pub user: String,
    /// Overrides the group.
    pub group: Option<u32>,
    /// Further groups beside those of `/etc/group`.
    pub supplementary: Vec<u32>,
}

/// A process in a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; at least one.
    pub args: Vec<String>,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Working directory; made where missing. Empty for `/`.
    pub cwd: String,
    /// Its user.
    pub user: User,
    /// Capabilities as `CAP_…`; the bounding, effective and permitted sets.
    pub capabilities: Vec<String>,
    /// Forbids gaining privileges by running a program.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// -1000 to 1000.
    pub oom_score_adj: i32,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Resource limits as (name, soft, hard), e.g. `("RLIMIT_NOFILE", 1024, 4096)`.
    pub rlimits: Vec<(String, u64, u64)>,
}

/// System call filter of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The runtime's default profile. Where it cannot be loaded the process does not start.
    #[default]
    Default,
    /// None.
    Unconfined,
}

/// A mount into the container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container; resolved inside its root file system.
    pub destination: String,
    /// What is mounted.
    pub kind: MountKind,
    /// Whether writing is refused.
    pub readonly: bool,
    /// How mounts made later spread.
    pub propagation: Propagation,
}

/// Kinds of mounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host, with what is mounted below it.
    Bind(PathBuf),
    /// A fresh memory file system.
    Tmpfs {
        /// Size limit; 0 for the kernel's default (half the memory).
        size_bytes: u64,
        /// Mode of its root, e.g. `0o1777`.
        mode: u32,
    },
}

/// Mount propagation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// From the host into the container.
    Slave,
    /// Both ways.
    Shared,
}

impl Mount {
    /// A writable bind mount.
    pub fn bind(source: impl Into<PathBuf>, destination: impl Into<String>) -> Self {
        Self {
            destination: destination.into(),
            kind: MountKind::Bind(source.into()),
            readonly: false,
            propagation: Propagation::Private,
        }
    }

    /// A fresh memory file system.
    pub fn tmpfs(destination: impl Into<String>, size_bytes: u64, mode: u32) -> Self {
        Self {
            destination: destination.into(),
            kind: MountKind::Tmpfs { size_bytes, mode },
            readonly: false,
            propagation: Propagation::Private,
        }
    }

    /// The same, read-only.
    pub fn readonly(mut self) -> Self {
        self.readonly = true;
        self
    }
}

/// Where one namespace comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// A new one.
    #[default]
    New,
    /// The host's.
    Host,
    /// The one a namespace file pins.
    Join(PathBuf),
}

/// A container's namespaces; the mount namespace is always new.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network. New = loopback only, down.
    pub network: Namespace,
    /// System V IPC and POSIX message queues.
    pub ipc: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// Host name.
    pub uts: Namespace,
}

/// Limits of a container; `None` and 0 mean none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative weight, 2 to 262144 (1024 = one core).
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per 100 ms.
    pub cpu_quota_us: Option<i64>,
    /// Bytes.
    pub memory_bytes: Option<i64>,
    /// Processes and threads.
    pub pids: Option<i64>,
}

/// What happens to a container's output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Stdio {
    /// Lines go to a rotated file in the CRI log format
    /// (`2026-01-02T03:04:05.000000006Z stdout F text`).
    Log(LogFile),
    /// It goes to the pipes the shim was started with; the container ends with them.
    Inherit,
}

/// A container's log file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogFile {
    /// Current file; older ones are beside it as `<path>.<n>`, rising.
    pub path: PathBuf,
    /// Size at which it is rotated.
    pub max_bytes: u64,
    /// Files kept, the current one counted.
    pub max_files: u32,
    /// Whether the container has a standard input that can be attached to.
    pub stdin: bool,
    /// Whether the first attachment's end ends that input.
    pub stdin_once: bool,
}

impl LogFile {
    /// 5 files of 10 MiB, no standard input.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 10 << 20,
            max_files: 5,
            stdin: false,
            stdin_once: false,
        }
    }
}

/// How a container's first process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + signal where a signal ended it.
    pub code: i32,
    /// Signal, or 0.
    pub signal: i32,
    /// Whether the kernel killed for want of memory.
    pub oom: bool,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.signal, self.oom) {
            (0, false) => write!(f, "exit code {}", self.code),
            (0, true) => write!(f, "exit code {} (out of memory)", self.code),
            (signal, false) => write!(f, "signal {signal}"),
            (signal, true) => write!(f, "signal {signal} (out of memory)"),
        }
    }
}
