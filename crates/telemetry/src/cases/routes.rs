//! `GET /api/v1/cases?state=open|closed&namespace=&limit=`: cases, newest first.
//! `GET /api/v1/cases/{id}`: a whole case. Both as [`super::case`] describes them.
//! `GET /api/v1/cases/changes`: a line `{"id":"c-…"}` for each case that changes, as long as one
//! listens; where some were missed `id` is empty.
//!
//! `GET /api/v1/why?namespace=&workload=&kind=&felt=`: what is wrong and which change is behind
//! it. `workload` and `kind` (Deployment unless said otherwise) narrow it to one; `felt` is
//! `errors`, `latency` or `leak` for what the objects do not show.

use super::case::State as CaseState;
use super::cause::SymptomKind;
use super::shelf::Shelf;
use super::why::{Question, Why};
use crate::door::Door;
use crate::ledger::Object;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::convert::Infallible;
use tokio::sync::broadcast::error::RecvError;

/// Cases in an answer, unless asked for otherwise.
const LIMIT: usize = 100;

#[derive(Clone)]
struct Served {
    why: Why,
    shelf: Shelf,
    door: Door,
}

/// The routes of cases and explanations.
pub fn router(why: Why, shelf: Shelf, door: Door) -> Router {
    Router::new()
        .route("/api/v1/why", get(explain))
        .route("/api/v1/cases", get(list))
        .route("/api/v1/cases/changes", get(changes))
        .route("/api/v1/cases/{id}", get(one))
        .with_state(Served { why, shelf, door })
}

fn fault(status: StatusCode, message: &str) -> Response {
    let body = serde_json::json!({ "code": status.as_u16(), "message": message });
    (status, axum::Json(body)).into_response()
}

#[derive(Deserialize)]
struct Listed {
    state: Option<CaseState>,
    #[serde(default)]
    namespace: String,
    limit: Option<usize>,
}

async fn list(
    State(served): State<Served>,
    headers: HeaderMap,
    Query(asked): Query<Listed>,
) -> Response {
    if let Err(refusal) = served.door.pass(&headers, "get").await {
        return *refusal;
    }
    let limit = asked.limit.unwrap_or(LIMIT);
    let found = served.shelf.list(asked.state, &asked.namespace, limit);
    match found.await {
        Ok(lines) => axum::Json(serde_json::json!({ "cases": lines })).into_response(),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn one(State(served): State<Served>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if let Err(refusal) = served.door.pass(&headers, "get").await {
        return *refusal;
    }
    match served.shelf.get(&id).await {
        Ok(Some(case)) => axum::Json(case).into_response(),
        Ok(None) => fault(StatusCode::NOT_FOUND, &format!("there is no case {id}")),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn changes(State(served): State<Served>, headers: HeaderMap) -> Response {
    if let Err(refusal) = served.door.pass(&headers, "get").await {
        return *refusal;
    }
    let lines = stream::unfold(served.shelf.changes(), |mut changes| async move {
        let id = match changes.recv().await {
            Ok(id) => id,
            Err(RecvError::Lagged(_)) => String::new(),
            Err(RecvError::Closed) => return None,
        };
        let line = format!("{}\n", serde_json::json!({ "id": id }));
        Some((Ok::<_, Infallible>(line), changes))
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(lines)).into_response()
}

#[derive(Deserialize)]
struct Asked {
    namespace: String,
    workload: Option<String>,
    kind: Option<String>,
    felt: Option<SymptomKind>,
}

async fn explain(
    State(served): State<Served>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    if let Err(refusal) = served.door.pass(&headers, "get").await {
        return *refusal;
    }
    if asked.felt.is_some() && asked.workload.is_none() {
        return fault(
            StatusCode::BAD_REQUEST,
            "felt needs a workload: who feels it",
        );
    }
    let kind = asked.kind.as_deref().unwrap_or("Deployment");
    let workload = asked
        .workload
        .map(|name| Object::new(kind, &asked.namespace, &name));
    let question = Question {
        namespace: asked.namespace,
        workload,
        felt: asked.felt,
        alert: None,
    };
    axum::Json(served.why.explain(&question).await).into_response()
}
