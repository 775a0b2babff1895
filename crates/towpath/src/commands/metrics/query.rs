//! `towpath metrics query`.

use super::ask::ask;
use super::spark;
use crate::cli::Context;
use crate::commands::ask::{as_data, duration};
use crate::commands::print::{series, table};
use crate::exit::{Exit, Problem};
use serde_json::Value;
use std::io::IsTerminal;
use towpath_query::promql::format_duration;
use towpath_stdx::{Clock, SystemClock};

/// Evaluate a PromQL expression, now, at a time or over a range
///
/// Examples:
///   towpath metrics query up
///   towpath metrics query 'rate(node_cpu_seconds_total{mode="user"}[5m])' --range 1h
///   towpath metrics query up --at 2026-11-22T09:00:00Z -o json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Expression
    #[arg(value_name = "EXPR")]
    expr: String,
    /// When: RFC 3339, or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Over so long until then, e.g. 1h
    #[arg(long, value_name = "DURATION")]
    range: Option<String>,
    /// Between two values of a range [default: a sixtieth of it]
    #[arg(long, value_name = "DURATION", requires = "range")]
    step: Option<String>,
}

fn time(text: &str) -> Result<f64, Problem> {
    let seconds = text.parse::<f64>().ok();
    let parsed = || towpath_stdx::clock::parse_rfc3339(text).map(|seconds| seconds as f64);
    seconds.or_else(parsed).ok_or_else(|| {
        let what = format!("--at {text} is no time");
        Problem::new(Exit::Failed, "usage", what)
            .why("it is RFC 3339 in UTC, or seconds since 1970")
    })
}

/// Prints the result.
pub(super) async fn run(context: Context, args: Args) -> Result<Exit, Problem> {
    let at = match &args.at {
        Some(text) => time(text)?,
        None => SystemClock.since_epoch().as_secs_f64(),
    };
    let mut parameters = vec![("query", args.expr.clone())];
    let Some(range) = &args.range else {
        parameters.push(("time", format!("{at:.3}")));
        let data = ask(&context, "query", &parameters).await?;
        if !as_data(&context, &data) {
            instant(&data);
        }
        return Ok(Exit::Reached);
    };
    let range = duration("range", range)?.as_secs_f64();
    let step = match &args.step {
        Some(step) => duration("step", step)?.as_secs_f64(),
        None => (range / 60.0).ceil().max(1.0),
    };
    parameters.push(("start", format!("{:.3}", at - range)));
    parameters.push(("end", format!("{at:.3}")));
    parameters.push(("step", format!("{step:.3}")));
    let data = ask(&context, "query_range", &parameters).await?;
    if !as_data(&context, &data) {
        over_time(&data, at - range, range, step);
    }
    Ok(Exit::Reached)
}

fn value_of(point: &Value) -> String {
    match &point[1] {
        Value::String(text) => text.clone(),
        histogram => format!(
            "count {} sum {}",
            histogram["count"].as_str().unwrap_or_default(),
            histogram["sum"].as_str().unwrap_or_default()
        ),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Prints numbers of one time.
pub(in crate::commands) fn instant(data: &Value) {
    let result = &data["result"];
    match data["resultType"].as_str() {
        Some("vector") => {
            let row = |one: &Value| {
                let point = if one["value"].is_array() {
                    &one["value"]
                } else {
                    &one["histogram"]
                };
                vec![series(&one["metric"]), value_of(point)]
            };
            let rows: Vec<_> = list(result).iter().map(row).collect();
            if rows.is_empty() {
                eprintln!("no series");
            }
            table(&["SERIES", "VALUE"], rows);
        }
        Some("matrix") => {
            let mut rows = Vec::new();
            for one in list(result) {
                for field in ["values", "histograms"] {
                    for point in list(&one[field]) {
                        let at = point[0].to_string();
                        rows.push(vec![series(&one["metric"]), at, value_of(point)]);
                    }
                }
            }
            table(&["SERIES", "TIME", "VALUE"], rows);
        }
        _ => println!("{}", value_of(result)),
    }
}

fn over_time(data: &Value, start: f64, range: f64, step: f64) {
    let count = (range / step) as usize + 1;
    let drawn = std::io::stdout().is_terminal() && std::env::var_os("ACCESSIBLE").is_none();
    let mut rows = Vec::new();
    for one in list(&data["result"]) {
        let mut values = vec![None; count];
        for point in list(&one["values"]) {
            let at = point[0].as_f64().unwrap_or_default();
            let value = point[1].as_str().and_then(|text| text.parse().ok());
            let index = ((at - start) / step).round();
            if let Some(place) = values.get_mut(index.max(0.0) as usize) {
                *place = value;
            }
        }
        let known: Vec<f64> = values.iter().flatten().copied().collect();
        let show = |value: Option<f64>| value.map_or("-".to_string(), |value| value.to_string());
        let mut row = vec![
            series(&one["metric"]),
            show(known.last().copied()),
            show(known.iter().copied().reduce(f64::min)),
            show(known.iter().copied().reduce(f64::max)),
        ];
        if drawn {
            row.push(spark::line(&values, 60));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        eprintln!("no series");
    }
    let mut header = vec!["SERIES", "LAST", "MIN", "MAX"];
    let shape = format!("EVERY {}", format_duration((step * 1000.0) as i64));
    if drawn {
        header.push(&shape);
    }
    table(&header, rows);
}
