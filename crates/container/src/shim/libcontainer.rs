//! The default runtime: libcontainer, inside the shim.

use super::Layout;
use super::backend::{Failure, OciRuntime, Started, Stdio};
use super::executor::{Exec, OTHER, PROGRAM};
use super::session;
use crate::oci::{self, Dialect};
use crate::seccomp;
use crate::spec::{Process, Seccomp};
use crate::user::Ids;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(super) struct Libcontainer {
    id: String,
}

impl Libcontainer {
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.into() }
    }

    fn builder(
        &self,
        layout: &Layout,
        exec: Exec,
        stdio: Stdio,
        console: Option<&Console>,
    ) -> Result<ContainerBuilder, Failure> {
        let builder = ContainerBuilder::new(self.id.clone(), SyscallType::default())
            .validate_id()
            .and_then(|builder| builder.with_root_path(&layout.state))
            .map_err(|error| Failure::new(words(&error)))?
            .with_executor(exec);
        Ok(match console {
            Some(console) => builder.with_console_socket(Some(&console.path)),
            None => builder
                .with_stdin(stdio.stdin)
                .with_stdout(stdio.stdout)
                .with_stderr(stdio.stderr),
        })
    }

    fn add(
        &self,
        layout: &Layout,
        process: &Process,
        ids: &Ids,
        stdio: Stdio,
    ) -> Result<Started, Failure> {
        let file = layout.bundle.join("process.json");
        let value = oci::process(process, ids, Dialect::Executor);
        std::fs::write(&file, value.to_string()).map_err(Failure::what("write process file"))?;
        let console = Console::wanted(process.terminal, &layout.bundle)?;
        let (report, exec) = executor(process)?;
        let builder = self.builder(layout, exec, stdio, console.as_ref())?;
        let built = session::with_oom_score(process.oom_score_adj, || {
            builder
                .as_tenant()
                .with_detach(true)
                .with_process(Some(&file))
                .build()
        });
        remove_sockets(&layout.state.join(&self.id));
        let pid = match built {
            Ok(pid) => pid,
            Err(error) => return Err(failure(report, &error)),
        };
        let terminal = console
            .map(Console::receive)
            .transpose()
            .map_err(Failure::what("receive terminal"))?;
        running(report)?;
        Ok(Started {
            pid: pid.as_raw(),
            terminal,
        })
    }
}

impl OciRuntime for Libcontainer {
    fn start(
        &mut self,
        layout: &Layout,
        process: &Process,
        stdio: Stdio,
    ) -> Result<Started, Failure> {
        std::fs::create_dir_all(&layout.state).map_err(Failure::what("make state directory"))?;
        let console = Console::wanted(process.terminal, &layout.bundle)?;
        let (report, exec) = executor(process)?;
        let builder = self.builder(layout, exec, stdio, console.as_ref())?;
        let built = session::with_oom_score(process.oom_score_adj, || {
            builder
                .as_init(&layout.bundle)
                .with_systemd(false)
                .with_detach(true)
                .build()
        });
        let mut container = match built {
            Ok(container) => container,
            Err(error) => return Err(failure(report, &error)),
        };
        let terminal = console
            .map(Console::receive)
            .transpose()
            .map_err(Failure::what("receive terminal"))?;
        container
            .start()
            .map_err(|error| Failure::new(words(&error)))?;
        let pid = container
            .pid()
            .ok_or_else(|| Failure::new("runtime names no process"))?;
        running(report)?;
        Ok(Started {
            pid: pid.as_raw(),
            terminal,
        })
    }

    fn exec(
        &mut self,
        layout: &Layout,
        process: &Process,
        ids: &Ids,
        stdio: Stdio,
    ) -> Result<Started, Failure> {
        let before = session::open_descriptors();
        let added = self.add(layout, process, ids, stdio);
        if added.is_err() {
            // The library leaks its channels on this way out.
            session::close_all_but(&before);
        }
        added
    }

    fn dialect(&self) -> Dialect {
        Dialect::Executor
    }
}

// The pipe on which the process in the container says why its program did not run.
fn executor(process: &Process) -> Result<(OwnedFd, Exec), Failure> {
    let filter = match process.seccomp {
        Seccomp::Default => seccomp::compile(&process.capabilities)
            .map_err(Failure::what("compile system call filter"))?,
        Seccomp::Unconfined => Vec::new(),
    };
    let capabilities = serde_json::from_value(oci::capabilities(&process.capabilities))
        .map_err(|error| Failure::new(format!("capabilities: {error}")))?;
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Failure::what("make pipe")(error.into()))?;
    let exec = Exec {
        report: Rc::new(write),
        filter: Rc::new(filter),
        capabilities: Rc::new(capabilities),
    };
    Ok((read, exec))
}

// Waits until the program runs or says why not. The shim's own write end went with the builder.
fn running(report: OwnedFd) -> Result<(), Failure> {
    match said(report) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn said(report: OwnedFd) -> Option<Failure> {
    let mut bytes = Vec::new();
    let _ = File::from(report).take(8192).read_to_end(&mut bytes);
    let (kind, text) = bytes.split_first()?;
    debug_assert!([PROGRAM, OTHER].contains(kind));
    Some(Failure {
        program: *kind == PROGRAM,
        message: String::from_utf8_lossy(text).into_owned(),
    })
}

fn failure(report: OwnedFd, error: &dyn std::error::Error) -> Failure {
    // The process may still be about to end; do not wait for it.
    let _ = session::set_nonblocking(&report);
    said(report).unwrap_or_else(|| Failure::new(words(error)))
}

// The error with its causes; the library keeps them in `source`.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

// Each exec leaves a socket for its start signal behind.
fn remove_sockets(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with("tenant-") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

// The socket over which the runtime hands the terminal's master end.
struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    fn wanted(terminal: bool, dir: &Path) -> Result<Option<Self>, Failure> {
        if !terminal {
            return Ok(None);
        }
        let path = dir.join("console.sock");
        let _ = std::fs::remove_file(&path);
        // Through the directory's descriptor: socket paths are short.
        let listen = || -> io::Result<UnixListener> {
            use std::os::fd::AsRawFd;
            let dir = File::open(dir)?;
            UnixListener::bind(format!("/proc/self/fd/{}/console.sock", dir.as_raw_fd()))
        };
        let listener = listen().map_err(Failure::what("listen for terminal"))?;
        Ok(Some(Self { listener, path }))
    }

    fn receive(self) -> io::Result<OwnedFd> {
        let (stream, _) = self.listener.accept()?;
        let _ = std::fs::remove_file(&self.path);
        let mut bytes = [0u8; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(
            stream.as_fd(),
            &mut parts,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message
                && let Some(fd) = fds.next()
            {
                return Ok(fd);
            }
        }
        Err(io::Error::other("runtime sent no terminal"))
    }
}
