//! Requests to forget lines.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::Method;
use serde_json::json;

use super::fault::Fault;
use super::params::Params;
use super::{Loki, nothing};

pub(super) async fn delete(State(loki): State<Arc<Loki>>, request: Request) -> Response {
    let params = Params::parse(request.uri().query().unwrap_or(""), "");
    let method = request.method().clone();
    let done = tokio::task::spawn_blocking(move || act(&loki, &method, &params)).await;
    match done {
        Ok(Ok(response)) => response,
        Ok(Err(fault)) => fault.into_response(),
        Err(error) => Fault::internal(format!("the request failed: {error}")).into_response(),
    }
}

fn act(loki: &Loki, method: &Method, params: &Params) -> Result<Response, Fault> {
    match *method {
        Method::GET => Ok(list(loki)),
        Method::POST | Method::PUT => {
            let query = params.get("query");
            if query.is_empty() {
                return Err(Fault::bad("query not set"));
            }
            let start = params.time("start")?;
            let start = start.ok_or_else(|| Fault::bad("start time not set"))?;
            let now = loki.clock.since_epoch().as_nanos() as i64;
            let end = params.time("end")?.unwrap_or(now).min(now);
            if end < start {
                return Err(Fault::bad("start time can't be greater than end time"));
            }
            loki.store.delete(query, start, end)?;
            Ok(nothing())
        }
        Method::DELETE => {
            let id = params.get("request_id");
            if loki.store.cancel_deletion(id)? {
                Ok(nothing())
            } else {
                Err(Fault::unknown(
                    "could not find delete request with given id",
                ))
            }
        }
        _ => Err(Fault::method("GET, POST, PUT and DELETE are served here")),
    }
}

fn list(loki: &Loki) -> Response {
    let seconds = |ns: i64| ns as f64 / 1e9;
    let all: Vec<serde_json::Value> = loki
        .store
        .deletions()
        .into_iter()
        .map(|one| {
            json!({
                "request_id": one.id,
                "start_time": seconds(one.start),
                "end_time": seconds(one.end),
                "query": one.query,
                "status": if one.done { "processed" } else { "received" },
                "created_at": seconds(one.created),
            })
        })
        .collect();
    axum::Json(all).into_response()
}
