//! Connections to ports on the loopback interface of a pod.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A port that does not answer is given up.
const DIAL: Duration = Duration::from_secs(10);

/// Connects inside a network namespace, or on the host. A socket stays in the namespace it was
/// made in, and a thread that entered one must not be used for anything else.
pub(crate) async fn connect(netns: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    let (send, receive) = oneshot::channel();
    std::thread::Builder::new()
        .name("pod port".into())
        .spawn(move || drop(send.send(dial(netns, port))))?;
    let socket = receive
        .await
        .map_err(|_| io::Error::other("thread ended without a word"))??;
    socket.set_nonblocking(true)?;
    TcpStream::from_std(socket)
}

fn dial(netns: Option<PathBuf>, port: u16) -> io::Result<std::net::TcpStream> {
    if let Some(path) = netns {
        setns(File::open(path)?.as_fd(), CloneFlags::CLONE_NEWNET)?;
    }
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    std::net::TcpStream::connect_timeout(&four, DIAL)
        .or_else(|error| std::net::TcpStream::connect_timeout(&six, DIAL).map_err(|_| error))
}
