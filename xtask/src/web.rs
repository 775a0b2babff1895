//! The web UI: installed by lock file, checked, tested, built, held to its budgets.

use crate::step;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// First load: scripts and styles that `index.html` names, gzip bytes.
const FIRST_LOAD_BYTES_MAX: u64 = 80 << 10;
/// Any one lazy chunk, gzip bytes.
const CHUNK_BYTES_MAX: u64 = 135 << 10;
/// Everything, gzip bytes.
const TOTAL_BYTES_MAX: u64 = 400 << 10;

/// Builds `web/dist`, unless it is newer than its sources.
pub fn build() -> Result<()> {
    if fresh()? {
        eprintln!("web/dist is up to date");
        return Ok(());
    }
    install()?;
    step::run(npm().args(["run", "build"]))?;
    budgets()
}

/// Type check, unit tests, build, budgets.
pub fn check() -> Result<()> {
    install()?;
    step::run(npm().args(["run", "check"]))?;
    step::run(npm().args(["run", "test"]))?;
    step::run(npm().args(["run", "build"]))?;
    budgets()
}

fn npm() -> std::process::Command {
    let mut npm = step::program("npm");
    npm.current_dir("web");
    npm
}

fn install() -> Result<()> {
    let modules = Path::new("web/node_modules/.package-lock.json");
    let lock = Path::new("web/package-lock.json");
    let newer = |a: &Path, b: &Path| -> Result<bool> {
        Ok(a.metadata()?.modified()? >= b.metadata()?.modified()?)
    };
    if modules.exists() && newer(modules, lock)? {
        return Ok(());
    }
    step::run(npm().args(["ci", "--no-audit", "--no-fund"]))
}

fn fresh() -> Result<bool> {
    let Ok(built) = Path::new("web/dist/index.html").metadata() else {
        return Ok(false);
    };
    let built = built.modified()?;
    let files = step::output(step::program("git").args(["ls-files", "--", "web"]))?;
    Ok(files.lines().all(|f| {
        Path::new(f)
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|t| t <= built)
    }))
}

fn budgets() -> Result<()> {
    let index = std::fs::read_to_string("web/dist/index.html").context("web/dist/index.html")?;
    let (mut first, mut total) = (0, 0);
    for entry in std::fs::read_dir("web/dist/assets")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(plain) = name.strip_suffix(".gz") else {
            continue;
        };
        let bytes = entry.metadata()?.len();
        total += bytes;
        if index.contains(plain) {
            first += bytes;
        }
        if bytes > CHUNK_BYTES_MAX {
            bail!("chunk {plain} has {bytes} bytes gzip; the budget is {CHUNK_BYTES_MAX}");
        }
    }
    eprintln!(
        "web: first load {} KiB, total {} KiB gzip",
        first >> 10,
        total >> 10
    );
    if first > FIRST_LOAD_BYTES_MAX || total > TOTAL_BYTES_MAX {
        bail!(
            "over budget: first load {first} of {FIRST_LOAD_BYTES_MAX}, total {total} of {TOTAL_BYTES_MAX}"
        );
    }
    Ok(())
}
