//! `towpath server`.

use crate::cli::Context;
use crate::exit::{Exit, Problem};
use crate::{compose, preflight};

/// Run the server in the foreground, for service managers
///
/// Examples:
///   towpath server
///   towpath server --data-dir /srv/towpath --http 0.0.0.0:8080
///   TOWPATH_LOG=debug towpath server
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Print one JSON line on standard output when ready
    #[arg(long, hide = true)]
    announce: bool,
}

/// Runs until SIGTERM or SIGINT, or until a service fails.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let config = context.config;
    if let Some(running) = crate::state::ServerState::running(&config.data_dir) {
        return Err(Problem::new(
            Exit::Conflict,
            "already-running",
            "a server already runs on this data directory",
        )
        .why(format!(
            "process {} answers at {}",
            running.pid, running.url
        ))
        .next("towpath status")
        .next("towpath down"));
    }
    super::up::refuse_if(preflight::problems(&config))?;
    let format = match config.log_format.as_str() {
        "json" => towpath_daemon::LogFormat::Json,
        _ => towpath_daemon::LogFormat::Text,
    };
    towpath_daemon::init_logging(format, &config.log);
    compose::serve(config, move |state| {
        if args.announce {
            println!("{}", serde_json::to_string(state).unwrap_or_default());
        } else {
            eprintln!("ready in {} ms: {}", state.ready_ms, state.url);
        }
    })
    .await
    .map_err(|error| {
        Problem::new(Exit::Failed, "server", "the server stopped").why(format!("{error:#}"))
    })?;
    Ok(Exit::Reached)
}
