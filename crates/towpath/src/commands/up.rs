//! `towpath up`: start and wait until ready.

use crate::cli::{Context, Output};
use crate::config::Config;
use crate::exit::{Exit, Problem};
use crate::preflight::{self, Missing};
use crate::state::ServerState;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Start the platform on this machine and print where it is
///
/// Checks the machine first and refuses with the reason and the fix. A second call finds the
/// running server and only prints.
///
/// Examples:
///   towpath up
///   towpath up --data-dir ./state --http 127.0.0.1:9090 --api 127.0.0.1:7443 --instance two
///   towpath up -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Seconds to wait for the server to get ready
    #[arg(long, default_value_t = 30)]
    timeout: u64,
}

/// Starts the server in the background unless it runs, and prints where it is.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    if let Some(state) = ServerState::running(&context.config.data_dir) {
        print(&context, &state, true);
        return Ok(Exit::Reached);
    }
    refuse_if(preflight::problems(&context.config))?;
    for warning in preflight::warnings() {
        eprintln!("warning: {} ({})", warning.what, warning.fix);
    }
    let state = start(&context, Duration::from_secs(args.timeout)).await?;
    print(&context, &state, false);
    Ok(Exit::Reached)
}

/// Refuses with all problems and their fixes.
pub fn refuse_if(problems: Vec<Missing>) -> Result<(), Problem> {
    let Some(first) = problems.first() else {
        return Ok(());
    };
    let others: Vec<String> = problems.iter().skip(1).map(|p| p.what.clone()).collect();
    let mut problem =
        Problem::new(Exit::Failed, "machine", first.what.clone()).state("nothing was started");
    if !others.is_empty() {
        problem = problem.why(format!("also: {}", others.join("; ")));
    }
    for missing in &problems {
        problem = problem.next(missing.fix.clone());
    }
    Err(problem)
}

/// File that the server's own log goes to.
pub fn log_file(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("log/server.log")
}

async fn start(context: &Context, limit: Duration) -> Result<ServerState, Problem> {
    let config = &context.config;
    let failed = |why: String| {
        Problem::new(Exit::Failed, "start", "the server did not start")
            .why(why)
            .next(format!("less {}", log_file(config).display()))
            .next("towpath doctor")
    };
    let log = log_file(config);
    if let Some(dir) = log.parent() {
        std::fs::create_dir_all(dir).map_err(|e| failed(format!("{}: {e}", dir.display())))?;
    }
    let offset = log.metadata().map(|m| m.len()).unwrap_or(0);
    let open = || {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
    };
    let errors = open().map_err(|e| failed(format!("{}: {e}", log.display())))?;
    let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let mut command = towpath_stdx::process::command(program);
    command
        .args(["server", "--announce"])
        .args(flags(context))
        .kill_on_drop(false);
    // Jobs on the host's root file system see the tools that this environment is set up for.
    let own = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("TOWPATH_");
    command.envs(std::env::vars_os().filter(|(name, _)| !own(name)));
    command.stdout(Stdio::piped()).stderr(errors);
    // Its own session: a Ctrl-C in this terminal is not meant for it.
    command.process_group(0);
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(failed("no pipe".into()));
    };
    let mut lines = BufReader::new(stdout).lines();
    match tokio::time::timeout(limit, lines.next_line()).await {
        Ok(Ok(Some(line))) => {
            serde_json::from_str(&line).map_err(|e| failed(format!("it announced {line:?}: {e}")))
        }
        Ok(_) => Err(failed(last_words(&log, offset))),
        Err(_) => {
            let _ = child.start_kill();
            Err(failed(format!(
                "not ready within {limit:?}; {}",
                last_words(&log, offset)
            )))
        }
    }
}

fn flags(context: &Context) -> Vec<std::ffi::OsString> {
    let config = &context.config;
    let mut flags: Vec<std::ffi::OsString> = Vec::new();
    let mut push = |name: &str, value: std::ffi::OsString| flags.extend([name.into(), value]);
    // Not every setting has a flag.
    if let Some(file) = &context.overrides.config {
        push("--config", file.clone().into());
    }
    push("--data-dir", config.data_dir.clone().into());
    push("--http", config.http.to_string().into());
    push("--api", config.api.to_string().into());
    push("--ingress", config.ingress.to_string().into());
    push("--instance", config.instance.clone().into());
    push("--pod-cidr", config.pod_cidr.clone().into());
    push("--service-cidr", config.service_cidr.clone().into());
    push("--log", config.log.clone().into());
    flags
}

fn last_words(log: &std::path::Path, offset: u64) -> String {
    let bytes = towpath_stdx::bounded::read_file(log, 64 << 20).unwrap_or_default();
    let text =
        String::from_utf8_lossy(bytes.get(offset as usize..).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n         ")
}

fn print(context: &Context, state: &ServerState, ran_before: bool) {
    if context.quiet {
        println!("{}", state.url);
        return;
    }
    if context.output == Output::Json {
        println!("{}", serde_json::to_string(state).unwrap_or_default());
        return;
    }
    let how = match ran_before {
        true => "already runs".to_string(),
        false => format!("is ready after {} ms", state.ready_ms),
    };
    println!("Towpath {how}");
    println!("  web UI      {}", state.url);
    println!(
        "  Kubernetes  {}   (towpath kubeconfig > ~/.kube/config)",
        state.api_url
    );
    println!("  data        {}", context.config.data_dir.display());
    if let Ok(token) = crate::connection::read_token(&context.config) {
        println!("  token       {}", token.reveal_secret());
    }
    println!("next: towpath repo create demo/hello");
}
