//! One command in a root file system: output streamed, killed with everything it started when
//! the handle is dropped or the server ends, nothing left behind.

use super::{Runtime, remove_blocking};
use crate::error::Error;
use crate::log::Stream;
use crate::record::{Phase, Record};
use crate::spec::{
    ContainerSpec, Exit, Mount, Namespace, Namespaces, Process, Resources, Rootfs, Seccomp, Stdio,
    User,
};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::Instant;

/// What to run. The upper directory keeps what the command wrote.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Unique id, as of a container.
    pub id: String,
    /// Root file system.
    pub rootfs: Rootfs,
    /// Program and arguments.
    pub args: Vec<String>,
    /// `KEY=value`; nothing is inherited.
    pub env: Vec<String>,
    /// Working directory; made where missing.
    pub cwd: String,
    /// As an image's `USER`; empty for root.
    pub user: String,
    /// Host name.
    pub hostname: String,
    /// Mounts on top of the root file system.
    pub mounts: Vec<Mount>,
    /// Network namespace file to join; `None` for an empty one of its own.
    pub netns: Option<PathBuf>,
    /// Limits.
    pub resources: Resources,
    /// Control group, e.g. `/towpath/build/<id>`.
    pub cgroup: String,
    /// Killed after this time.
    pub timeout: Option<Duration>,
    /// Capabilities; [`DEFAULT_CAPABILITIES`](crate::DEFAULT_CAPABILITIES) for ordinary use.
    pub capabilities: Vec<String>,
}

impl RunSpec {
    /// A command with ordinary capabilities and no limits.
    pub fn new(id: &str, rootfs: Rootfs, args: Vec<String>, cgroup: &str) -> Self {
        Self {
            id: id.into(),
            rootfs,
            args,
            env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            hostname: "build".into(),
            mounts: Vec::new(),
            netns: None,
            resources: Resources::default(),
            cgroup: cgroup.into(),
            timeout: None,
            capabilities: crate::DEFAULT_CAPABILITIES.map(String::from).to_vec(),
        }
    }

    fn into_container(self) -> ContainerSpec {
        let process = Process {
            args: self.args,
            env: self.env,
            cwd: self.cwd,
            user: User {
                user: self.user,
                ..User::default()
            },
            capabilities: self.capabilities,
            seccomp: Seccomp::Default,
            ..Process::default()
        };
        let network = self.netns.map_or(Namespace::New, Namespace::Join);
        ContainerSpec {
            id: self.id,
            rootfs: self.rootfs,
            process,
            hostname: Some(self.hostname),
            mounts: self.mounts,
            namespaces: Namespaces {
                network,
                ..Namespaces::default()
            },
            resources: self.resources,
            cgroup: self.cgroup,
            sysctls: BTreeMap::new(),
            readonly_rootfs: false,
            privileged: false,
            stdio: Stdio::Inherit,
        }
    }
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it came from.
    pub stream: Stream,
    /// Bytes, not cut at lines.
    pub bytes: Vec<u8>,
}

/// A running command. Dropping it kills the command and all it started.
pub struct Running {
    id: String,
    dir: PathBuf,
    child: Child,
    // While it is open the container may live.
    leash: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    end: Option<Instant>,
    timed_out: bool,
}

pub(super) fn start(runtime: &Runtime, spec: RunSpec) -> Result<Running, Error> {
    let end = spec.timeout.map(|timeout| Instant::now() + timeout);
    let spec = spec.into_container();
    let dir = runtime.prepare(&spec)?;
    let mut command = runtime.command(&dir);
    command
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(false);
    let mut child = command.spawn().map_err(|source| Error::Shim {
        id: spec.id.clone(),
        source,
    })?;
    let (leash, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    Ok(Running {
        id: spec.id,
        dir,
        child,
        leash,
        stdout,
        stderr,
        end,
        timed_out: false,
    })
}

impl Running {
    /// The next piece of output; `None` once both streams ended.
    pub async fn next(&mut self) -> Option<Chunk> {
        let (mut out, mut err) = (vec![0u8; 16 << 10], vec![0u8; 16 << 10]);
        loop {
            if self.stdout.is_none() && self.stderr.is_none() {
                return None;
            }
            let end = self.end;
            let expired = async move {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            let (stream, length) = tokio::select! {
                length = read(&mut self.stdout, &mut out) => (Stream::Stdout, length),
                length = read(&mut self.stderr, &mut err) => (Stream::Stderr, length),
                () = expired => {
                    self.timed_out = true;
                    self.end = None;
                    self.leash = None;
                    continue;
                }
            };
            let buffer = if stream == Stream::Stdout { &out } else { &err };
            match (length, stream) {
                (0, Stream::Stdout) => self.stdout = None,
                (0, Stream::Stderr) => self.stderr = None,
                _ => {
                    return Some(Chunk {
                        stream,
                        bytes: buffer[..length].to_vec(),
                    });
                }
            }
        }
    }

    /// Discards further output and waits for the end. Nothing of the command is left then but
    /// its upper directory.
    pub async fn wait(mut self) -> Result<Exit, Error> {
        while self.next().await.is_some() {}
        let waited = self.child.wait().await;
        let record = Record::read(&self.dir);
        let dir = self.dir.clone();
        let removed = tokio::task::spawn_blocking(move || remove_blocking(&dir)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(container = self.id, %error, "run not cleaned up");
        }
        waited.map_err(|source| Error::Shim {
            id: self.id.clone(),
            source,
        })?;
        if self.timed_out {
            let source = io::Error::new(io::ErrorKind::TimedOut, "stopped at its time limit");
            return Err(Error::Io {
                what: format!("run container {}", self.id),
                source,
            });
        }
        let record = record.map_err(|_| Error::Lost(self.id.clone()))?;
        match (record.phase, record.exit, record.error) {
            (Phase::Exited, Some(exit), _) => Ok(exit),
            (Phase::Failed, _, Some(error)) if error.program => Err(Error::Program(error.message)),
            (Phase::Failed, _, Some(error)) => Err(Error::Start {
                id: self.id.clone(),
                cause: error.message,
            }),
            _ => Err(Error::Lost(self.id.clone())),
        }
    }
}

async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The shim sees its input end, kills, removes the control group and ends.
        self.leash = None;
        let dir = self.dir.clone();
        if self.dir.exists() {
            let shim = self.child.id();
            // No reactor may be left to wait in; the state directory goes when the shim is done.
            let clean = move || {
                let gone =
                    || shim.is_none_or(|pid| crate::record::ProcessId::of(pid as i32).is_none());
                for _ in 0..500 {
                    if gone() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                let _ = remove_blocking(&dir);
            };
            let _ = std::thread::Builder::new()
                .name("end run".into())
                .spawn(clean);
        }
    }
}
