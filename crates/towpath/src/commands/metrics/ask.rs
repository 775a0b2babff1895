//! Requests to the API of Prometheus, and its refusals as problems.

use crate::cli::Context;
use crate::commands::ask::{self, escaped};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// How long an answer may take: what the server grants a query, and a little.
const LIMIT: Duration = Duration::from_secs(130);

/// The data of a reply; its remarks go to standard error.
pub(super) async fn ask(
    context: &Context,
    path: &str,
    parameters: &[(&str, String)],
) -> Result<Value, Problem> {
    let connection = Connection::open(&context.config).await?;
    let pairs = parameters.iter();
    let form: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    // Only what can be long goes as a form: some endpoints know GET alone.
    let posts = matches!(path, "query" | "query_range" | "labels" | "series");
    let path = format!("/prometheus/api/v1/{path}");
    let request = if posts {
        let kind = "application/x-www-form-urlencoded";
        connection
            .request(Method::POST, &path)
            .header("content-type", kind)
            .body(form.join("&"))
    } else {
        connection.request(Method::GET, &format!("{path}?{}", form.join("&")))
    };
    let answer = ask::send(request, LIMIT).await?;
    let mut reply = answer.json();
    for remarks in ["warnings", "infos"] {
        for text in reply[remarks].as_array().into_iter().flatten() {
            eprintln!("{}", text.as_str().unwrap_or_default());
        }
    }
    if answer.status.is_success() && reply["status"] == "success" {
        return Ok(reply["data"].take());
    }
    let why = reply["error"].as_str().map(String::from);
    let why = why.unwrap_or_else(|| answer.text());
    Err(match answer.status {
        StatusCode::NOT_FOUND => {
            Problem::new(Exit::NotFound, "no-metrics", "this server keeps no metrics")
                .next("set enabled = true under [telemetry] in towpath.toml")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Problem::new(Exit::Denied, "denied", "metrics may not be read").why(why)
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            Problem::new(Exit::TimedOut, "timeout", "the query took too long").why(why)
        }
        _ => Problem::new(Exit::Failed, "query", "the query has no answer").why(why),
    })
}
