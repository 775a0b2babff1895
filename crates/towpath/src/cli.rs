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
    ($($(#[doc = $doc:literal])* $variant:ident => $($module:ident)::+),* $(,)?) => {
        #[derive(Subcommand)]
        enum Command {
            $( $(#[doc = $doc])* $variant(commands::$($module)::+::Args), )*
        }

        async fn dispatch(context: Context, command: Command) -> Result<Exit, Problem> {
            match command {
                $( Command::$variant(args) => commands::$($module)::+::run(context, args).await, )*
            }
        }
    };
}

commands! {
    /// Start the platform on this machine and print where it is
    Up => up,
    /// Stop the platform and everything it runs; deletes no data
    Down => down,
    /// Run the server in the foreground, for service managers
    Server => server,
    /// Show what needs you, what moves and what is broken; or one commit's journey
    Status => status,
    /// Check this machine and the server
    Doctor => doctor,
    /// Apply manifests (server-side) from files
    Apply => apply,
    /// Build an image from a Dockerfile, as a pipeline would
    Build => build,
    /// Show the logs of a run's steps
    Logs => logs,
    /// Ask the metrics of everything that runs here
    Metrics => metrics,
    /// Show a trace as a waterfall, or search for traces
    Trace => trace,
    /// Start, repeat or cancel a run
    Run => run,
    /// Push a branch and follow it until it runs
    Push => push,
    /// Bring a release into an environment
    Promote => promote,
    /// Approve a promotion that waits for it
    Approve => approve,
    /// Restore the previous release of an environment, by a commit
    Rollback => rollback,
    /// Say what is wrong in an environment and which change is behind it
    Why => why,
    /// Lift the hold of a release
    Unhold => unhold,
    /// Print the manifests of a Kustomize directory
    Render => render,
    /// Create a repository
    Repo => repo,
    /// Manage the advisory database of the vulnerability gate
    Scan => scan,
    /// Check and test files of recording and alerting rules
    Rules => rules,
    /// Replace the keys behind secrets and tokens
    Secrets => secrets,
    /// Print a kubeconfig for kubectl
    Kubeconfig => kubeconfig,
    /// Print the login token
    Token => token,
    /// Print completions for a shell
    Completion => completion,
    /// Print versions
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
