//! Messages with file descriptors between server and shim: one packet of JSON each over a
//! `SOCK_SEQPACKET` socket in the container's state directory.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use tokio::io::unix::AsyncFd;

/// Largest packet; bounds the arguments and environment of an exec.
pub(crate) const PACKET_BYTES: usize = 192 << 10;
const MAX_FDS: usize = 4;
const SOCKET: &str = "ctl.sock";

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

// The path of a socket is at most 107 bytes; through a descriptor of its directory it is short.
fn address(dir: BorrowedFd<'_>) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!(
        "/proc/self/fd/{}/{SOCKET}",
        dir.as_raw_fd()
    ))?)
}

/// Listens in a state directory.
pub(crate) fn listen(dir: &Path) -> io::Result<OwnedFd> {
    let _ = std::fs::remove_file(dir.join(SOCKET));
    let dir = std::fs::File::open(dir)?;
    let listener = socket(SocketFlags::NONBLOCK)?;
    rustix::net::bind(&listener, &address(dir.as_fd())?)?;
    rustix::net::listen(&listener, 64)?;
    Ok(listener)
}

/// Sends one packet; blocks or not as the socket does.
pub(crate) fn send(
    to: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    if bytes.len() > PACKET_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("message over {PACKET_BYTES} bytes"),
        ));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many descriptors",
        ));
    }
    rustix::net::sendmsg(
        to,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one packet; `None` at the end.
pub(crate) fn receive<T: DeserializeOwned>(
    from: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0u8; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let length =
        rustix::net::recvmsg(from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&bytes[..length]).map_err(io::Error::other)?;
    Ok(Some((message, fds)))
}

/// The server's end of a conversation with a shim.
pub(crate) struct Conversation(AsyncFd<OwnedFd>);

impl Conversation {
    /// Connects to the shim of a state directory.
    pub(crate) fn connect(dir: &Path) -> io::Result<Self> {
        let dir = std::fs::File::open(dir)?;
        let socket = socket(SocketFlags::NONBLOCK)?;
        rustix::net::connect(&socket, &address(dir.as_fd())?)?;
        // SAFETY: the descriptor is owned by the `AsyncFd` and not closed before it.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// Sends one packet.
    pub(crate) async fn send(
        &self,
        message: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        loop {
            let mut ready = self.0.writable().await?;
            if let Ok(result) = ready.try_io(|socket| send(socket.as_fd(), message, fds)) {
                return result;
            }
        }
    }

    /// Receives one packet; `None` once the shim closed.
    pub(crate) async fn receive<T: DeserializeOwned>(
        &self,
    ) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|socket| receive(socket.as_fd())) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(None);
                }
                Ok(result) => return result,
                Err(_) => {}
            }
        }
    }
}
