//! `towpath metrics targets`.

use super::ask::ask;
use crate::cli::Context;
use crate::commands::ask::as_data;
use crate::commands::print::{age, table};
use crate::exit::{Exit, Problem};
use serde_json::Value;

/// List what is scraped and how it went
///
/// Examples:
///   towpath metrics targets
///   towpath metrics targets --down
///   towpath metrics targets -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Only those that failed
    #[arg(long)]
    down: bool,
}

/// Prints them.
pub(super) async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let parameters = [("state", "active".to_string())];
    let mut data = ask(&context, "targets", &parameters).await?;
    if let Some(targets) = data["activeTargets"].as_array_mut() {
        targets.retain(|target| !args.down || target["health"] == "down");
    }
    if as_data(&context, &data) {
        return Ok(Exit::Reached);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let row = |target: &Value| {
        let whole = text(&target["lastScrape"]);
        // Fractions of a second say nothing about an age.
        let second = whole.split('.').next().unwrap_or_default();
        let second = format!("{}Z", second.trim_end_matches('Z'));
        vec![
            text(&target["scrapePool"]),
            text(&target["labels"]["instance"]),
            text(&target["health"]),
            match second.starts_with("0001") {
                true => "-".to_string(),
                false => age(Some(&second)),
            },
            text(&target["lastError"]),
        ]
    };
    let targets = data["activeTargets"].as_array();
    let rows: Vec<_> = targets.into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        eprintln!("no targets");
    }
    table(&["JOB", "INSTANCE", "HEALTH", "SCRAPED", "ERROR"], rows);
    Ok(Exit::Reached)
}
