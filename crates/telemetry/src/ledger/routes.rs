//! `GET /api/v1/changes?from=&to=&namespace=&limit=`: changes of an interval, newest first.
//! Times are seconds since the epoch, as in PromQL's API; the last hour unless said otherwise.

use super::Ledger;
use crate::prometheus::Door;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use towpath_stdx::Clock;

const LIMIT: usize = 1_000;
const HOUR_MS: i64 = 3_600_000;

#[derive(Clone)]
struct Served {
    ledger: Ledger,
    door: Door,
    clock: Arc<dyn Clock>,
}

/// The route of the ledger.
pub fn router(ledger: Ledger, door: Door, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/api/v1/changes", get(changes))
        .with_state(Served {
            ledger,
            door,
            clock,
        })
}

#[derive(Deserialize)]
struct Asked {
    from: Option<f64>,
    to: Option<f64>,
    #[serde(default)]
    namespace: String,
    limit: Option<usize>,
}

async fn changes(
    State(served): State<Served>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    if let Err(refusal) = served.door.pass(&headers, "get").await {
        return *refusal;
    }
    let now = i64::try_from(served.clock.since_epoch().as_millis()).unwrap_or(i64::MAX);
    let millis = |seconds: f64| (seconds * 1_000.0) as i64;
    let to = asked.to.map_or(now, millis);
    let from = asked.from.map_or(to.saturating_sub(HOUR_MS), millis);
    let limit = asked.limit.unwrap_or(LIMIT);
    let found = served
        .ledger
        .between(from, to, &asked.namespace, limit)
        .await;
    match found {
        Ok(changes) => {
            let body = serde_json::json!({ "changes": changes, "lost": served.ledger.lost() });
            axum::Json(body).into_response()
        }
        Err(error) => {
            let body = serde_json::json!({ "code": 500, "message": error.to_string() });
            (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response()
        }
    }
}
