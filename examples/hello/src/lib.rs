//! The sample service: `GET /` greets and counts, `/api/data` stores rows in PostgreSQL and
//! answers reads from Redis. `/health`, `/ready` and `/metrics` are what a platform expects.

mod cache;
mod config;
mod database;
mod metrics;
mod observe;
mod trace;

pub use config::Config;

use axum::extract::State as AxumState;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// What all requests share.
pub struct State {
    database: database::Database,
    cache: cache::Cache,
    metrics: metrics::Metrics,
    tracer: trace::Tracer,
    config: Config,
}

impl State {
    /// Connects lazily: the process starts and is live while its stores are away.
    pub fn new(config: Config) -> Self {
        Self {
            database: database::Database::new(&config),
            cache: cache::Cache::new(&config),
            metrics: metrics::Metrics::default(),
            tracer: trace::Tracer::new(config.otlp_endpoint.clone(), &config.resource),
            config,
        }
    }
}

/// One stored item.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

type Shared = AxumState<Arc<State>>;

/// All routes.
pub fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(greet))
        .route("/health", get(async || "ok"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/api/visitors", get(visitors))
        .route("/api/data", get(list).post(store))
        .layer(middleware::from_fn_with_state(state.clone(), observe::observe))
        .with_state(state)
}

struct Failure(&'static str, String);

impl IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        let body = json!({"error": self.0, "cause": self.1});
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

async fn greet(AxumState(state): Shared) -> Result<String, Failure> {
    let visit = state.tracer.call("redis", "INCR visits", state.cache.visit());
    let visits = visit.await.map_err(|e| Failure("count the visit", e))?;
    Ok(format!("{} You are visit number {visits}.\n", state.config.greeting))
}

async fn visitors(AxumState(state): Shared) -> Result<Json<Value>, Failure> {
    let visits = state.tracer.call("redis", "GET visits", state.cache.visits());
    let visits = visits.await.map_err(|e| Failure("read the count", e))?;
    Ok(Json(json!({"visitors": visits})))
}

async fn ready(AxumState(state): Shared) -> (StatusCode, Json<Value>) {
    let (database, cache) = tokio::join!(state.database.ping(), state.cache.ping());
    let word = |r: &Result<(), String>| r.as_ref().err().cloned().unwrap_or_else(|| "ok".into());
    let status = if database.is_ok() && cache.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({"database": word(&database), "cache": word(&cache)})))
}

async fn metrics_text(AxumState(state): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.render())
}

async fn list(AxumState(state): Shared) -> Result<Json<Value>, Failure> {
    if let Ok(Some(cached)) = state.tracer.call("redis", "GET items", state.cache.items()).await {
        return Ok(Json(json!({"items": cached, "source": "cache"})));
    }
    let items = state.tracer.call("postgresql", "SELECT items", state.database.items());
    let items = items.await.map_err(|e| Failure("read items", e))?;
    // A cache that is away costs speed, not answers.
    let _ = state.cache.keep_items(&items).await;
    Ok(Json(json!({"items": items, "source": "database"})))
}

async fn store(
    AxumState(state): Shared,
    Json(item): Json<Item>,
) -> Result<(StatusCode, Json<Item>), Failure> {
    let stored = state.tracer.call("postgresql", "INSERT items", state.database.put(&item));
    stored.await.map_err(|e| Failure("store the item", e))?;
    let _ = state.cache.forget_items().await;
    Ok((StatusCode::CREATED, Json(item)))
}
