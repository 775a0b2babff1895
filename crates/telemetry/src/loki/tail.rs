//! Lines as they come, over a WebSocket.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use towpath_query::logql::{self, Direction, LogEntry, LogQuery, Pipeline, Row, parse_log};
use towpath_signals::logs::Stream;

use super::fault::Fault;
use super::params::Params;
use super::{Loki, query};

/// The most lines of one message, and of what is sent first.
const LINES: usize = 1000;
/// How long a client may take to read a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing may be sent: beyond it connections are taken for dead.
const QUIET: Duration = Duration::from_secs(20);

pub(super) async fn tail(
    State(loki): State<Arc<Loki>>,
    RawQuery(text): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    match begin(&loki, &Params::parse(text.as_deref().unwrap_or(""), "")) {
        Ok(tail) => upgrade.on_upgrade(move |socket| tail.run(loki, socket)),
        Err(fault) => fault.into_response(),
    }
}

struct Tail {
    query: LogQuery,
    pipeline: Pipeline,
    start: i64,
    limit: usize,
    live: broadcast::Receiver<Arc<Stream>>,
    _place: OwnedSemaphorePermit,
}

fn begin(loki: &Arc<Loki>, params: &Params) -> Result<Tail, Fault> {
    let query = parse_log(params.get("query"))?;
    let now = loki.clock.since_epoch().as_nanos() as i64;
    let place = Arc::clone(&loki.tails).try_acquire_owned();
    Ok(Tail {
        pipeline: Pipeline::new(&query).map_err(Fault::bad)?,
        query,
        start: params.time("start")?.unwrap_or(now - 3600 * 1_000_000_000),
        limit: params.count("limit", 100, LINES)?,
        // What comes while the first lines are read is not missed.
        live: loki.store.follow(),
        _place: place.map_err(|_| Fault::busy("max concurrent tail requests limit exceeded"))?,
    })
}

impl Tail {
    async fn run(mut self, loki: Arc<Loki>, mut socket: WebSocket) {
        let query = self.query.clone();
        let span = (self.start, i64::MAX);
        let limit = self.limit;
        let first = tokio::task::spawn_blocking(move || {
            let settings = logql::Settings {
                max_bytes: loki.settings.max_bytes,
                ..logql::Settings::default()
            };
            let store = loki.store.as_ref();
            logql::logs(&query, span, Direction::Backward, limit, store, &settings)
        });
        let mut entries = match first.await {
            Ok(Ok(answer)) => answer.entries,
            _ => return,
        };
        entries.reverse();
        let mut sent: HashSet<(i64, String)> = entries
            .iter()
            .map(|entry| (entry.at, entry.line.clone()))
            .collect();
        if !entries.is_empty() && !send(&mut socket, &entries, 0).await {
            return;
        }
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(QUIET, self.live.recv()) => next,
                message = socket.recv() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => continue,
                },
            };
            match next {
                Err(_) => {
                    let ping = socket.send(Message::Ping(bytes::Bytes::new()));
                    if !matches!(tokio::time::timeout(PATIENCE, ping).await, Ok(Ok(()))) {
                        return;
                    }
                }
                Ok(Err(RecvError::Closed)) => return,
                Ok(Err(RecvError::Lagged(missed))) => {
                    if !send(&mut socket, &[], missed).await {
                        return;
                    }
                }
                Ok(Ok(stream)) => {
                    let entries = self.passing(&stream, &mut sent);
                    for chunk in entries.chunks(LINES) {
                        if !send(&mut socket, chunk, 0).await {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// The lines of a push that pass and were not sent with the first ones.
    fn passing(&self, stream: &Stream, sent: &mut HashSet<(i64, String)>) -> Vec<LogEntry> {
        let labels = &stream.labels;
        let mut matchers = self.query.matchers.iter();
        if !matchers.all(|matcher| matcher.matches(labels.get(&matcher.name))) {
            return Vec::new();
        }
        let mut out = Vec::new();
        for line in stream.lines.iter().filter(|line| line.at >= self.start) {
            if !sent.is_empty() && sent.remove(&(line.at, line.text.clone())) {
                continue;
            }
            let own = line.metadata.iter();
            let metadata: Vec<(&str, &str)> = own
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let row = Row {
                at: line.at,
                line: &line.text,
                metadata: &metadata,
            };
            let Some(outcome) = self.pipeline.run(labels, &row) else {
                continue;
            };
            let text = outcome.line.clone().into_owned();
            let [stream, metadata, parsed] = outcome.into_labels(labels, &row);
            out.push(LogEntry {
                at: line.at,
                line: text,
                stream,
                metadata,
                parsed,
            });
        }
        out
    }
}

/// Sends lines, and how many pushes were missed; false where nobody reads.
async fn send(socket: &mut WebSocket, entries: &[LogEntry], missed: u64) -> bool {
    let mut message = json!({ "streams": query::streams(entries, false) });
    if missed > 0 {
        let dropped =
            json!({ "labels": { "towpath_missed_pushes": missed.to_string() }, "timestamp": "0" });
        message["dropped_entries"] = Value::Array(vec![dropped]);
    }
    let sending = socket.send(Message::Text(message.to_string().into()));
    matches!(tokio::time::timeout(PATIENCE, sending).await, Ok(Ok(())))
}
