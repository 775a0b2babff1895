//! All scripting of the project beside `cargo` and `npm`.

use clap::{Parser, Subcommand};
use xtask::{codegen, conformance, demo, peers, sizes, soak, step, test, tidy, web};

/// Towpath's own tasks
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is needed, build, start, push the sample and wait until it answers
    Demo(demo::Args),
    /// Install what the tests need and run all of them
    Test(test::Args),
    /// Check layers, docs, lints and other rules of the house
    Tidy,
    /// Make the committed Kubernetes fact tables from the Go modules
    Codegen {
        /// Only say whether they are up to date
        #[arg(long)]
        check: bool,
    },
    /// Accept the present output of corpus tests as expected
    Bless {
        /// Package, e.g. towpath-render
        package: String,
    },
    /// Build the real peers that contract tests run against
    Peers,
    /// Run the upstream conformance suite and keep its history in docs/conformance.md
    Conformance(conformance::Args),
    /// Build the web UI
    Web,
    /// Measure beside the real peers and write docs/performance.md's tables
    Bench {
        /// Names and flags of the measurements; --help shows them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the long campaigns: kills, random histories, mutated inputs
    Soak(soak::Args),
    /// Show the largest files, the binary's and the UI's size
    Sizes,
}

fn main() -> anyhow::Result<()> {
    std::env::set_current_dir(step::root())?;
    match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Test(args) => test::run(args),
        Command::Tidy => tidy::run(),
        Command::Codegen { check: false } => codegen::run(),
        Command::Codegen { check: true } => codegen::check(),
        Command::Bless { package } => step::run(
            step::cargo()
                .args(["test", "--package", &package])
                .env("BLESS", "1"),
        ),
        Command::Peers => peers::run().map(drop),
        Command::Conformance(args) => conformance::run(args),
        Command::Web => web::build(),
        Command::Bench { arguments } => step::run(
            step::cargo()
                .args(["run", "--quiet", "--package", "towpath-bench", "--"])
                .args(arguments),
        ),
        Command::Soak(args) => soak::run(args),
        Command::Sizes => sizes::run(),
    }
}
