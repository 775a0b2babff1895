//! `towpath push`: `git push`, then the journey, live.

use super::journey::{self, Goal};
use super::reference::Project;
use crate::cli::Context;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Push a branch and follow it until it runs
///
/// The repository is the one that the working copy's directory or remote names; its URL and
/// credentials come from the server.
///
/// Examples:
///   towpath push
///   towpath push --wait
///   towpath push --repo demo/hello --to dev --wait
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Working copy
    #[arg(short = 'C', long, default_value = ".")]
    directory: PathBuf,
    /// Repository name within the project [default: the directory's name]
    #[arg(long)]
    repo: Option<String>,
    /// Local branch or commit
    #[arg(default_value = "HEAD")]
    reference: String,
    /// Branch on the server
    #[arg(long, default_value = "main")]
    branch: String,
    /// Wait until the commit runs healthily in this environment
    #[arg(long, value_name = "ENV")]
    to: Option<String>,
    /// Wait until the run ended, or with --to until the environment is healthy
    #[arg(short, long)]
    wait: bool,
    /// Seconds to wait at most; the operation goes on
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
    #[command(flatten)]
    project: Project,
}

/// Pushes and follows.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let directory = std::path::absolute(&args.directory).unwrap_or(args.directory.clone());
    let named = directory
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let repository = args.repo.clone().unwrap_or(named);
    let sha = git(
        &directory,
        &connection,
        &[
            "rev-parse",
            "--verify",
            "--end-of-options",
            &format!("{}^{{commit}}", args.reference),
        ],
    )
    .await?;
    let sha = sha.trim().to_string();
    let url = format!(
        "{}/git/{}/{repository}.git",
        connection.url, args.project.project
    );
    let target = format!("{sha}:refs/heads/{}", args.branch);
    git(
        &directory,
        &connection,
        &["push", "--end-of-options", &url, &target],
    )
    .await?;
    if !args.wait {
        println!("{sha}");
        return Ok(Exit::Reached);
    }
    let goal = Goal {
        project: args.project.project,
        repository,
        sha,
        stage: args.to,
    };
    let limit = Duration::from_secs(args.timeout);
    match tokio::time::timeout(limit, journey::follow(&connection, &goal)).await {
        Ok(result) => result,
        Err(_) => {
            eprintln!(
                "still going after {} s; it goes on: towpath status {}",
                args.timeout, goal.sha
            );
            Ok(Exit::TimedOut)
        }
    }
}

// The token goes to git through its environment configuration, never through an argument that
// other users of the machine could read.
async fn git(
    directory: &Path,
    connection: &Connection,
    arguments: &[&str],
) -> Result<String, Problem> {
    use base64::Engine;
    let pair = format!("admin:{}", connection.token().reveal_secret());
    let basic = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut command = towpath_stdx::process::command("git");
    command
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .kill_on_drop(true);
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_COUNT", "2");
    command.env("GIT_CONFIG_KEY_0", "http.extraHeader");
    command.env(
        "GIT_CONFIG_VALUE_0",
        format!("Authorization: Basic {basic}"),
    );
    command
        .env("GIT_CONFIG_KEY_1", "safe.directory")
        .env("GIT_CONFIG_VALUE_1", "*");
    let output = towpath_stdx::process::run(command, Duration::from_secs(600), 1 << 20).await;
    let output = output.map_err(|e| {
        Problem::new(Exit::Failed, "git", "git could not be run").why(e.to_string())
    })?;
    let words = String::from_utf8_lossy(&output.stderr).trim().to_string();
    if output.code != Some(0) {
        return Err(Problem::new(Exit::Failed, "push", "git refused")
            .why(words)
            .state("nothing was changed"));
    }
    for line in words.lines().filter(|l| l.starts_with("remote:")) {
        eprintln!("{line}");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
