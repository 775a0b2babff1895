//! A container's output on its way to the log and to those attached.

use crate::log::{LineCutter, Stream, Writer};
use crate::record::now;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// One end of output and what is pending of it.
pub(super) struct Source {
    pub(super) fd: OwnedFd,
    pub(super) stream: Stream,
    cutter: LineCutter,
}

/// What a read gave.
pub(super) enum Read {
    /// This much, in the buffer.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// Nothing ever again.
    End,
}

impl Source {
    pub(super) fn new(fd: OwnedFd, stream: Stream) -> Self {
        Self {
            fd,
            stream,
            cutter: LineCutter::new(stream),
        }
    }

    /// Reads what is there and logs it; the bytes stay in `buffer` for those attached.
    pub(super) fn read(&mut self, buffer: &mut [u8], log: &mut Option<Writer>) -> Read {
        let length = match rustix::io::read(&self.fd, &mut *buffer) {
            Ok(0) => return self.finish(log),
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Read::Empty,
            // A terminal whose last user is gone answers EIO.
            Err(_) => return self.finish(log),
        };
        let mut lines = Vec::with_capacity(length + 256);
        self.cutter.push(&buffer[..length], &now(), &mut lines);
        write(log, &lines);
        Read::Bytes(length)
    }

    fn finish(&mut self, log: &mut Option<Writer>) -> Read {
        let mut lines = Vec::new();
        self.cutter.finish(&now(), &mut lines);
        write(log, &lines);
        Read::End
    }

    /// Logs what is pending when nothing more is waited for.
    pub(super) fn abandon(mut self, log: &mut Option<Writer>) {
        self.finish(log);
    }
}

fn write(log: &mut Option<Writer>, lines: &[u8]) {
    if lines.is_empty() {
        return;
    }
    if let Some(log) = log
        && let Err(error) = log.write(lines)
    {
        tracing::error!(%error, "log lines lost");
    }
}

/// Writes all of `bytes` to a non-blocking pipe; false where it is full or closed. A reader that
/// does not keep up with a mebibyte of pipe is dropped rather than stopping the container.
pub(super) fn copy(bytes: &[u8], to: &OwnedFd) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(length) => rest = &rest[length..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Prepares an attached pipe for output.
pub(super) fn prepare(fd: &OwnedFd) -> io::Result<()> {
    super::session::set_nonblocking(fd.as_fd())?;
    let _ = rustix::pipe::fcntl_setpipe_size(fd, 1 << 20);
    Ok(())
}
