//! Running programs: said before, timed after, honest about failure.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// A program.
#[allow(clippy::disallowed_methods)] // a script's own children; the product uses stdx::process
pub fn program(name: &str) -> Command {
    Command::new(name)
}

/// The cargo that runs this task.
pub fn cargo() -> Command {
    program(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
}

/// Says the command, runs it, fails with its status.
pub fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    eprintln!("$ {words}");
    let begin = Instant::now();
    let status = command.status().with_context(|| format!("start {words}"))?;
    if !status.success() {
        bail!("{words}: {status}");
    }
    eprintln!("  {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Runs quietly and returns standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command.output().with_context(|| format!("start {words}"))?;
    if !output.status.success() {
        bail!(
            "{words}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn words(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}
