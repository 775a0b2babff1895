//! The real programs.

use std::path::{Path, PathBuf};
use std::process::Output;

pub(crate) use towpath_testkit::peer as find;

#[allow(clippy::disallowed_methods)] // the peer is a program of its own
pub(crate) fn run(peer: &Path, folder: &Path, args: &[&str]) -> Output {
    std::process::Command::new(peer)
        .current_dir(folder)
        .args(args)
        .output()
        .expect("the peer runs")
}

/// Files of a corpus that end like this, by their names.
pub(crate) fn corpus(topic: &str, ending: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder(topic)).expect("corpus") {
        let path = entry.expect("entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(ending) {
            files.push((name, std::fs::read_to_string(&path).expect("file")));
        }
    }
    files.sort();
    files
}

pub(crate) fn folder(topic: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(topic)
}
