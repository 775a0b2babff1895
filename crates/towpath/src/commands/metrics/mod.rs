//! `towpath metrics …`: PromQL and what can be asked with it.

mod ask;
mod names;
mod query;
mod spark;
mod targets;

pub(super) use query::instant;

use crate::cli::Context;
use crate::exit::{Exit, Problem};

/// Ask the metrics of everything that runs here
///
/// Examples:
///   towpath metrics query 'sum by (namespace) (rate(container_cpu_usage_seconds_total[5m]))'
///   towpath metrics query up --range 1h --step 1m
///   towpath metrics targets
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Query(query::Args),
    Labels(names::LabelsArgs),
    Series(names::SeriesArgs),
    Targets(targets::Args),
}

/// Asks.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    match args.verb {
        Verb::Query(args) => query::run(context, args).await,
        Verb::Labels(args) => names::labels(context, args).await,
        Verb::Series(args) => names::series(context, args).await,
        Verb::Targets(args) => targets::run(context, args).await,
    }
}
