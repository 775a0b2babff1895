//! The real package, asked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::Case;

pub(super) fn find() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers");
    let peer = std::env::var_os("TOWPATH_PEERS")
        .map_or(built, PathBuf::from)
        .join("template");
    if !peer.exists() {
        let full = std::env::var_os("TOWPATH_TEST_FULL").is_some();
        assert!(
            !full,
            "the peer template is absent; build it with cargo xtask peers"
        );
        eprintln!("SKIPPED: the peer template is absent; build it with cargo xtask peers");
        return None;
    }
    Some(peer)
}

#[allow(clippy::disallowed_methods)] // the peer is a program of its own
pub(super) fn ask(peer: &Path, cases: &[Case]) -> Vec<Result<String, String>> {
    let mut child = Command::new(peer)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer runs");
    let mut input = child.stdin.take().unwrap();
    let jobs: Vec<String> = cases
        .iter()
        .map(|c| json!({"text": c.text, "data": c.data, "missing": c.missing}).to_string() + "\n")
        .collect();
    let writer = std::thread::spawn(move || input.write_all(jobs.concat().as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let answer: Json = serde_json::from_str(line).unwrap();
            match answer["error"].as_str().unwrap() {
                "" => Ok(answer["out"].as_str().unwrap().to_owned()),
                error => Err(error.to_owned()),
            }
        })
        .collect()
}
