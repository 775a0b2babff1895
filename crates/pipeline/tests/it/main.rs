//! Corpora: adding a case = adding a file below `tests/corpus/<topic>/`. `BLESS=1` writes what
//! was found into the files; read the difference before you commit it.

#![allow(clippy::unwrap_used)] // a test may end where it stands

mod expr;
mod matrix;
mod plan;
mod runner;
mod triggers;
mod workflow;

use std::path::{Path, PathBuf};

fn corpus(topic: &str, extension: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(topic);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", dir.display());
    files
}

/// Compares with a file, or writes it.
fn expect(path: &Path, found: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        expected,
        found,
        "{} differs; BLESS=1 accepts it",
        path.display()
    );
}
