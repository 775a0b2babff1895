//! `towpath rules …`: rule files looked at and tested, without a server.

use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::exit::{Exit, Problem};
use towpath_alerting::rules;

/// Check and test files of recording and alerting rules
///
/// Test files are those of `promtool test rules`.
///
/// Examples:
///   towpath rules check rules/*.yml
///   towpath rules test rules/tests/*.yml
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say what is wrong in rule files
    Check {
        /// Rule files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Run unit tests of rules
    Test {
        /// Files of tests
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Only tests with exactly this name
        #[arg(long)]
        run: Vec<String>,
    },
}

/// No file is read further than this.
const FILE_BYTES: u64 = 8 << 20;

/// Runs the subcommand.
pub async fn run(_: Context, args: Args) -> Result<Exit, Problem> {
    let (failed, what) = match args.command {
        Command::Check { files } => (files.iter().filter(|f| !check(f)).count(), "checks"),
        Command::Test { files, run } => {
            let only = |name: &str| run.is_empty() || run.iter().any(|wanted| wanted == name);
            (files.iter().filter(|f| !test(f, &only)).count(), "tests")
        }
    };
    match failed {
        0 => Ok(Exit::Reached),
        count => Err(Problem::new(
            Exit::Failed,
            "rules",
            format!("{what} of {count} files failed"),
        )),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = towpath_stdx::bounded::read_file(path, FILE_BYTES)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8", path.display()))
}

fn check(path: &Path) -> bool {
    println!("Checking {}", path.display());
    let name = path.display();
    let result = read(path).map_err(|why| vec![why]).and_then(|text| {
        rules::read(&text).map_err(|findings| {
            let lines = findings.iter().map(|finding| format!("{name}: {finding}"));
            lines.collect()
        })
    });
    match result {
        Ok(groups) => {
            let count: usize = groups.iter().map(|group| group.rules.len()).sum();
            println!("  SUCCESS: {count} rules found\n");
            true
        }
        Err(lines) => tell(&lines),
    }
}

fn test(path: &Path, only: &dyn Fn(&str) -> bool) -> bool {
    println!("Unit Testing: {}", path.display());
    let folder = path.parent().unwrap_or(Path::new(""));
    let result = read(path)
        .map_err(|why| vec![why])
        .and_then(|text| rules::unit::run(&text, &|pattern| found(folder, pattern), only));
    match result {
        Ok(()) => {
            println!("  SUCCESS\n");
            true
        }
        Err(lines) => tell(&lines),
    }
}

fn tell(lines: &[String]) -> bool {
    eprintln!("  FAILED:");
    for line in lines {
        eprintln!("{line}\n");
    }
    false
}

/// Files that a pattern names; only its last part may have `*` and `?`.
fn found(folder: &Path, pattern: &str) -> Result<Vec<(String, String)>, String> {
    let path = folder.join(pattern);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut paths = Vec::new();
    if name.contains(['*', '?', '[']) {
        let matcher = globset::Glob::new(&name)
            .map_err(|error| error.to_string())?
            .compile_matcher();
        let within = path.parent().unwrap_or(folder);
        let within = if within.as_os_str().is_empty() {
            Path::new(".")
        } else {
            within
        };
        let entries =
            std::fs::read_dir(within).map_err(|error| format!("{}: {error}", within.display()))?;
        for entry in entries.flatten() {
            if matcher.is_match(entry.file_name()) {
                paths.push(entry.path());
            }
        }
        paths.sort();
    } else if path.exists() {
        paths.push(path.clone());
    }
    if paths.is_empty() {
        eprintln!("  WARNING: no file match pattern {}", path.display());
    }
    let named = |path: PathBuf| Ok((path.display().to_string(), read(&path)?));
    paths.into_iter().map(named).collect()
}
