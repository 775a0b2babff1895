//! `towpath trace`: one trace as a waterfall, or a search for traces.

mod ask;
mod search;
mod show;
mod waterfall;

use crate::cli::Context;
use crate::exit::{Exit, Problem};

/// Show a trace as a waterfall, or search for traces
///
/// Examples:
///   towpath trace 5b8efff798038103d269b633813fc60c
///   towpath trace search '{ status = error && resource.service.name = "shop" }'
#[derive(clap::Args)]
#[command(
    verbatim_doc_comment,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
pub struct Args {
    /// Id of the trace, in hexadecimal
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Search for traces with TraceQL, the latest first
    Search(search::Args),
}

/// Prints it.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    match (args.command, args.id) {
        (Some(Command::Search(args)), _) => search::run(context, args).await,
        (None, Some(id)) => show::run(context, &id).await,
        (None, None) => Err(Problem::new(Exit::Failed, "usage", "a trace id is missing")),
    }
}
