//! The shim's life: start the container, then one loop over everything that can happen until
//! its first process has ended.

use super::backend::{Failure, OciRuntime, Started, Stdio as ProcessStdio};
use super::libcontainer::Libcontainer;
use super::output::{self, Read, Source};
use super::program::Program;
use super::{Config, Layout, overlay, session};
use crate::cgroup;
use crate::log::{Stream, Writer};
use crate::packet;
use crate::protocol::{Reply, Request};
use crate::record::{Phase, ProcessId, Record, now};
use crate::runtime::Backend;
use crate::spec::{ContainerSpec, Exit, Process, Stdio};
use crate::user;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TALKS: usize = 256;
const INPUT_BYTES: usize = 64 << 10;
const RELEASE_AFTER: Duration = Duration::from_secs(3);
const DRAIN: Duration = Duration::from_secs(2);

/// Where the server waits for the outcome of the start.
pub(super) struct Ready(Option<OwnedFd>);

impl Ready {
    pub(super) fn take(stdio: &Stdio) -> Self {
        match stdio {
            Stdio::Log(_) => Self(session::take_standard(1).ok()),
            Stdio::Inherit => Self(None),
        }
    }

    pub(super) fn tell(&mut self, record: &Record) {
        if let (Some(fd), Ok(bytes)) = (self.0.take(), serde_json::to_vec(record)) {
            let _ = File::from(fd).write_all(&bytes);
        }
    }
}

enum Talk {
    New,
    Waiting,
    Exec(i32),
    Attached {
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    },
}

// A conversation to be closed: an attachment to nothing. Swept after each round, so that indexes
// hold during it.
const GONE: Talk = Talk::Attached {
    stdin: None,
    stdout: None,
    stderr: None,
};

/// A running container and all its shim holds for it.
pub(super) struct Running {
    dir: PathBuf,
    layout: Layout,
    spec: ContainerSpec,
    runtime: Box<dyn OciRuntime>,
    root: OwnedFd,
    pid: i32,
    children: OwnedFd,
    listener: OwnedFd,
    leash: Option<OwnedFd>,
    sources: Vec<Source>,
    log: Option<Writer>,
    input: Option<OwnedFd>,
    pending_input: VecDeque<u8>,
    input_ends: bool,
    talks: Vec<(OwnedFd, Talk)>,
}

/// Sets the shim up, makes the container and starts its program.
pub(super) fn start(dir: &Path, config: &Config, record: &mut Record) -> Result<Running, Failure> {
    let spec = config.spec.clone();
    session::detach().map_err(Failure::what("detach shim"))?;
    session::protect_from_oom();
    let children = session::child_events().map_err(Failure::what("watch children"))?;
    let listener = packet::listen(dir).map_err(Failure::what("listen on control socket"))?;
    let layout = Layout::of(dir);
    overlay::mount(&spec.rootfs, &layout.rootfs)
        .map_err(Failure::what("mount root file system"))?;
    let root = overlay::open(&layout.rootfs).map_err(Failure::what("open root file system"))?;
    let ids = user::resolve(root.as_fd(), &spec.process.user).map_err(Failure::new)?;
    overlay::make_working_directory(root.as_fd(), &spec.process.cwd, ids.uid, ids.gid)
        .map_err(Failure::what("make working directory"))?;
    let mut runtime: Box<dyn OciRuntime> = match &config.backend {
        Backend::Libcontainer => Box::new(Libcontainer::new(&spec.id)),
        Backend::Program(path) => Box::new(Program::new(path, &spec.id)),
    };
    std::fs::create_dir_all(&layout.bundle).map_err(Failure::what("make bundle"))?;
    let value = crate::oci::config(&spec, &ids, &layout.rootfs, runtime.dialect());
    std::fs::write(layout.bundle.join("config.json"), value.to_string())
        .map_err(Failure::what("write bundle"))?;

    let mut pipes = Pipes::open(&spec).map_err(Failure::what("open standard streams"))?;
    let (stdio, leash) = (pipes.stdio, pipes.leash.take());
    let Started { pid, terminal } = runtime.start(&layout, &spec.process, stdio)?;
    if let Some(terminal) = terminal {
        session::set_nonblocking(&terminal).map_err(Failure::what("prepare terminal"))?;
        let input = terminal
            .try_clone()
            .map_err(Failure::what("prepare terminal"))?;
        pipes.input = pipes.input.is_some().then_some(input);
        pipes.sources = vec![Source::new(terminal, Stream::Stdout)];
    }
    record.phase = Phase::Running;
    // A process that already ended is a zombie now: it has no start time to compare with.
    record.process = Some(ProcessId::of(pid).unwrap_or(ProcessId {
        pid,
        started_ticks: 0,
    }));
    record.started_at = Some(now());
    record.uid = ids.uid;
    Ok(Running {
        dir: dir.into(),
        layout,
        runtime,
        root,
        pid,
        children,
        listener,
        leash,
        sources: pipes.sources,
        log: pipes.log,
        input: pipes.input,
        pending_input: VecDeque::new(),
        input_ends: false,
        talks: Vec::new(),
        spec,
    })
}

// Ends of the container's standard streams.
struct Pipes {
    stdio: ProcessStdio,
    leash: Option<OwnedFd>,
    sources: Vec<Source>,
    log: Option<Writer>,
    input: Option<OwnedFd>,
}

impl Pipes {
    fn open(spec: &ContainerSpec) -> io::Result<Self> {
        let settings = match &spec.stdio {
            Stdio::Inherit => {
                let leash = session::take_standard(0)?;
                let (stdout, stderr) = (session::take_standard(1)?, session::take_standard(2)?);
                let stdio = ProcessStdio {
                    stdin: session::null()?,
                    stdout,
                    stderr,
                };
                return Ok(Self {
                    stdio,
                    leash: Some(leash),
                    sources: Vec::new(),
                    log: None,
                    input: None,
                });
            }
            Stdio::Log(settings) => settings,
        };
        drop((session::take_standard(0)?, session::take_standard(2)?));
        let log = Some(Writer::open(settings)?);
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (stdin, input) = if settings.stdin {
            let (read, write) = pipe()?;
            session::set_nonblocking(&write)?;
            (read, Some(write))
        } else {
            (session::null()?, None)
        };
        let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        session::set_nonblocking(&out)?;
        session::set_nonblocking(&err)?;
        let sources = vec![
            Source::new(out, Stream::Stdout),
            Source::new(err, Stream::Stderr),
        ];
        Ok(Self {
            stdio: ProcessStdio {
                stdin,
                stdout,
                stderr,
            },
            leash: None,
            sources,
            log,
            input,
        })
    }
}

#[derive(Clone, Copy)]
enum Token {
    Children,
    Listener,
    Leash,
    Source(usize),
    Input,
    Talk(usize),
    TalkInput(usize),
}

impl Running {
    /// Runs until the container ended, then writes the last record and tells who waits.
    pub(super) fn serve(mut self, mut record: Record) {
        let mut buffer = vec![0u8; 64 << 10];
        // A child may have ended before the handler was watched.
        let mut ended = self.reap();
        // Code that ran for a moment stays mapped; a while after the last or during long activity
        // it is given back.
        let mut release_at = Some(Instant::now() + RELEASE_AFTER);
        while ended.is_none() {
            let patience = release_at.map(|at| at.saturating_duration_since(Instant::now()));
            let ready = self.wait(patience);
            match release_at {
                Some(at) if Instant::now() >= at => {
                    super::memory::release_clean_pages();
                    release_at = None;
                }
                None if !ready.is_empty() => release_at = Some(Instant::now() + RELEASE_AFTER),
                _ => {}
            }
            for (token, flags) in ready {
                match token {
                    Token::Children => {
                        let _ = rustix::io::read(&self.children, &mut buffer[..64]);
                        ended = ended.or(self.reap());
                    }
                    Token::Listener => self.accept(),
                    Token::Leash => self.let_go(),
                    Token::Source(index) => self.take_output(index, &mut buffer),
                    Token::Input => self.give_input(),
                    Token::Talk(index) => self.hear(index, flags),
                    Token::TalkInput(index) => self.take_input(index, &mut buffer),
                }
            }
            self.sweep();
        }
        self.finish(&mut record, ended.unwrap_or_default(), &mut buffer);
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Vec<(Token, PollFlags)> {
        let mut tokens = vec![Token::Children, Token::Listener];
        let mut fds = vec![
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(leash) = &self.leash {
            tokens.push(Token::Leash);
            fds.push(PollFd::new(leash.as_fd(), PollFlags::POLLIN));
        }
        for (index, source) in self.sources.iter().enumerate() {
            tokens.push(Token::Source(index));
            fds.push(PollFd::new(source.fd.as_fd(), PollFlags::POLLIN));
        }
        if let (Some(input), false) = (&self.input, self.pending_input.is_empty()) {
            tokens.push(Token::Input);
            fds.push(PollFd::new(input.as_fd(), PollFlags::POLLOUT));
        }
        for (index, (fd, talk)) in self.talks.iter().enumerate() {
            tokens.push(Token::Talk(index));
            fds.push(PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            if let Talk::Attached {
                stdin: Some(stdin), ..
            } = talk
                && self.pending_input.len() < INPUT_BYTES
            {
                tokens.push(Token::TalkInput(index));
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
        }
        let timeout = timeout
            // Rounded up, or the last millisecond would be spent in a loop.
            .and_then(|t| PollTimeout::try_from(t + Duration::from_millis(1)).ok())
            .unwrap_or(PollTimeout::NONE);
        if poll(&mut fds, timeout).is_err() {
            return Vec::new();
        }
        let ready = tokens
            .into_iter()
            .zip(&fds)
            .map(|(token, fd)| (token, fd.revents().unwrap_or(PollFlags::empty())));
        ready.filter(|(_, flags)| !flags.is_empty()).collect()
    }

    // Takes the status of every ended child; the exit of the first process, if among them.
    fn reap(&mut self) -> Option<Exit> {
        let mut ended = None;
        loop {
            let (pid, code, signal) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), code, 0),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid.as_raw(), 128 + signal as i32, signal as i32)
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return ended,
                Ok(_) => continue,
            };
            if pid == self.pid {
                ended = Some(Exit {
                    code,
                    signal,
                    oom: false,
                });
            }
            let is_it = |talk: &Talk| matches!(talk, Talk::Exec(exec) if *exec == pid);
            if let Some(index) = self.talks.iter().position(|(_, talk)| is_it(talk)) {
                let _ = packet::send(
                    self.talks[index].0.as_fd(),
                    &Reply::Exited { code, signal },
                    &[],
                );
                self.talks[index].1 = GONE;
            }
        }
    }

    fn accept(&mut self) {
        while let Ok(fd) =
            rustix::net::accept_with(&self.listener, rustix::net::SocketFlags::CLOEXEC)
        {
            if self.talks.len() < TALKS {
                self.talks.push((fd, Talk::New));
            }
        }
    }

    // The caller is gone: so is the container.
    fn let_go(&mut self) {
        self.leash = None;
        self.signal(libc::SIGKILL, true);
    }

    fn signal(&self, signal: i32, all: bool) -> bool {
        let signal = match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => signal,
            Err(_) => return false,
        };
        if all {
            for pid in cgroup::processes(&self.spec.cgroup) {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
            }
        }
        // Not reaped yet, so the id is still this process's.
        nix::sys::signal::kill(Pid::from_raw(self.pid), signal).is_ok()
    }

    fn take_output(&mut self, index: usize, buffer: &mut [u8]) {
        let Some(source) = self.sources.get_mut(index) else {
            return;
        };
        let stream = source.stream;
        let length = match source.read(buffer, &mut self.log) {
            Read::Bytes(length) => length,
            Read::Empty => return,
            Read::End => {
                self.sources.swap_remove(index);
                return;
            }
        };
        for (_, talk) in &mut self.talks {
            if let Talk::Attached { stdout, stderr, .. } = talk {
                let sink = if stream == Stream::Stdout {
                    stdout
                } else {
                    stderr
                };
                if sink
                    .as_ref()
                    .is_some_and(|fd| !output::copy(&buffer[..length], fd))
                {
                    *sink = None;
                }
            }
        }
    }

    fn take_input(&mut self, index: usize, buffer: &mut [u8]) {
        let Some((_, Talk::Attached { stdin, .. })) = self.talks.get_mut(index) else {
            return;
        };
        let Some(fd) = stdin else { return };
        match rustix::io::read(&*fd, &mut *buffer) {
            Ok(length) if length > 0 => {
                self.pending_input.extend(&buffer[..length]);
                self.give_input();
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            _ => {
                *stdin = None;
                let once = matches!(&self.spec.stdio, Stdio::Log(log) if log.stdin_once);
                self.input_ends = once && !self.spec.process.terminal;
                self.give_input();
            }
        }
    }

    fn give_input(&mut self) {
        let Some(input) = &self.input else {
            self.pending_input.clear();
            return;
        };
        while !self.pending_input.is_empty() {
            match rustix::io::write(input, self.pending_input.as_slices().0) {
                Ok(length) => drop(self.pending_input.drain(..length)),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                Err(_) => {
                    self.pending_input.clear();
                    self.input = None;
                    return;
                }
            }
        }
        if self.input_ends {
            self.input = None;
        }
    }

    fn hear(&mut self, index: usize, flags: PollFlags) {
        let Some((fd, talk)) = self.talks.get(index) else {
            return;
        };
        if !matches!(talk, Talk::New) || !flags.contains(PollFlags::POLLIN) {
            self.close(index);
            return;
        }
        let heard = packet::receive::<Request>(fd.as_fd());
        let Ok(Some((request, fds))) = heard else {
            self.close(index);
            return;
        };
        let (reply, fds, next) = self.answer(request, fds);
        let Some((fd, talk)) = self.talks.get_mut(index) else {
            return;
        };
        if let Some(reply) = reply {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            let _ = packet::send(fd.as_fd(), &reply, &fds);
        }
        match next {
            Some(next) => *talk = next,
            None => self.close(index),
        }
    }

    fn answer(
        &mut self,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> (Option<Reply>, Vec<OwnedFd>, Option<Talk>) {
        let refused = |message: &str| Reply::Refused {
            program: false,
            message: message.into(),
        };
        match request {
            Request::Wait => (None, Vec::new(), Some(Talk::Waiting)),
            Request::Exec {
                process,
                stdin,
                stdout,
                stderr,
            } => match self.exec(&process, fds, [stdin, stdout, stderr]) {
                Ok(started) => {
                    let terminal = started.terminal.into_iter().collect();
                    (
                        Some(Reply::Started { pid: started.pid }),
                        terminal,
                        Some(Talk::Exec(started.pid)),
                    )
                }
                Err(Failure { program, message }) => {
                    (Some(Reply::Refused { program, message }), Vec::new(), None)
                }
            },
            Request::Attach {
                stdin,
                stdout,
                stderr,
            } => {
                let [stdin, stdout, stderr] = named(fds, [stdin, stdout, stderr]);
                let ready = stdin.iter().try_for_each(session::set_nonblocking);
                let ready =
                    ready.and_then(|()| stdout.iter().chain(&stderr).try_for_each(output::prepare));
                match ready {
                    Ok(()) => (
                        Some(Reply::Done),
                        Vec::new(),
                        Some(Talk::Attached {
                            stdin,
                            stdout,
                            stderr,
                        }),
                    ),
                    Err(error) => (Some(refused(&error.to_string())), Vec::new(), None),
                }
            }
            Request::Signal { signal, all } => {
                let reply = if self.signal(signal, all) {
                    Reply::Done
                } else {
                    refused("signal not sent")
                };
                (Some(reply), Vec::new(), None)
            }
            Request::Resize { columns, rows } => {
                if let (true, Some(source)) = (self.spec.process.terminal, self.sources.first()) {
                    let size = rustix::termios::Winsize {
                        ws_row: rows,
                        ws_col: columns,
                        ws_xpixel: 0,
                        ws_ypixel: 0,
                    };
                    let _ = rustix::termios::tcsetwinsize(&source.fd, size);
                }
                (Some(Reply::Done), Vec::new(), None)
            }
        }
    }

    fn exec(
        &mut self,
        process: &Process,
        fds: Vec<OwnedFd>,
        has: [bool; 3],
    ) -> Result<Started, Failure> {
        let ids = user::resolve(self.root.as_fd(), &process.user).map_err(Failure::new)?;
        let mut stdio = ProcessStdio::null().map_err(Failure::what("open /dev/null"))?;
        let [stdin, stdout, stderr] = named(fds, has);
        stdio.stdin = stdin.unwrap_or(stdio.stdin);
        stdio.stdout = stdout.unwrap_or(stdio.stdout);
        stdio.stderr = stderr.unwrap_or(stdio.stderr);
        self.runtime.exec(&self.layout, process, &ids, stdio)
    }

    fn close(&mut self, index: usize) {
        if index >= self.talks.len() {
            return;
        }
        if let Talk::Exec(pid) = std::mem::replace(&mut self.talks[index].1, GONE) {
            // Nobody waits for it any more. It leads its own session and group.
            for target in [-pid, pid] {
                let _ = nix::sys::signal::kill(Pid::from_raw(target), nix::sys::signal::SIGKILL);
            }
        }
    }

    fn sweep(&mut self) {
        self.talks.retain(|(_, talk)| {
            !matches!(
                talk,
                Talk::Attached {
                    stdin: None,
                    stdout: None,
                    stderr: None
                }
            )
        });
    }

    fn finish(mut self, record: &mut Record, mut exit: Exit, buffer: &mut [u8]) {
        let end = Instant::now() + DRAIN;
        cgroup::kill(&self.spec.cgroup, DRAIN);
        exit.oom = exit.code != 0 && cgroup::oom_kills(&self.spec.cgroup) > 0;
        while !self.sources.is_empty() && Instant::now() < end {
            for (token, _) in self.wait(Some(end.saturating_duration_since(Instant::now()))) {
                match token {
                    Token::Source(index) => self.take_output(index, buffer),
                    Token::Children => {
                        let _ = rustix::io::read(&self.children, &mut buffer[..64]);
                        self.reap();
                    }
                    Token::Listener => self.accept(),
                    Token::Talk(index) => self.hear(index, PollFlags::POLLIN),
                    _ => {}
                }
            }
            self.sweep();
        }
        self.reap();
        for source in std::mem::take(&mut self.sources) {
            source.abandon(&mut self.log);
        }
        record.phase = Phase::Exited;
        record.finished_at = Some(now());
        record.exit = Some(exit);
        if let Err(error) = cgroup::remove(&self.spec.cgroup) {
            tracing::error!(%error, "control group not removed");
        }
        let _ = std::fs::remove_dir_all(&self.layout.state);
        if let Err(error) = record.write(&self.dir) {
            tracing::error!(%error, "record not written");
        }
        // Whoever connected meanwhile also learns of the end.
        self.accept();
        for (fd, talk) in &self.talks {
            if matches!(talk, Talk::Waiting | Talk::New) {
                let _ = packet::send(fd.as_fd(), &Reply::Record(Box::new(record.clone())), &[]);
            }
        }
    }
}

// Puts received descriptors to the names they were sent under.
fn named(fds: Vec<OwnedFd>, has: [bool; 3]) -> [Option<OwnedFd>; 3] {
    let mut fds = fds.into_iter();
    has.map(|has| has.then(|| fds.next()).flatten())
}
