//! `towpath trace search`.

use super::ask::{ask, duration, list, number};
use crate::cli::{Context, Output};
use crate::commands::ask::as_data;
use crate::commands::print::table;
use crate::exit::{Exit, Problem};
use towpath_stdx::{Clock, SystemClock};

/// Search for traces with TraceQL, the latest first
///
/// Examples:
///   towpath trace search '{ status = error }' --since 15m
///   towpath trace search '{ resource.service.name = "shop" } >> { duration > 1s }'
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Which spans
    #[arg(value_name = "QUERY", default_value = "{ }")]
    query: String,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    since: String,
    /// The most traces
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// Prints what is found.
pub(super) async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let parameters = [
        ("q", args.query),
        ("since", args.since),
        ("limit", args.limit.to_string()),
        ("spss", "1".to_string()),
    ];
    let answer = ask(&context, "search", &parameters).await?;
    if as_data(&context, &answer) {
        return Ok(Exit::Reached);
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let traces = list(&answer["traces"]);
    if context.quiet || context.output == Output::Name {
        traces
            .iter()
            .for_each(|trace| println!("{}", text(&trace["traceID"])));
        return Ok(Exit::Reached);
    }
    if traces.is_empty() {
        eprintln!("no traces");
        return Ok(Exit::Reached);
    }
    let now = u64::try_from(SystemClock.since_epoch().as_nanos()).unwrap_or(u64::MAX);
    let rows = traces.iter().map(|trace| {
        let sets = list(&trace["spanSets"]).iter();
        let matched: u64 = sets.map(|set| number(&set["matched"])).sum();
        let services = trace["serviceStats"].as_object();
        let spans = services.into_iter().flat_map(|s| s.values());
        let spans: u64 = spans.map(|one| number(&one["spanCount"])).sum();
        let start = number(&trace["startTimeUnixNano"]);
        vec![
            text(&trace["traceID"]),
            text(&trace["rootServiceName"]),
            text(&trace["rootTraceName"]),
            format!("{matched}/{spans}"),
            duration(number(&trace["durationMs"]) * 1_000_000),
            format!(
                "{} ago",
                duration(now.saturating_sub(start) / 1_000_000_000 * 1_000_000_000)
            ),
        ]
    });
    let header = ["TRACE", "SERVICE", "NAME", "SPANS", "TOOK", "BEGAN"];
    table(&header, rows.collect());
    Ok(Exit::Reached)
}
