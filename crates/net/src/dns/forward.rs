//! Questions about the rest of the world, handed to the host's own resolvers as they came.
//!
//! Never to a loopback address: what listens there may forward to us. Hosts with a local stub
//! keep the real list elsewhere.

use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use towpath_stdx::{Random, SystemRandom, bounded};

const DEADLINE: Duration = Duration::from_secs(2);
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The host's resolvers, read again when their file changes.
pub(crate) struct Upstreams {
    own: Ipv4Addr,
    known: Mutex<(Vec<Option<SystemTime>>, Vec<SocketAddr>)>,
}

impl Upstreams {
    /// `own`: where we listen, which is never asked.
    pub(crate) fn new(own: Ipv4Addr) -> Self {
        Self {
            own,
            known: Mutex::default(),
        }
    }

    fn current(&self) -> Vec<SocketAddr> {
        let modified = |path: &&str| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        let times: Vec<_> = FILES.iter().map(modified).collect();
        let mut known = self.known.lock();
        if known.0 != times {
            let found = FILES.iter().map(|path| {
                let text = bounded::read_file(path.as_ref(), 64 << 10).unwrap_or_default();
                parse(&String::from_utf8_lossy(&text), self.own)
            });
            known.1 = found
                .into_iter()
                .find(|list| !list.is_empty())
                .unwrap_or_default();
            known.0 = times;
        }
        known.1.clone()
    }

    /// Hands on a question; its answer, or an error when nobody gave one in time.
    pub(crate) async fn ask(&self, question: &[u8], tcp: bool) -> io::Result<Vec<u8>> {
        let mut last = io::Error::new(
            io::ErrorKind::NotFound,
            "the host has no resolver that is not local",
        );
        for upstream in self.current() {
            let attempt = async {
                if tcp {
                    ask_tcp(upstream, question).await
                } else {
                    ask_udp(upstream, question).await
                }
            };
            match tokio::time::timeout(DEADLINE, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(_) => {
                    last = io::Error::new(io::ErrorKind::TimedOut, format!("{upstream} is silent"))
                }
            }
        }
        Err(last)
    }
}

/// Resolvers of a `resolv.conf`, at most three as in the C library.
fn parse(text: &str, own: Ipv4Addr) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        // A zone (`fe80::1%eth0`) cannot be asked from here.
        words.next()?.parse::<IpAddr>().ok()
    });
    servers
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && *ip != IpAddr::V4(own))
        .take(3)
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

// With an id of our own, so that an answer cannot be guessed from what the pod chose.
fn disguise(question: &[u8]) -> io::Result<(Vec<u8>, [u8; 2])> {
    let mut id = [0; 2];
    SystemRandom.fill(&mut id);
    let mut disguised = question.to_vec();
    let head = disguised.get_mut(..2).ok_or(io::ErrorKind::InvalidData)?;
    head.copy_from_slice(&id);
    Ok((disguised, id))
}

fn restore(mut answer: Vec<u8>, question: &[u8]) -> Vec<u8> {
    answer[..2].copy_from_slice(&question[..2]);
    answer
}

// Same id, and the question section is repeated byte for byte.
fn fits(answer: &[u8], question: &[u8], id: [u8; 2]) -> bool {
    let asked = question_section(question);
    answer.len() >= 12
        && answer[..2] == id
        && answer[2] & 0x80 != 0
        && asked.is_some_and(|asked| {
            answer
                .get(12..12 + asked.len())
                .is_some_and(|a| a.eq_ignore_ascii_case(asked))
        })
}

// Name (labels, uncompressed), type and class of the first question.
fn question_section(message: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    loop {
        match usize::from(*message.get(at)?) {
            0 => break,
            length if length < 64 => at += 1 + length,
            _ => return None,
        }
    }
    message.get(12..at + 5)
}

async fn ask_udp(upstream: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if upstream.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let (disguised, id) = disguise(question)?;
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(&disguised).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if fits(&buffer[..length], question, id) {
            buffer.truncate(length);
            return Ok(restore(buffer, question));
        }
    }
}

async fn ask_tcp(upstream: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let (disguised, id) = disguise(question)?;
    let mut stream = TcpStream::connect(upstream).await?;
    let length = u16::try_from(disguised.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), disguised.as_slice()].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if !fits(&answer, question, id) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "answer to another question",
        ));
    }
    Ok(restore(answer, question))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn local_resolvers_are_left_out() {
        let own = Ipv4Addr::new(10, 244, 0, 1);
        let text = "# x\nnameserver 127.0.0.53\nnameserver 10.244.0.1\nnameserver ::1\nnameserver 192.0.2.1 \noptions x\nnameserver fe80::1%eth0\n";
        assert_eq!(parse(text, own), ["192.0.2.1:53".parse().expect("address")]);
    }

    proptest! {
        #[test]
        fn nothing_panics_on_odd_messages(a in proptest::collection::vec(any::<u8>(), 0..80), b in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = fits(&a, &b, [0, 0]);
            let _ = disguise(&a);
            let _ = parse(&String::from_utf8_lossy(&a), Ipv4Addr::LOCALHOST);
        }
    }
}
