//! The real Prometheus code as a program that answers one JSON object per line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

/// The program; `None`, said loudly, where it is not built.
pub fn peer() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers");
    let peer = std::env::var_os("TOWPATH_PEERS")
        .map_or(built, PathBuf::from)
        .join("promql");
    if !peer.exists() {
        let full = std::env::var_os("TOWPATH_TEST_FULL").is_some();
        assert!(
            !full,
            "the peer promql is absent; build it with cargo xtask peers"
        );
        eprintln!("SKIPPED: the peer promql is absent; build it with cargo xtask peers");
        return None;
    }
    Some(peer)
}

/// What it answers to the jobs in one of its modes.
#[allow(clippy::disallowed_methods)] // the peer is a program of its own
pub fn ask(peer: &Path, mode: &str, jobs: &[Json]) -> Vec<Json> {
    let mut child = Command::new(peer)
        .arg(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer runs");
    let mut input = child.stdin.take().unwrap();
    let lines: String = jobs.iter().map(|job| job.to_string() + "\n").collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Json> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), jobs.len(), "an answer to every job");
    answers
}

/// A small generator of numbers, the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    pub fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub fn word(&mut self, from: &[&'static str]) -> &'static str {
        from[self.roll(from.len())]
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}
