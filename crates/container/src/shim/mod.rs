//! The shim: one process with one thread per container. It mounts the root file system in its
//! own mount namespace, has the OCI runtime make the container, holds its output, writes its
//! log, reaps, serves exec, attach and signals on a socket, and records how it ended.
//!
//! It outlives the server. Started with [`Stdio::Inherit`](crate::spec::Stdio) it ends its
//! container when its standard input ends, so nothing outlives the caller.

mod backend;
mod executor;
mod libcontainer;
mod memory;
mod output;
mod overlay;
mod program;
mod serve;
mod session;
mod trace;

use crate::record::{Phase, ProcessId, Record, StartError, VERSION, now};
use crate::spec::ContainerSpec;
use backend::Failure;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub(crate) const CONFIG: &str = "shim.json";
pub(crate) const ERRORS: &str = "shim.log";
pub(crate) const ROOTFS: &str = "rootfs";

/// Second part of a container's state directory: what the shim is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) spec: ContainerSpec,
    pub(crate) backend: crate::runtime::Backend,
}

/// Entry of the hidden subcommand: `args` are what follows it, one state directory. Call it
/// before anything that makes a thread. Never returns.
pub fn main(args: impl IntoIterator<Item = String>) -> ! {
    let mut args = args.into_iter();
    let code = match (args.next(), args.next()) {
        (Some(dir), None) => run(Path::new(&dir)),
        _ => {
            eprintln!("towpath shim: expects one state directory; it is started by the server");
            2
        }
    };
    std::process::exit(code)
}

fn run(dir: &Path) -> i32 {
    let Ok(dir) = dir.canonicalize() else {
        return 2;
    };
    trace::install(&dir.join(ERRORS));
    let id = dir
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut record = Record {
        version: VERSION,
        id,
        phase: Phase::Starting,
        shim: ProcessId::of(std::process::id() as i32).unwrap_or_default(),
        process: None,
        started_at: None,
        finished_at: None,
        exit: None,
        error: None,
        uid: 0,
    };
    // First the record, then the description: who removes a container relies on this order.
    if record.write(&dir).is_err() {
        return 2;
    }
    let config = match read_config(&dir) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("towpath shim: {}: {error}", dir.display());
            return 2;
        }
    };
    let mut ready = serve::Ready::take(&config.spec.stdio);
    let container = match serve::start(&dir, &config, &mut record) {
        Ok(container) => container,
        Err(failure) => {
            fail(&dir, &config, &mut record, failure);
            ready.tell(&record);
            return 1;
        }
    };
    if let Err(error) = record.write(&dir) {
        tracing::error!(%error, "record not written");
    }
    ready.tell(&record);
    container.serve(record);
    0
}

fn fail(dir: &Path, config: &Config, record: &mut Record, failure: Failure) {
    let mut message = failure.message;
    if !failure.program
        && let Some(words) = trace::first_words(&dir.join(ERRORS))
    {
        message = format!("{message}: {words}");
    }
    record.phase = Phase::Failed;
    record.finished_at = Some(now());
    record.error = Some(StartError {
        program: failure.program,
        message,
    });
    let removed = crate::cgroup::remove(&config.spec.cgroup);
    if let Err(error) = removed.and_then(|()| record.write(dir)) {
        tracing::error!(%error, "failed container not cleaned up");
    }
}

fn read_config(dir: &Path) -> std::io::Result<Config> {
    let bytes = towpath_stdx::bounded::read_file(&dir.join(CONFIG), 8 << 20)?;
    serde_json::from_slice(&bytes).map_err(std::io::Error::other)
}

/// Directories of one container inside its state directory.
pub(crate) struct Layout {
    pub(crate) rootfs: PathBuf,
    pub(crate) bundle: PathBuf,
    pub(crate) state: PathBuf,
}

impl Layout {
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            rootfs: dir.join(ROOTFS),
            bundle: dir.join("bundle"),
            state: dir.join("oci"),
        }
    }
}
