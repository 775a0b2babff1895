//! A program's output as lines, bounded.

use std::collections::HashMap;
use towpath_container::log::Stream;

// A longer line is cut into several.
const LINE_BYTES: usize = 16 << 10;

/// Collects pieces of two streams and hands out whole lines.
#[derive(Default)]
pub(crate) struct Lines {
    held: HashMap<bool, Vec<u8>>,
}

impl Lines {
    pub(crate) fn push(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        log: &(dyn Fn(&str) + Send + Sync),
    ) {
        let held = self.held.entry(stream == Stream::Stdout).or_default();
        for byte in bytes {
            if *byte == b'\n' || held.len() >= LINE_BYTES {
                emit(held, log);
            }
            if *byte != b'\n' {
                held.push(*byte);
            }
        }
    }

    pub(crate) fn finish(mut self, log: &(dyn Fn(&str) + Send + Sync)) {
        for stream in [true, false] {
            if let Some(held) = self.held.get_mut(&stream).filter(|held| !held.is_empty()) {
                emit(held, log);
            }
        }
    }
}

fn emit(held: &mut Vec<u8>, log: &(dyn Fn(&str) + Send + Sync)) {
    let line = String::from_utf8_lossy(held);
    // Progress bars rewrite their line; the last state is the line.
    let line = line.trim_end_matches('\r');
    log(line.rsplit('\r').next().unwrap_or(line));
    held.clear();
}
