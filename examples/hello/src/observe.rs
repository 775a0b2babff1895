//! What every request leaves behind: a metric, a JSON log line, a span.

use crate::State;
use crate::trace::{self, Context, Span};
use axum::extract::{ConnectInfo, MatchedPath, Request, State as AxumState};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Middleware around every route.
pub async fn observe(AxumState(state): AxumState<Arc<State>>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let started = SystemTime::now();
    let method = request.method().to_string();
    let path = request.uri().path().to_string();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", |m| m.as_str()).to_string();
    let ip = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip().to_string());
    let context = Context::from_headers(request.headers());
    let id = trace::span_id();
    let response = trace::within(&context, &id, next.run(request)).await;
    let (took, status) = (begin.elapsed(), response.status().as_u16());
    state.metrics.record(&method, &route, status, took);
    let timestamp = started.duration_since(UNIX_EPOCH).map(|d| d.as_secs_f64()).unwrap_or_default();
    println!(
        "{}",
        serde_json::json!({
            "timestamp": timestamp, "level": if status < 500 { "info" } else { "error" },
            "method": method, "path": path, "status": status,
            "latency_ms": took.as_secs_f64() * 1000.0, "ip": ip, "trace_id": context.trace_id,
        })
    );
    // What probes and scrapers ask says nothing about anybody's request.
    if !matches!(route.as_str(), "/health" | "/ready" | "/metrics") {
        let name = format!("{method} {route}");
        let attribute = ("http.response.status_code", json!({"intValue": status.to_string()}));
        let failure = (status >= 500).then(|| format!("answered {status}"));
        state.tracer.span(&context, Span { id, name: &name, kind: 2, started, took, attribute, failure });
    }
    response
}
