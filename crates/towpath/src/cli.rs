//! The command line: one struct, one function per command in [`crate::commands`].

use crate::commands;
use crate::config::{Config, Overrides};
use crate::exit::{Exit, Problem};
use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::process::ExitCode;

/// From a commit to production on Kubernetes, and there it stays.
///
/// Examples:
///   towpath up                         start everything on this machine
///   git push towpath main              a push becomes an image and runs in dev
///   towpath status                     what needs you, what moves, what is broken
#[derive(Parser)]
#[command(
    name = "towpath",
    version,
    verbatim_doc_comment,
    propagate_version = true
)]
pub struct Cli {
    #[command(flatten)]
    overrides: Overrides,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Print only the id or URL of the result
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// Shape of results on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// The API objects as JSON
    Json,
    /// The API objects as YAML
    Yaml,
    /// Names only
    Name,
}

/// What every command gets.
pub struct Context {
    /// Settings.
    pub config: Config,
    /// The flags they came from, to hand on to a child.
    pub overrides: Overrides,
    /// Shape of results.
    pub output: Output,
    /// Only ids and URLs.
    pub quiet: bool,
}

macro_rules! commands {
    ($($variant:ident => $($module:ident)::+),* $(,)?) => {
        #[derive(Subcommand)]
        enum Command {
            // What a command says of itself stands with its arguments: words here would hide them.
            $( $variant(commands::$($module)::+::Args), )*
        }

        async fn dispatch(context: Context, command: Command) -> Result<Exit, Problem> {
            match command {
                $( Command::$variant(args) => commands::$($module)::+::run(context, args).await, )*
            }
        }
    };
}

commands! {
    Up => up,
    Down => down,
    Server => server,
    Status => status,
    Doctor => doctor,
    Apply => apply,
    Build => build,
    Logs => logs,
    Metrics => metrics,
    Trace => trace,
    Run => run,
    Push => push,
    Promote => promote,
    Approve => approve,
    Rollback => rollback,
    Why => why,
    Cases => cases,
    Unhold => unhold,
    Render => render,
    Repo => repo,
    Scan => scan,
    Alerts => alerts,
    Silence => silence,
    Rules => rules,
    Secrets => secrets,
    Kubeconfig => kubeconfig,
    Token => token,
    Completion => completion,
    Version => version,
}

/// Parses and runs; every error ends in a message and its exit code.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    end_quietly_on_closed_pipe();
    // With both providers possible, rustls must be told once which one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let output = cli.output;
    let result = start(cli);
    match result {
        Ok(exit) => exit.into(),
        Err(problem) => {
            if output == Output::Json {
                eprintln!("{}", serde_json::to_string(&problem).unwrap_or_default());
            } else {
                eprintln!("{problem}");
            }
            problem.exit.into()
        }
    }
}

// A reader that has seen enough (`towpath status | head`) is no fault of ours.
fn end_quietly_on_closed_pipe() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let words = info
            .payload()
            .downcast_ref::<String>()
            .map(String::as_str)
            .unwrap_or_default();
        if words.starts_with("failed printing to") && words.contains("Broken pipe") {
            std::process::exit(0);
        }
        usual(info);
    }));
}

fn start(cli: Cli) -> Result<Exit, Problem> {
    let config = cli.overrides.resolve().map_err(|error| {
        Problem::new(Exit::Failed, "bad-settings", "the settings are not usable")
            .why(crate::exit::chain(&error))
            .next("towpath doctor")
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(
            std::thread::available_parallelism()
                .map_or(2, |n| n.get())
                .min(8),
        )
        .build()
        .map_err(|e| Problem::new(Exit::Unreachable, "runtime", e.to_string()))?;
    let context = Context {
        config,
        overrides: cli.overrides,
        output: cli.output,
        quiet: cli.quiet,
    };
    let result = runtime.block_on(dispatch(context, cli.command));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}

/// The clap definition, for completions.
pub fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The README promises it; clap hides them where a variant has words of its own.
    #[test]
    fn help_opens_with_examples() {
        let mut all = Cli::command();
        all.build();
        for one in all.get_subcommands().filter(|one| one.get_name() != "help") {
            let long = one.get_long_about().map(ToString::to_string);
            let long = long.unwrap_or_default();
            let examples = long.split("Examples:").nth(1).unwrap_or_default();
            let examples = examples.lines().filter(|line| line.starts_with("  "));
            assert!(examples.count() >= 2, "{}: {long}", one.get_name());
        }
    }
}
