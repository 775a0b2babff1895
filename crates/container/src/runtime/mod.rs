//! The server's side: starts shims, finds the running ones again, talks to them.

mod container;
mod exec;
mod host;
mod run;
mod sealed;

pub use container::Container;
pub use exec::{Attachment, ExecProcess, ExecStdio, Pipe, TerminalSize};
pub use host::{host_rootfs_mounts, pin_ipc_namespace, unpin_namespace};
pub use run::{Chunk, RunSpec, Running};

use crate::error::Error;
use crate::record::Record;
use crate::shim::{CONFIG, Config};
use crate::spec::{ContainerSpec, Stdio};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

const START: Duration = Duration::from_secs(120);
const RECORD_BYTES: u64 = 1 << 20;

/// Which OCI runtime a shim uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backend {
    /// libcontainer, in the shim.
    #[default]
    Libcontainer,
    /// `crun` or `runc` at this path.
    Program(PathBuf),
}

/// Settings of a [`Runtime`].
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// One directory per container is kept below; on a file system overlayfs can write to.
    pub state_dir: PathBuf,
    /// Program that contains [`shim::main`](crate::shim::main).
    pub shim_exe: PathBuf,
    /// Arguments in front of the state directory, e.g. `["shim"]`.
    pub shim_args: Vec<String>,
    /// OCI runtime.
    pub backend: Backend,
}

struct Inner {
    config: RuntimeConfig,
    program: File,
}

/// Starts containers and finds them again. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

impl Runtime {
    /// Copies the shim's program into sealed memory, so that no container can write to the
    /// server's own file through `/proc/self/exe` (CVE-2019-5736). All shims share its pages.
    /// Blocks while copying.
    pub fn new(config: RuntimeConfig) -> Result<Self, Error> {
        std::fs::create_dir_all(&config.state_dir)
            .map_err(Error::io(format!("make {}", config.state_dir.display())))?;
        let path = config.shim_exe.clone();
        let program = sealed::copy(&path).map_err(|source| Error::Seal { path, source })?;
        Ok(Self(Arc::new(Inner { config, program })))
    }

    /// State directory of a container.
    pub fn dir(&self, id: &str) -> PathBuf {
        self.0.config.state_dir.join(id)
    }

    /// Starts a container. On return its program runs, or the error says why not; its record and
    /// log stay until [`remove`](Self::remove) in both cases.
    pub async fn start(&self, spec: &ContainerSpec) -> Result<Container, Error> {
        if !matches!(spec.stdio, Stdio::Log(_)) {
            return Err(invalid(&spec.id, "output must go to a log; use run"));
        }
        let dir = self.prepare(spec)?;
        let mut command = self.command(&dir);
        command
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let shim = |source| Error::Shim {
            id: spec.id.clone(),
            source,
        };
        let mut child = command.kill_on_drop(false).spawn().map_err(shim)?;
        let stdout = child.stdout.take();
        // Reaps the shim whenever it ends; it is not this task's to end.
        towpath_daemon::spawn("shim", async move {
            let _ = child.wait().await;
        });
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            let read = stdout.take(RECORD_BYTES);
            let mut read = std::pin::pin!(read);
            let reading = read.read_to_end(&mut answer);
            match tokio::time::timeout(START, reading).await {
                Ok(result) => drop(result.map_err(shim)?),
                Err(_) => return Err(shim(io::Error::new(io::ErrorKind::TimedOut, "no answer"))),
            }
        }
        let record: Record = match serde_json::from_slice(&answer) {
            Ok(record) => record,
            Err(_) => return Err(shim(io::Error::other("ended without a word"))),
        };
        match record.error {
            None => Ok(Container::new(self.clone(), &spec.id)),
            Some(error) if error.program => Err(Error::Program(error.message)),
            Some(error) => Err(Error::Start {
                id: spec.id.clone(),
                cause: error.message,
            }),
        }
    }

    /// Runs one command and streams its output; see [`RunSpec`].
    pub async fn run(&self, spec: RunSpec) -> Result<Running, Error> {
        run::start(self, spec)
    }

    /// Ids of all containers with a state directory.
    pub fn list(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.0.config.state_dir) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter(|entry| is_container(&entry.path()))
            .filter_map(|e| e.file_name().into_string().ok())
            .collect()
    }

    /// State directories that are no containers: a start or a removal was cut off. Only for who
    /// starts nothing at the same time.
    pub fn remnants(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0.config.state_dir);
        entries
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !is_container(&entry.path()))
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|id| valid_id(id))
            .collect()
    }

    /// A container started earlier, perhaps by an earlier server.
    pub fn find(&self, id: &str) -> Result<Container, Error> {
        if !valid_id(id) || !is_container(&self.dir(id)) {
            return Err(Error::NotFound(id.into()));
        }
        Ok(Container::new(self.clone(), id))
    }

    /// Ends what is left of a container and removes its state directory and control group. Its
    /// log is elsewhere and stays. Idempotent.
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        if !valid_id(id) {
            return Err(invalid(id, "not a container id"));
        }
        let dir = self.dir(id);
        let name = id.to_string();
        let work =
            move || remove_blocking(&dir).map_err(Error::io(format!("remove container {name}")));
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| invalid(id, "removal panicked"))?
    }

    fn prepare(&self, spec: &ContainerSpec) -> Result<PathBuf, Error> {
        validate(spec).map_err(|cause| invalid(&spec.id, cause))?;
        let dir = self.dir(&spec.id);
        let what = || format!("make state directory of container {}", spec.id);
        std::fs::create_dir(&dir).map_err(Error::io(what()))?;
        let config = Config {
            spec: spec.clone(),
            backend: self.0.config.backend.clone(),
        };
        let bytes = serde_json::to_vec(&config)
            .map_err(io::Error::other)
            .map_err(Error::io(what()))?;
        crate::record::replace(&dir.join(CONFIG), &bytes).map_err(Error::io(what()))?;
        Ok(dir)
    }

    fn command(&self, dir: &Path) -> tokio::process::Command {
        // The child opens its own copy of the descriptor, which is closed as it executes.
        let program = format!("/proc/self/fd/{}", self.0.program.as_raw_fd());
        let mut command = towpath_stdx::process::command(program);
        command
            .args(&self.0.config.shim_args)
            .arg(dir)
            .arg0("towpath")
            .env_clear()
            // The server's allocator takes memory in large pieces; a shim needs little.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .env("MIMALLOC_PAGE_COMMIT_ON_DEMAND", "1")
            .env("MIMALLOC_PURGE_DELAY", "0");
        command
    }
}

fn is_container(dir: &Path) -> bool {
    dir.join(CONFIG).exists() || dir.join(crate::record::RECORD).exists()
}

fn invalid(id: &str, cause: impl Into<String>) -> Error {
    Error::Invalid {
        id: id.into(),
        cause: cause.into(),
    }
}

fn valid_id(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    (1..=128).contains(&id.len()) && !id.starts_with('.') && id.chars().all(plain)
}

fn validate(spec: &ContainerSpec) -> Result<(), String> {
    if !valid_id(&spec.id) {
        return Err("not a container id".into());
    }
    if spec.process.args.is_empty() {
        return Err("no command given".into());
    }
    if spec.cgroup.matches('/').count() < 2 || spec.cgroup.split('/').any(|part| part == "..") {
        return Err(format!(
            "control group {:?} is not below a parent",
            spec.cgroup
        ));
    }
    for mount in &spec.mounts {
        if !mount.destination.starts_with('/')
            || mount.destination.split('/').any(|part| part == "..")
        {
            return Err(format!(
                "mount destination {:?} is not an absolute path",
                mount.destination
            ));
        }
    }
    let texts = spec.process.args.iter().chain(&spec.process.env);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err("arguments and environment must not hold zero bytes".into());
    }
    Ok(())
}

// Kills the shim and everything in the control group, then removes both.
pub(crate) fn remove_blocking(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let config = std::fs::read(dir.join(CONFIG)).ok();
    let config = config.and_then(|bytes| serde_json::from_slice::<Config>(&bytes).ok());
    // A shim writes its record before it reads its description. So with the description gone,
    // either its record is here to be seen or it will not start anything.
    let _ = std::fs::remove_file(dir.join(CONFIG));
    if let Ok(record) = Record::read(dir) {
        end_shim(&record);
    }
    if let Some(config) = config {
        crate::cgroup::remove(&config.spec.cgroup)?;
    }
    remove_tree(dir)
}

// On return the shim is gone, and with it what it was just starting.
fn end_shim(record: &Record) {
    use nix::sys::signal::{Signal, kill};
    let pid = |pid: i32| nix::unistd::Pid::from_raw(pid);
    if record.phase <= crate::record::Phase::Running && record.shim.alive() {
        let mut doomed = Vec::new();
        if record.phase == crate::record::Phase::Starting {
            // Its children may not be in the control group yet.
            let _ = kill(pid(record.shim.pid), Signal::SIGSTOP);
            descendants(record.shim.pid, &mut doomed);
        }
        doomed.push(record.shim.pid);
        for process in doomed {
            let _ = kill(pid(process), Signal::SIGKILL);
        }
    }
    // What still lives may still write.
    for _ in 0..2000 {
        if !record.shim.alive() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn descendants(of: i32, found: &mut Vec<i32>) {
    let text =
        std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    for child in text.split_whitespace().filter_map(|word| word.parse().ok()) {
        found.push(child);
        descendants(child, found);
    }
}

/// Removes a directory with all below it; also where something that is just ending still puts
/// files there. Blocks. Idempotent.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    for _ in 0..100 {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other,
        }
    }
    std::fs::remove_dir_all(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_names() {
        for id in ["a", "run-1.x+y_z"] {
            assert!(valid_id(id), "{id}");
        }
        for id in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            ".hidden",
            "ä",
            &"x".repeat(129),
        ] {
            assert!(!valid_id(id), "{id}");
        }
    }
}
