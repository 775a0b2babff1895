//! Questions to the server's API of lines.

use crate::commands::ask;
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

/// How long an answer may take: what the server grants a query, and a little.
const LIMIT: Duration = Duration::from_secs(130);

/// The data of a reply below `/loki/api/v1`.
pub(super) async fn ask(
    connection: &Connection,
    path: &str,
    parameters: &[(&str, String)],
) -> Result<Value, Problem> {
    let request = connection
        .request(Method::GET, &format!("/loki/api/v1/{path}"))
        .query(parameters);
    let answer = ask::send(request, LIMIT).await?;
    if answer.status.is_success() {
        return Ok(answer.data()?["data"].take());
    }
    Err(refused(answer.exit(), answer.text()))
}

/// A refusal in the server's own words.
pub(super) fn refused(exit: Exit, why: String) -> Problem {
    match exit {
        Exit::NotFound => Problem::new(exit, "no-logs", "this server keeps no lines")
            .next("set enabled = true under [telemetry] in towpath.toml"),
        Exit::Denied => Problem::new(exit, "denied", "lines may not be read").why(why),
        _ => Problem::new(exit, "query", "the query has no answer").why(why),
    }
}
