//! Go modules on disk, through the Go tool's own download and cache.

use crate::step;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// The directory that holds `module` (`path@version`), downloaded when missing.
pub(super) fn directory(module: &str) -> Result<PathBuf> {
    let mut command = step::program("go");
    command.args(["mod", "download", "-json", module]);
    command.current_dir(std::env::temp_dir());
    let output = step::output(&mut command).with_context(|| format!("download {module}"))?;
    let answer: serde_json::Value = serde_json::from_str(&output).context("parse go's answer")?;
    answer["Dir"]
        .as_str()
        .map(PathBuf::from)
        .with_context(|| format!("{module}: no directory"))
}
