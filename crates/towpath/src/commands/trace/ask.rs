//! Questions to the server's API of traces.

use crate::cli::Context;
use crate::commands::ask;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

/// A query ends on the server before that.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Asks below `/tempo/api`.
pub(super) async fn ask(
    context: &Context,
    path: &str,
    parameters: &[(&str, String)],
) -> Result<Value, Problem> {
    let connection = Connection::open(&context.config).await?;
    let request = connection
        .request(Method::GET, &format!("/tempo/api/{path}"))
        .query(parameters);
    let answer = ask::send(request, TIMEOUT).await?;
    if answer.status.is_success() {
        return answer.data();
    }
    let exit = answer.exit();
    let reason = match exit {
        Exit::NotFound => "no-trace",
        Exit::Denied => "denied",
        _ => "query-failed",
    };
    Err(Problem::new(exit, reason, "the server refuses").why(answer.text()))
}

/// Nanoseconds for people.
pub(super) fn duration(ns: u64) -> String {
    let n = ns as f64;
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{:.1}µs", n / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}ms", n / 1e6),
        1_000_000_000..60_000_000_000 => format!("{:.2}s", n / 1e9),
        _ => format!("{}m{:02}s", ns / 60_000_000_000, ns / 1_000_000_000 % 60),
    }
}

/// A number that JSON has as text.
pub(super) fn number(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| value.as_u64()).unwrap_or(0)
}

/// The items of a list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
