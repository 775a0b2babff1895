//! `towpath doctor`.

use crate::cli::{Context, Output};
use crate::exit::{Exit, Problem};
use crate::preflight;
use crate::state::ServerState;

/// Check this machine and the server
///
/// Examples:
///   towpath doctor
///   towpath doctor -o json
///   towpath doctor --data-dir /srv/towpath
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {}

/// Prints what is missing with its fix; exit 1 where anything keeps the server from running.
pub async fn run(context: Context, _: Args) -> Result<Exit, Problem> {
    let running = ServerState::running(&context.config.data_dir);
    // A running server rightly holds its ports.
    let mut problems = preflight::problems(&context.config);
    if running.is_some() {
        problems.retain(|p| !p.what.contains("cannot be used"));
    }
    let warnings = preflight::warnings();
    if context.output == Output::Json {
        let text =
            serde_json::json!({"server": running, "problems": problems, "warnings": warnings});
        println!("{text}");
    } else {
        match &running {
            Some(state) => println!(
                "ok    server {} runs at {} (process {})",
                state.version, state.url, state.pid
            ),
            None => println!(
                "-     no server runs on {}",
                context.config.data_dir.display()
            ),
        }
        for problem in &problems {
            println!("FAIL  {}\n      fix: {}", problem.what, problem.fix);
        }
        for warning in &warnings {
            println!("warn  {}\n      fix: {}", warning.what, warning.fix);
        }
        if problems.is_empty() {
            println!("ok    this machine has what the server needs");
        }
    }
    Ok(if problems.is_empty() {
        Exit::Reached
    } else {
        Exit::Failed
    })
}
