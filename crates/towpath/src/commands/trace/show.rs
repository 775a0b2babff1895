//! `towpath trace ID`.

use super::ask::{ask, list, number};
use super::waterfall::{Row, rows};
use crate::cli::Context;
use crate::commands::ask::as_data;
use crate::exit::{Exit, Problem};
use serde_json::Value;
use std::io::IsTerminal;

/// Columns where the terminal does not say how many it has.
const WIDTH: usize = 120;

/// Prints the waterfall.
pub(super) async fn run(context: Context, id: &str) -> Result<Exit, Problem> {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        let problem = Problem::new(Exit::Failed, "usage", format!("{id} is no trace id"));
        let problem = problem.why("it is up to 32 hexadecimal digits");
        return Err(problem.next("towpath trace search '{ }'"));
    }
    let answer = ask(&context, &format!("v2/traces/{id}"), &[]).await?;
    if as_data(&context, &answer) {
        return Ok(Exit::Reached);
    }
    let spans = list(&answer["trace"]["resourceSpans"])
        .iter()
        .flat_map(read);
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let width = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    for line in rows(spans.collect(), width.unwrap_or(WIDTH), color) {
        println!("{line}");
    }
    Ok(Exit::Reached)
}

fn read(resource: &Value) -> Vec<Row> {
    let named = |attribute: &&Value| attribute["key"] == "service.name";
    let service = list(&resource["resource"]["attributes"]).iter().find(named);
    let service = service.and_then(|a| a["value"]["stringValue"].as_str());
    let service = service.unwrap_or("unknown").to_string();
    let libraries = list(&resource["scopeSpans"]).iter();
    let spans = libraries.flat_map(|library| list(&library["spans"]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let rows = spans.map(|span| Row {
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        service: service.clone(),
        name: text(&span["name"]),
        start_ns: number(&span["startTimeUnixNano"]),
        end_ns: number(&span["endTimeUnixNano"]),
        failed: span["status"]["code"] == "STATUS_CODE_ERROR",
        message: text(&span["status"]["message"]),
    });
    rows.collect()
}
