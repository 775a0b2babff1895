//! `towpath cases`: what alerts became.

use super::ask::as_data;
use super::print::table;
use super::why::ask::ask;
use super::why::print::{ago, list, text};
use crate::cli::{Context, Output};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use serde_json::Value;

/// List the cases that alerts have opened, newest first
///
/// A case has the alerts that belong together, the change that is most likely behind them, and
/// what was done about it: see `towpath why CASE`.
///
/// Exit code 0: none of those listed is open. 1: one is.
///
/// Examples:
///   towpath cases
///   towpath cases --state all --limit 20
///   towpath cases --namespace hello-prd -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Which ones
    #[arg(long, default_value = "open", value_parser = ["open", "closed", "all"])]
    state: String,
    /// Only those of this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Asks and prints.
pub async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let connection = Connection::open(&context.config).await?;
    let mut query = vec![("limit", args.limit.to_string())];
    if args.state != "all" {
        query.push(("state", args.state.clone()));
    }
    if let Some(namespace) = args.namespace {
        query.push(("namespace", namespace));
    }
    let answer = ask(&connection, "/api/v1/cases", &query).await?;
    Ok(print(&context, list(&answer["cases"]).to_vec()))
}

/// Lists the open ones.
pub(crate) async fn open(context: &Context, connection: &Connection) -> Result<Exit, Problem> {
    let query = [("state", "open".to_string())];
    let answer = ask(connection, "/api/v1/cases", &query).await?;
    Ok(print(context, list(&answer["cases"]).to_vec()))
}

/// Prints lines of cases; fails where one is open.
pub(crate) fn print(context: &Context, cases: Vec<Value>) -> Exit {
    let open = cases.iter().any(|case| case["state"] == "open");
    let all = Value::Array(cases);
    if !as_data(context, &all) {
        show(context, list(&all));
    }
    match open {
        true => Exit::Failed,
        false => Exit::Reached,
    }
}

fn show(context: &Context, cases: &[Value]) {
    if context.quiet || context.output == Output::Name {
        for case in cases {
            println!("{}", text(&case["id"]));
        }
        return;
    }
    if cases.is_empty() {
        println!("✔ no cases");
        return;
    }
    let header = [
        "CASE",
        "STATE",
        "SEVERITY",
        "SINCE",
        "WHAT",
        "MOST LIKELY BECAUSE OF",
    ];
    table(&header, cases.iter().map(row).collect());
}

fn row(case: &Value) -> Vec<String> {
    let cause = &case["cause"];
    let commit = text(&cause["commit"]);
    let mut why = match commit.get(..12) {
        Some(commit) => format!("commit {commit}"),
        None => text(&cause["words"]),
    };
    let by = text(&cause["by"]);
    if !by.is_empty() {
        why = format!("{why} by {by}");
    }
    let verdict = text(&cause["verdict"]);
    match (cause["score"].as_f64(), verdict.as_str()) {
        (None, _) => why = "-".into(),
        (Some(_), "confirmed" | "refuted") => why = format!("{why} ({verdict})"),
        (Some(score), _) => why = format!("{why} ({:.0} %)", score * 100.0),
    }
    vec![
        text(&case["id"]),
        text(&case["state"]),
        text(&case["severity"]),
        ago(&case["openedAt"]),
        text(&case["title"]),
        why,
    ]
}
