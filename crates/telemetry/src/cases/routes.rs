//! `GET /api/v1/why?namespace=&workload=&kind=&felt=`: what is wrong and which change is behind
//! it. `workload` and `kind` (Deployment unless said otherwise) narrow it to one; `felt` is
//! `errors`, `latency` or `leak` for what the objects do not show.

use super::cause::SymptomKind;
use super::why::Why;
use crate::ledger::Object;
use crate::prometheus::Door;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

/// The route of explanations.
pub fn router(why: Why, door: Door) -> Router {
    Router::new()
        .route("/api/v1/why", get(explain))
        .with_state((why, door))
}

#[derive(Deserialize)]
struct Asked {
    namespace: String,
    workload: Option<String>,
    kind: Option<String>,
    felt: Option<SymptomKind>,
}

async fn explain(
    State((why, door)): State<(Why, Door)>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    if let Err(refusal) = door.pass(&headers, "get").await {
        return *refusal;
    }
    if asked.felt.is_some() && asked.workload.is_none() {
        let message = "felt needs a workload: who feels it";
        let body = serde_json::json!({ "code": 400, "message": message });
        return (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
    }
    let kind = asked.kind.as_deref().unwrap_or("Deployment");
    let workload = asked
        .workload
        .map(|name| Object::new(kind, &asked.namespace, &name));
    let explained = why.explain(&asked.namespace, workload, asked.felt).await;
    axum::Json(explained).into_response()
}
