//! `towpath down`: stop the server and everything it runs.

use crate::cli::Context;
use crate::compose;
use crate::exit::{Exit, Problem};
use crate::state::{ServerState, start_ticks};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::time::Duration;

/// Stop the platform and everything it runs; deletes no data
///
/// Removes every container, interface, rule, mount and cgroup of this instance, also after the
/// server was killed.
///
/// Examples:
///   towpath down
///   towpath down --keep-containers
///   towpath down --data-dir ./state --instance two
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Stop only the server; containers run on and are found again by the next `up`
    #[arg(long)]
    keep_containers: bool,
    /// Seconds to let the server drain
    #[arg(long, default_value_t = 30)]
    timeout: u64,
}

/// Stops.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let config = &context.config;
    let running = ServerState::running(&config.data_dir);
    if let Some(state) = &running {
        stop(state, Duration::from_secs(args.timeout)).await?;
    }
    ServerState::remove(&config.data_dir);
    if !args.keep_containers {
        compose::cleanup(config).await.map_err(|error| {
            Problem::new(Exit::Failed, "cleanup", "not everything could be removed")
                .why(format!("{error:#}"))
        })?;
    }
    if !context.quiet {
        let words = if running.is_some() {
            "stopped"
        } else {
            "was not running"
        };
        println!(
            "Towpath {words}; data stays in {}",
            config.data_dir.display()
        );
    }
    Ok(Exit::Reached)
}

async fn stop(state: &ServerState, limit: Duration) -> Result<(), Problem> {
    let failed = |why: String| {
        Problem::new(Exit::Failed, "stop", "the server could not be stopped").why(why)
    };
    let pid = i32::try_from(state.pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| failed("no process id".into()))?;
    // The descriptor pins the process, so a reused id cannot be hit between check and signal.
    let Ok(descriptor) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(());
    };
    if start_ticks(state.pid) != Some(state.started_ticks) {
        return Ok(());
    }
    rustix::process::pidfd_send_signal(&descriptor, Signal::TERM)
        .map_err(|e| failed(e.to_string()))?;
    #[allow(deprecated)] // its successor is unsafe; an OwnedFd keeps the promise that it asks for
    let ended = tokio::io::unix::AsyncFd::with_interest(descriptor, tokio::io::Interest::READABLE)
        .map_err(|e| failed(e.to_string()))?;
    if tokio::time::timeout(limit, ended.readable()).await.is_err() {
        let _ = rustix::process::pidfd_send_signal(ended.get_ref(), Signal::KILL);
        eprintln!(
            "warning: the server did not stop within {limit:?} and was killed; no acknowledged write is lost"
        );
        let _ = tokio::time::timeout(Duration::from_secs(5), ended.readable()).await;
    }
    Ok(())
}
