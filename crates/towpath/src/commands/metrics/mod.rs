//! `towpath metrics …`: PromQL and what can be asked with it.

mod ask;
mod names;
mod query;
mod spark;
mod targets;

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
    /// Evaluate a PromQL expression, now, at a time or over a range
    Query(query::Args),
    /// List names of labels, or the values of one
    Labels(names::LabelsArgs),
    /// List the series that match selectors
    Series(names::SeriesArgs),
    /// List what is scraped and how it went
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
