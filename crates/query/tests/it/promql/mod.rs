//! PromQL against upstream's own material.
//!
//! The Go module of Prometheus, at the version that `tests/peers/prometheus` pins, is read where
//! the module cache keeps it; nothing of it is copied here.

#![allow(clippy::unwrap_used)] // these are tests

mod differential;
mod engine;
mod extract;
mod limits;
mod parser;
mod queries;
mod run;
mod script;
mod scripts;
mod store;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the pinned module; none, said aloud, where Go or the module is not to be had.
#[allow(clippy::disallowed_methods)] // a test's own child
pub(crate) fn upstream() -> Option<PathBuf> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/prometheus");
    let go = |args: &[&str]| {
        let output = Command::new("go")
            .args(args)
            .current_dir(&peers)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let module = "github.com/prometheus/prometheus";
    let found = go(&["mod", "download", module])
        .and_then(|_| go(&["list", "-m", "-f", "{{.Dir}}", module]))
        .map(PathBuf::from)
        .filter(|dir| dir.join("promql").is_dir());
    if found.is_none() {
        let full = std::env::var_os("TOWPATH_TEST_FULL").is_some();
        assert!(!full, "the Prometheus module is not to be had");
        eprintln!("SKIPPED: the Go module of Prometheus is not to be had");
    }
    found
}
