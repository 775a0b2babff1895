//! `towpath logs labels`.

use super::ask::ask;
use crate::cli::Context;
use crate::commands::ask::{as_data, duration, escaped};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use towpath_stdx::{Clock, SystemClock};

/// List the labels of lines, or the values of one
///
/// Examples:
///   towpath logs labels
///   towpath logs labels namespace
///   towpath logs labels pod --since 24h
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Label whose values are wanted
    #[arg(value_name = "LABEL")]
    label: Option<String>,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "6h")]
    since: String,
}

/// Prints names or values.
pub(super) async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let now = SystemClock.since_epoch();
    let start = now.saturating_sub(duration("since", &args.since)?);
    let times =
        [("start", start), ("end", now)].map(|(name, at)| (name, at.as_nanos().to_string()));
    let path = match &args.label {
        None => "labels".to_string(),
        Some(label) => format!("label/{}/values", escaped(label)),
    };
    let connection = Connection::open(&context.config).await?;
    let data = ask(&connection, &path, &times).await?;
    if !as_data(&context, &data) {
        for name in data.as_array().into_iter().flatten() {
            println!("{}", name.as_str().unwrap_or_default());
        }
    }
    Ok(Exit::Reached)
}
