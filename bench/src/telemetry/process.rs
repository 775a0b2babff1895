//! What a process has used, as the kernel counts it. Other work on the machine makes clocks
//! slower; these stay right.

use crate::server::cpu_ticks;
use std::path::Path;
use std::time::{Duration, Instant};

/// Seconds of a processor since its start.
pub fn cpu(pid: u32) -> f64 {
    cpu_ticks(pid) as f64 / 100.0
}

/// The most bytes that were resident at any time.
pub fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Bytes of all files below a directory.
pub fn disk(dir: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        bytes += if meta.is_dir() {
            disk(&entry.path())
        } else {
            meta.len()
        };
    }
    bytes
}

/// Waits until `state` has been the same for `quiet`; at most `most`.
pub fn settle<T: PartialEq>(quiet: Duration, most: Duration, mut state: impl FnMut() -> T) {
    let begin = Instant::now();
    let (mut last, mut since) = (state(), Instant::now());
    while since.elapsed() < quiet && begin.elapsed() < most {
        std::thread::sleep(Duration::from_millis(500));
        let now = state();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
