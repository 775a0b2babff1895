//! `towpath logs …`: the steps of a run, and LogQL over all lines that are kept.

mod ask;
mod follow;
mod labels;
mod lines;
mod query;
mod steps;

use crate::cli::Context;
use crate::exit::{Exit, Problem};

/// Show the logs of a run's steps, or of everything that runs here
///
/// Examples:
///   towpath logs --run hello-3f9a1c --failed
///   towpath logs query '{namespace="hello-dev"} |= "error"' --since 15m
///   towpath logs query '{app="hello"}' --follow
#[derive(clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    steps: steps::Steps,
}

#[derive(clap::Subcommand)]
enum Verb {
    Query(query::Args),
    Labels(labels::Args),
}

/// Prints lines.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    match args.verb {
        None => steps::run(context, args.steps).await,
        Some(Verb::Query(args)) => query::run(context, args).await,
        Some(Verb::Labels(args)) => labels::run(context, args).await,
    }
}
