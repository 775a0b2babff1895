//! Requests to the API of Prometheus, and its refusals as problems.

use crate::cli::{Context, Output};
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
    let lost = |error: reqwest::Error| {
        Problem::new(Exit::Unreachable, "server", "the server did not answer")
            .why(error.to_string())
            .next("towpath doctor")
    };
    let response = request.timeout(LIMIT).send().await.map_err(lost)?;
    let status = response.status();
    let text = response.text().await.map_err(lost)?;
    let mut reply: Value = serde_json::from_str(&text).unwrap_or_default();
    for remarks in ["warnings", "infos"] {
        for text in reply[remarks].as_array().into_iter().flatten() {
            eprintln!("{}", text.as_str().unwrap_or_default());
        }
    }
    if status.is_success() && reply["status"] == "success" {
        return Ok(reply["data"].take());
    }
    let why = reply["error"].as_str().unwrap_or(text.trim()).to_string();
    Err(match status {
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

/// Prints data as it is where a program wants it.
pub(super) fn as_data(context: &Context, data: &Value) -> bool {
    match context.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(data).unwrap_or_default()),
        Output::Yaml => println!("{}", serde_saphyr::to_string(data).unwrap_or_default()),
        Output::Table | Output::Name => return false,
    }
    true
}

/// Labels as PromQL writes them, the name in front.
pub(super) fn series(labels: &Value) -> String {
    let mut name = "";
    let mut others = Vec::new();
    for (label, value) in labels.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if label == "__name__" {
            name = value;
        } else {
            others.push(format!("{label}={}", towpath_query::promql::quote(value)));
        }
    }
    if others.is_empty() && !name.is_empty() {
        name.to_string()
    } else {
        format!("{name}{{{}}}", others.join(", "))
    }
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
