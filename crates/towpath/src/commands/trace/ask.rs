//! Questions to the server's API of traces.

use crate::cli::{Context, Output};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// The most bytes of an answer.
const ANSWER_MAX: usize = 64 << 20;
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
        .query(parameters)
        .timeout(TIMEOUT);
    let failed = |e: reqwest::Error| {
        Problem::new(
            Exit::Unreachable,
            "server-unreachable",
            "the server does not answer",
        )
        .why(e.to_string())
        .next("towpath doctor")
    };
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            let message = format!("the answer is longer than {ANSWER_MAX} bytes");
            return Err(Problem::new(Exit::Failed, "too-large", message));
        }
    }
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|e| {
            Problem::new(Exit::Unreachable, "server-answer", "the answer is no JSON")
                .why(e.to_string())
        });
    }
    let why = String::from_utf8_lossy(&body).trim().to_string();
    let (exit, reason) = match status {
        StatusCode::NOT_FOUND => (Exit::NotFound, "no-trace"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (Exit::Denied, "denied"),
        _ => (Exit::Failed, "query-failed"),
    };
    Err(Problem::new(exit, reason, "the server refuses").why(why))
}

/// Prints an answer as data, where that is asked for.
pub(super) fn as_data(context: &Context, answer: &Value) -> bool {
    match context.output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(answer).unwrap_or_default()
        ),
        Output::Yaml => println!("{}", serde_saphyr::to_string(answer).unwrap_or_default()),
        _ => return false,
    }
    true
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
