//! `GET /api/v1/changes?from=&to=&namespace=&limit=`: changes of an interval, newest first.
//! Times are seconds since the epoch, as in PromQL's API; the last hour unless said otherwise.

use super::{Ledger, annotations};
use crate::door::Door;
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
pub(super) struct Served {
    pub(super) ledger: Ledger,
    pub(super) door: Door,
    clock: Arc<dyn Clock>,
}

impl Served {
    pub(super) fn now(&self) -> i64 {
        i64::try_from(self.clock.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The route of the ledger.
pub fn router(ledger: Ledger, door: Door, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/api/v1/changes", get(changes))
        .route(
            "/api/v1/changes/annotations",
            get(annotations::get).post(annotations::post),
        )
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
    let now = served.now();
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
