//! `towpath logs query`.

use super::ask::ask;
use super::{follow, lines};
use crate::cli::Context;
use crate::commands::ask::{as_data, duration};
use crate::commands::{metrics, print};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use towpath_query::logql;
use towpath_stdx::{Clock, SystemClock};

/// Find lines with LogQL, the latest last; or numbers made of them, as they are now
///
/// Examples:
///   towpath logs query '{namespace="hello-dev"} |= "error"' --since 15m
///   towpath logs query '{app="hello"} | json | status >= 500' --follow
///   towpath logs query 'sum by (pod) (rate({namespace="hello-dev"}[5m]))'
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Which lines
    #[arg(value_name = "QUERY")]
    query: String,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    since: String,
    /// The most lines, the latest of those that there are
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Go on with what comes, until interrupted
    #[arg(long, short)]
    follow: bool,
}

/// Prints what is found.
pub(super) async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let now = SystemClock.since_epoch();
    let since = duration("since", &args.since)?;
    let connection = Connection::open(&context.config).await?;
    // What makes no sense is told in the server's words, which are Loki's.
    let numbers = logql::parse(&args.query).is_ok() && logql::parse_log(&args.query).is_err();
    if numbers {
        if args.follow {
            let what = "numbers cannot be followed";
            return Err(Problem::new(Exit::Failed, "usage", what)
                .why("the query has no lines but numbers made of them"));
        }
        let parameters = [("query", args.query), ("time", now.as_nanos().to_string())];
        let data = ask(&connection, "query", &parameters).await?;
        if !as_data(&context, &data) {
            metrics::instant(&data);
        }
        return Ok(Exit::Reached);
    }
    let parameters = [
        ("query", args.query.clone()),
        ("start", now.saturating_sub(since).as_nanos().to_string()),
        ("end", now.as_nanos().to_string()),
        ("limit", args.limit.to_string()),
        ("direction", "backward".to_string()),
    ];
    let data = ask(&connection, "query_range", &parameters).await?;
    let found = lines::of(&data["result"]);
    let common = lines::common(&found);
    if !as_data(&context, &data) {
        if !context.quiet && !common.is_empty() {
            eprintln!("all have {}", print::labels(&common));
        }
        for line in &found {
            println!("{}", line.shown(&common, context.quiet));
        }
        if found.is_empty() && !args.follow {
            eprintln!("no lines in the last {}", args.since);
        }
        if found.len() == args.limit && args.limit > 0 {
            eprintln!("these are the latest {}; --limit shows more", args.limit);
        }
    }
    if args.follow {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let start = found.last().map_or(now, |line| line.at + 1);
        return follow::run(&context, &connection, &args.query, start, &common).await;
    }
    Ok(Exit::Reached)
}
