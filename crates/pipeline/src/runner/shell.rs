//! `run:` steps: the script goes to a file, the shell's template says how it is run.

use super::process::{Ended, Limits, Program, run};
use super::step::Context;
use std::path::Path;

/// Program and arguments for a `shell:`; `{0}` is the script's path.
pub(super) fn command_line(shell: Option<&str>, script: &str) -> Result<Vec<String>, String> {
    let template = match shell {
        None => "bash -e {0}",
        Some("bash") => "bash --noprofile --norc -eo pipefail {0}",
        Some("sh") => "sh -e {0}",
        Some("python") => "python {0}",
        Some("pwsh") => "pwsh -command {0}",
        Some(custom) if custom.contains("{0}") => custom,
        Some(other) => {
            return Err(format!(
                "shell {other:?} is unknown: bash, sh, python, pwsh, or a command with {{0}}"
            ));
        }
    };
    let words: Vec<String> = template
        .split_whitespace()
        .map(|w| w.replace("{0}", script))
        .collect();
    Ok(words)
}

fn extension(shell: Option<&str>) -> &'static str {
    match shell {
        Some("python") => ".py",
        Some("pwsh") => ".ps1",
        _ => ".sh",
    }
}

/// Runs a script; the exit code decides.
pub(super) async fn script(
    context: &mut Context<'_>,
    text: &str,
    shell: Option<&str>,
    directory: &Path,
    limits: &Limits,
) -> Result<Ended, String> {
    let name = format!("step-{}{}", context.number, extension(shell));
    let path = context.places.temp.join(name);
    std::fs::write(&path, text).map_err(|e| format!("write {}: {e}", path.display()))?;
    let mut words = command_line(shell, &path.to_string_lossy())?;
    if !directory.is_dir() {
        return Err(format!(
            "working directory {} does not exist",
            directory.display()
        ));
    }
    context.group(
        &format!("Run {}", text.lines().next().unwrap_or_default()),
        &{
            let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
            lines.push(format!("shell: {}", words.join(" ")));
            lines
        },
    );
    let mut program = words.remove(0);
    let found = |p: &str| on_path(p, context.env.get("PATH").map_or("", String::as_str));
    // Without bash, a script without a shell runs in sh; with a named shell it fails.
    if shell.is_none() && !found(&program) {
        program = "sh".into();
    } else if program == "python" && !found("python") {
        program = "python3".into();
    }
    let mut output = super::output::Output::new(context.number, context.sink.clone());
    let ended = run(
        Program {
            program: &program,
            args: &words,
            env: &context.env,
            dir: directory,
        },
        limits,
        &mut |chunk| output.push(chunk),
    )
    .await
    .map_err(|e| format!("start {program}: {e}"))?;
    output.finish();
    context.outputs.append(&mut output.outputs);
    Ok(ended)
}

/// Whether a program is in a `PATH`.
pub(super) fn on_path(program: &str, path: &str) -> bool {
    program.contains('/') || std::env::split_paths(path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_keep_their_difference() {
        let line = |shell| command_line(shell, "/t/s.sh").unwrap().join(" ");
        assert_eq!(line(None), "bash -e /t/s.sh");
        assert_eq!(
            line(Some("bash")),
            "bash --noprofile --norc -eo pipefail /t/s.sh"
        );
        assert_eq!(line(Some("perl -w {0}")), "perl -w /t/s.sh");
        assert!(command_line(Some("fish"), "x").is_err());
    }
}
