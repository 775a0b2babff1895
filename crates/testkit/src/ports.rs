//! Ports for servers that a test starts.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports of outgoing connections and those of Kubernetes' `NodePort`s. A port that the
/// system chooses (port 0) is one it also gives to connections, so that a server which is killed
/// and started again now and then finds its port taken.
const RANGE: Range<u32> = 12_000..29_000;

/// How far apart processes begin that start one after the other.
const STRIDE: u32 = 131;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback port on which nobody listens, and which stays free until the test listens there:
/// this process gets each port only once.
///
/// # Panics
/// When every port of the range is taken.
pub fn free_port() -> u16 {
    let start = std::process::id().wrapping_mul(STRIDE);
    let size = RANGE.end - RANGE.start;
    for _ in 0..size {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % size;
        let port = (RANGE.start + number) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {RANGE:?} is free");
}
