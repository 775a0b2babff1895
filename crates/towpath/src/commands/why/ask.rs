//! Questions to the server about cases and causes.

use crate::commands::ask;
use crate::connection::Connection;
use crate::exit::Problem;
use serde_json::Value;
use std::time::Duration;

/// How long an explanation may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Asks; whatever is no answer is a problem with the server's own words.
pub(crate) async fn ask(
    connection: &Connection,
    path: &str,
    query: &[(&str, String)],
) -> Result<Value, Problem> {
    let request = connection.request(reqwest::Method::GET, path).query(query);
    ask::send(request, LIMIT).await?.taken()
}
