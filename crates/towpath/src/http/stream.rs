//! `/api/v1/ws`: one WebSocket per tab that carries many streams.
//!
//! Client to server: `{"op":"watch","id":1,"path":"/k8s/apis/…?…"}`,
//! `{"op":"log","id":2,"path":"/api/v1/runs/…/log?follow=1"}`, `{"op":"stop","id":1}`.
//! A path is any GET of this server; it runs with the rights of the socket's user.
//!
//! Server to client: `{"id":1,"event":{"type":"ADDED","object":{…}}}` per line of a watch,
//! `{"id":2,"text":"…"}` per chunk of a log, and last `{"id":1,"end":true,"status":200}` or with
//! `"error"`. A watch is opened with `sendInitialEvents`, so its list arrives as events and the
//! bookmark that closes it.

use super::Shared;
use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use tokio::sync::mpsc;
use tower::ServiceExt;
use towpath_daemon::CancellationToken;

/// Streams of one tab; more than any screen needs.
const STREAMS_MAX: usize = 64;
/// A line of a watch: an object is at most 3 MB.
const LINE_BYTES_MAX: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Ask {
    Watch { id: u64, path: String },
    Log { id: u64, path: String },
    Stop { id: u64 },
}

#[derive(Clone)]
struct Context {
    routes: Router,
    authorization: Option<axum::http::HeaderValue>,
}

pub(super) fn router(shared: Shared, routes: Router) -> Router {
    let handler =
        move |State(shared): State<Shared>, headers: HeaderMap, upgrade: WebSocketUpgrade| {
            let routes = routes.clone();
            async move {
                match super::session::principal(&shared, &headers).await {
                    Ok(who) if who != towpath_kit::traits::Principal::anonymous() => {}
                    _ => return super::plain(axum::http::StatusCode::UNAUTHORIZED, "log in first"),
                }
                let authorization = headers.get("authorization").cloned();
                let context = Context {
                    routes,
                    authorization,
                };
                upgrade
                    .max_message_size(64 << 10)
                    .on_upgrade(move |socket| serve(socket, context))
            }
        };
    Router::new()
        .route("/api/v1/ws", get(handler))
        .with_state(shared)
}

async fn serve(socket: WebSocket, context: Context) {
    let (mut sink, mut source) = socket.split();
    let (out, mut outbox) = mpsc::channel::<String>(256);
    let all = CancellationToken::new();
    let writer_ended = all.clone();
    towpath_daemon::spawn("websocket writer", async move {
        while let Some(text) = outbox.recv().await {
            if sink.send(Message::Text(text.into())).await.is_err() {
                break;
            }
        }
        writer_ended.cancel();
    });
    let mut streams: HashMap<u64, CancellationToken> = HashMap::new();
    loop {
        let message = tokio::select! {
            () = all.cancelled() => break,
            message = source.next() => message,
        };
        let Some(Ok(message)) = message else { break };
        let Message::Text(text) = message else {
            continue;
        };
        match serde_json::from_str::<Ask>(&text) {
            Ok(Ask::Stop { id }) => {
                if let Some(stream) = streams.remove(&id) {
                    stream.cancel();
                }
            }
            Ok(Ask::Watch { id, path }) => open(&context, &all, &mut streams, &out, id, path, true),
            Ok(Ask::Log { id, path }) => open(&context, &all, &mut streams, &out, id, path, false),
            Err(error) => {
                let text =
                    serde_json::json!({"error": format!("not understood: {error}")}).to_string();
                let _ = out.send(text).await;
            }
        }
    }
    all.cancel();
}

fn open(
    context: &Context,
    all: &CancellationToken,
    streams: &mut HashMap<u64, CancellationToken>,
    out: &mpsc::Sender<String>,
    id: u64,
    path: String,
    lines: bool,
) {
    streams.retain(|_, token| !token.is_cancelled());
    let token = all.child_token();
    if let Some(old) = streams.insert(id, token.clone()) {
        old.cancel();
    }
    let (context, out) = (context.clone(), out.clone());
    let full = streams.len() > STREAMS_MAX;
    towpath_daemon::spawn("websocket stream", async move {
        let end = if full {
            serde_json::json!({"id": id, "end": true, "error": format!("more than {STREAMS_MAX} streams")})
        } else {
            tokio::select! {
                () = token.cancelled() => return,
                end = pump(&context, &out, id, &path, lines) => end,
            }
        };
        token.cancel();
        let _ = out.send(end.to_string()).await;
    });
}

async fn pump(
    context: &Context,
    out: &mpsc::Sender<String>,
    id: u64,
    path: &str,
    lines: bool,
) -> serde_json::Value {
    let mut request = Request::builder()
        .method("GET")
        .uri(path)
        .header("accept", "application/json");
    if let Some(value) = &context.authorization {
        request = request.header("authorization", value);
    }
    let Ok(request) = request.body(Body::empty()) else {
        return serde_json::json!({"id": id, "end": true, "error": "the path is not valid"});
    };
    let Ok(response) = context.routes.clone().oneshot(request).await;
    let status = response.status();
    if !status.is_success() {
        let text = error_text(response).await;
        return serde_json::json!({"id": id, "end": true, "status": status.as_u16(), "error": text});
    }
    let result = if lines {
        pump_lines(out, id, response).await
    } else {
        pump_text(out, id, response).await
    };
    match result {
        Ok(()) => serde_json::json!({"id": id, "end": true, "status": status.as_u16()}),
        Err(error) => serde_json::json!({"id": id, "end": true, "error": error}),
    }
}

async fn error_text(response: Response) -> String {
    let limited = http_body_util::Limited::new(response.into_body(), 64 << 10);
    let bytes = limited
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let message = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|v| {
            v.get("message")
                .and_then(|m| m.as_str())
                .map(str::to_string)
        });
    message.unwrap_or_else(|| String::from_utf8_lossy(&bytes).trim().to_string())
}

async fn pump_lines(out: &mpsc::Sender<String>, id: u64, response: Response) -> Result<(), String> {
    let mut body = response.into_body().into_data_stream();
    let mut buffer = Vec::new();
    while let Some(chunk) = body.next().await {
        buffer.extend_from_slice(&chunk.map_err(|e| e.to_string())?);
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let Ok(raw) = serde_json::from_slice::<&RawValue>(line.trim_ascii()) else {
                continue;
            };
            let text = format!("{{\"id\":{id},\"event\":{raw}}}");
            if out.send(text).await.is_err() {
                return Ok(());
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            return Err(format!("a line of more than {LINE_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

async fn pump_text(out: &mpsc::Sender<String>, id: u64, response: Response) -> Result<(), String> {
    let mut body = response.into_body().into_data_stream();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(chunk) = body.next().await {
        rest.extend_from_slice(&chunk.map_err(|e| e.to_string())?);
        // A character may be split over two chunks; its first bytes wait for the others.
        let valid = match std::str::from_utf8(&rest) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => rest.len(),
        };
        let text = String::from_utf8_lossy(&rest[..valid]).into_owned();
        rest.drain(..valid);
        let message = serde_json::json!({"id": id, "text": text}).to_string();
        if !text.is_empty() && out.send(message).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
