//! The real programs that tests compare with, as `cargo xtask peers` builds them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::skip;

/// Where the real programs are: `TOWPATH_PEERS`, or where they are built.
pub fn peer_directory() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers");
    let directory = std::env::var_os("TOWPATH_PEERS").map_or(built, PathBuf::from);
    directory.canonicalize().unwrap_or(directory)
}

/// A real program; where it is absent that is said.
///
/// # Panics
/// In a full run, where it is absent.
#[track_caller]
pub fn peer(name: &str) -> Option<PathBuf> {
    let program = peer_directory().join(name);
    if program.exists() {
        return Some(program);
    }
    skip(&format!(
        "the peer {name} is absent; build it with cargo xtask peers"
    ));
    None
}

/// The lines a program answers to jobs, of which it reads one per line.
///
/// # Panics
/// When it does not run or fails.
#[allow(clippy::disallowed_methods)] // the peer is a program of its own
pub fn ask(program: &Path, arguments: &[&str], jobs: &[String]) -> Vec<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer runs");
    let mut input = child.stdin.take().expect("its input");
    let lines: String = jobs.iter().flat_map(|job| [job.as_str(), "\n"]).collect();
    // It may answer before it has read all.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("its answers");
    writer.join().expect("the writer").expect("the jobs");
    assert!(output.status.success(), "the peer: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(String::from).collect()
}
