//! Lines as they come, over a WebSocket.

use super::ask::refused;
use super::lines;
use crate::cli::Context;
use crate::commands::ask::{as_document, exit_of};
use crate::connection::Connection;
use crate::exit::{Exit, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use towpath_stdx::{Random, SystemRandom};

/// The longest refusal that is shown.
const WORDS: usize = 1000;

/// Prints lines from a time on, until the server ends or somebody interrupts.
pub(super) async fn run(
    context: &Context,
    connection: &Connection,
    query: &str,
    start: u64,
    common: &Map<String, Value>,
) -> Result<Exit, Problem> {
    let lost = |why: String| {
        Problem::new(Exit::Unreachable, "server", "the lines ended")
            .why(why)
            .next("towpath doctor")
    };
    let mut key = [0; 16];
    SystemRandom.fill(&mut key);
    let answer = connection
        .request(Method::GET, "/loki/api/v1/tail")
        .query(&[("query", query), ("start", &start.to_string())])
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", STANDARD.encode(key))
        .send()
        .await
        .map_err(|error| lost(error.to_string()))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let exit = exit_of(answer.status());
        let words = answer.text().await.unwrap_or_default();
        return Err(refused(exit, words.chars().take(WORDS).collect()));
    }
    let stream = answer.upgrade().await;
    let stream = stream.map_err(|error| lost(error.to_string()))?;
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    while let Some(message) = socket.next().await {
        match message.map_err(|error| lost(error.to_string()))? {
            Message::Text(text) => show(context, common, &text),
            Message::Close(said) => {
                let why = said.map(|frame| frame.reason.to_string());
                return Err(lost(why.unwrap_or_else(|| "the server closed them".into())));
            }
            _ => {}
        }
    }
    Err(lost("the connection was closed".into()))
}

fn show(context: &Context, common: &Map<String, Value>, text: &str) {
    let Ok(message) = serde_json::from_str::<Value>(text) else {
        return;
    };
    if as_document(context, &message) {
        return;
    }
    for line in lines::of(&message["streams"]) {
        println!("{}", line.shown(common, context.quiet));
    }
    let dropped = message["dropped_entries"].as_array().map_or(0, Vec::len);
    if dropped > 0 {
        eprintln!("{dropped} lines came too fast and are left out here");
    }
}
