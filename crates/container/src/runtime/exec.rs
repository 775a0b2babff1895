//! Processes added to a container, and attachments to its own streams: pipes that connect
//! directly to the process or to the shim, so no byte passes through a protocol.

use super::Container;
use crate::error::Error;
use crate::packet::Conversation;
use crate::protocol::{Reply, Request};
use crate::spec::{Exit, Process};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const START: Duration = Duration::from_secs(60);

/// Which streams an exec connects; what is not connected is `/dev/null`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecStdio {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; with a terminal it is part of standard output.
    pub stderr: bool,
}

/// Size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// One end of a pipe or a terminal.
pub struct Pipe(AsyncFd<OwnedFd>);

impl Pipe {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        // SAFETY: the descriptor is owned by the `AsyncFd` and not closed before it.
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let space = buffer.initialize_unfilled();
            let read = guard.try_io(|fd| match rustix::io::read(fd, &mut *space) {
                // A terminal whose last user is gone: its end.
                Err(rustix::io::Errno::IO) => Ok(0),
                other => Ok(other?),
            });
            match read {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(result) = guard.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    // A pipe ends by being dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A process added to a container. Take the streams before waiting.
pub struct ExecProcess {
    /// To its standard input; drop it to end that.
    pub stdin: Option<Pipe>,
    /// From its standard output.
    pub stdout: Option<Pipe>,
    /// From its standard error.
    pub stderr: Option<Pipe>,
    terminal: Option<OwnedFd>,
    conversation: Conversation,
    id: String,
}

impl ExecProcess {
    /// Waits for its end.
    pub async fn wait(&mut self) -> Result<Exit, Error> {
        match self.conversation.receive::<Reply>().await {
            Ok(Some((Reply::Exited { code, signal }, _))) => Ok(Exit {
                code,
                signal,
                oom: false,
            }),
            _ => Err(Error::Lost(self.id.clone())),
        }
    }

    /// Sets the size of its terminal; nothing without one.
    pub fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = &self.terminal {
            set_size(terminal, size);
        }
    }

    /// A handle that resizes after the process was moved elsewhere.
    pub fn resizer(&self) -> impl Fn(TerminalSize) + Send + Sync + 'static {
        let terminal = self.terminal.as_ref().and_then(|fd| fd.try_clone().ok());
        move |size| {
            if let Some(terminal) = &terminal {
                set_size(terminal, size);
            }
        }
    }
}

fn set_size(terminal: &OwnedFd, size: TerminalSize) {
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let _ = rustix::termios::tcsetwinsize(terminal, size);
}

struct Ends {
    ours: Vec<Option<OwnedFd>>,
    theirs: Vec<OwnedFd>,
}

// Pipes for the wanted ones of input, output, error.
fn pipes(wanted: [bool; 3]) -> io::Result<Ends> {
    let mut ends = Ends {
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    for (index, wanted) in wanted.into_iter().enumerate() {
        if !wanted {
            ends.ours.push(None);
            continue;
        }
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (ours, theirs) = if index == 0 {
            (write, read)
        } else {
            (read, write)
        };
        ends.ours.push(Some(ours));
        ends.theirs.push(theirs);
    }
    Ok(ends)
}

fn pipe(ends: &mut Ends, index: usize) -> io::Result<Option<Pipe>> {
    ends.ours[index].take().map(Pipe::new).transpose()
}

pub(super) async fn exec(
    container: &Container,
    process: Process,
    stdio: ExecStdio,
) -> Result<ExecProcess, Error> {
    let id = container.id().to_string();
    let conversation = container.talk()?;
    let terminal = process.terminal;
    let wanted = if terminal {
        [false; 3]
    } else {
        [stdio.stdin, stdio.stdout, stdio.stderr]
    };
    let failed = |error: io::Error| Error::Exec {
        id: id.clone(),
        cause: error.to_string(),
    };
    let mut ends = pipes(wanted).map_err(failed)?;
    let [stdin, stdout, stderr] = wanted;
    let request = Request::Exec {
        process: Box::new(process),
        stdin,
        stdout,
        stderr,
    };
    let theirs = std::mem::take(&mut ends.theirs);
    let answer = async {
        let fds: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
        conversation.send(&request, &fds).await?;
        conversation.receive::<Reply>().await
    };
    let answer = tokio::time::timeout(START, answer)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    drop(theirs);
    let fds = match answer.map_err(failed)? {
        Some((Reply::Started { .. }, fds)) => fds,
        Some((
            Reply::Refused {
                program: true,
                message,
            },
            _,
        )) => return Err(Error::Program(message)),
        Some((Reply::Refused { message, .. }, _)) => {
            return Err(Error::Exec { id, cause: message });
        }
        _ => return Err(Error::NotRunning(id)),
    };
    let mut started = ExecProcess {
        stdin: None,
        stdout: None,
        stderr: None,
        terminal: None,
        conversation,
        id: id.clone(),
    };
    if let (true, Some(master)) = (terminal, fds.into_iter().next()) {
        started.stdin = stdio
            .stdin
            .then(|| master.try_clone().and_then(Pipe::new))
            .transpose()
            .map_err(failed)?;
        started.stdout = Some(master.try_clone().and_then(Pipe::new).map_err(failed)?);
        started.terminal = Some(master);
    } else {
        started.stdin = pipe(&mut ends, 0).map_err(failed)?;
        started.stdout = pipe(&mut ends, 1).map_err(failed)?;
        started.stderr = pipe(&mut ends, 2).map_err(failed)?;
    }
    Ok(started)
}

/// A connection to a container's own streams.
pub struct Attachment {
    /// To its standard input.
    pub stdin: Option<Pipe>,
    /// From its standard output.
    pub stdout: Option<Pipe>,
    /// From its standard error.
    pub stderr: Option<Pipe>,
    // Its end is the attachment's end.
    _conversation: Conversation,
}

impl Attachment {
    /// Takes the streams apart from what keeps them open.
    pub fn split(
        self,
    ) -> (
        Option<Pipe>,
        Option<Pipe>,
        Option<Pipe>,
        impl Send + 'static,
    ) {
        (self.stdin, self.stdout, self.stderr, self._conversation)
    }
}

pub(super) async fn attach(
    container: &Container,
    stdin: bool,
    stdout: bool,
    stderr: bool,
) -> Result<Attachment, Error> {
    let id = container.id();
    let conversation = container.talk()?;
    let failed = |error: io::Error| Error::Exec {
        id: id.into(),
        cause: error.to_string(),
    };
    let mut ends = pipes([stdin, stdout, stderr]).map_err(failed)?;
    let theirs = std::mem::take(&mut ends.theirs);
    let answer = async {
        let fds: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
        conversation
            .send(
                &Request::Attach {
                    stdin,
                    stdout,
                    stderr,
                },
                &fds,
            )
            .await?;
        conversation.receive::<Reply>().await
    };
    let answer = tokio::time::timeout(START, answer)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    drop(theirs);
    match answer.map_err(failed)? {
        Some((Reply::Done, _)) => {}
        Some((Reply::Refused { message, .. }, _)) => {
            return Err(Error::Exec {
                id: id.into(),
                cause: message,
            });
        }
        _ => return Err(Error::NotRunning(id.into())),
    }
    Ok(Attachment {
        stdin: pipe(&mut ends, 0).map_err(failed)?,
        stdout: pipe(&mut ends, 1).map_err(failed)?,
        stderr: pipe(&mut ends, 2).map_err(failed)?,
        _conversation: conversation,
    })
}
