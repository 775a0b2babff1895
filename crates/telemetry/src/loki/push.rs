//! Lines that are pushed: protobuf in snappy, or JSON.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use towpath_query::logql::parse_matchers;
use towpath_query::promql::{Labels, MatchOp};
use towpath_signals::logs::{Line, Stream};

use super::fault::Fault;
use super::{Loki, level, nothing, params};

/// The longest body as it is sent, in bytes.
const BODY_BYTES: usize = 16 << 20;
/// The longest body unpacked, in bytes.
const UNPACKED_BYTES: usize = 64 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The messages of the push protocol.
#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<PushedStream>,
}

#[derive(Clone, PartialEq, Message)]
struct PushedStream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<PushedEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct PushedEntry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<PushedTime>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<PushedLabel>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PushedTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct PushedLabel {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Deserialize)]
struct JsonPush {
    streams: Vec<JsonStream>,
}

/// Labels and lines as they are written now, or as `/api/prom/push` had them.
#[derive(Deserialize)]
struct JsonStream {
    stream: Option<BTreeMap<String, String>>,
    values: Option<Vec<JsonEntry>>,
    labels: Option<String>,
    entries: Option<Vec<OldEntry>>,
}

#[derive(Deserialize)]
struct OldEntry {
    /// RFC 3339.
    ts: String,
    line: String,
}

/// `["<nanoseconds>", "<line>", {labels}]`, the labels being optional.
struct JsonEntry(Line);

impl<'de> Deserialize<'de> for JsonEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = JsonEntry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time, a line and labels")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonEntry, A::Error> {
                let missing = |what| A::Error::custom(format!("a value has no {what}"));
                let at: String = seq.next_element()?.ok_or_else(|| missing("time"))?;
                let at = at
                    .parse()
                    .map_err(|_| A::Error::custom(format!("{at:?} is no time in nanoseconds")))?;
                let text = seq.next_element()?.ok_or_else(|| missing("line"))?;
                let own: Option<BTreeMap<String, String>> = seq.next_element()?;
                let metadata = own.unwrap_or_default().into_iter().collect();
                Ok(JsonEntry(Line { at, text, metadata }))
            }
        }
        deserializer.deserialize_seq(Entry)
    }
}

pub(super) async fn push(State(loki): State<Arc<Loki>>, request: Request) -> Response {
    match take(loki, request).await {
        Ok(()) => nothing(),
        Err(fault) => fault.into_response(),
    }
}

async fn take(loki: Arc<Loki>, request: Request) -> Result<(), Fault> {
    let (parts, body) = request.into_parts();
    let Ok(place) = Arc::clone(&loki.pushes).try_acquire_owned() else {
        return Err(Fault::busy("too many pushes at a time"));
    };
    let body = Limited::new(body, BODY_BYTES).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Fault::large(format!(
                "the body is longer than {BODY_BYTES} bytes"
            )));
        }
        Ok(Err(error)) => return Err(Fault::bad(format!("read the body: {error}"))),
        Err(_) => return Err(Fault::bad("the body took too long")),
    };
    let store = Arc::clone(&loki.store);
    let pushed = tokio::task::spawn_blocking(move || {
        let streams = streams(&parts.headers, &body)?;
        store.push(streams).map_err(Fault::from)
    });
    let pushed = pushed
        .await
        .map_err(|error| Fault::internal(format!("the push failed: {error}")))??;
    drop(place);
    loki.store.sync().await?;
    if pushed.refused_count == 0 {
        return Ok(());
    }
    let mut words: Vec<String> = pushed.refused.iter().map(ToString::to_string).collect();
    if pushed.refused_count > words.len() {
        words.push(format!("total ignored: {}", pushed.refused_count));
    }
    Err(Fault::bad(words.join("\n")))
}

fn streams(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Stream>, Fault> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let content = header(CONTENT_TYPE)
        .unwrap_or("")
        .split(';')
        .next()
        .unwrap_or("")
        .trim();
    let mut streams = match content {
        "application/json" => json(&unpacked(header(CONTENT_ENCODING), body)?)?,
        "application/x-protobuf" | "" => protobuf(body)?,
        other => {
            return Err(Fault::bad(format!(
                "Content type {other:?} is not supported"
            )));
        }
    };
    for stream in &mut streams {
        stream.labels = level::with_service(std::mem::take(&mut stream.labels));
        for line in &mut stream.lines {
            if !line.metadata.iter().any(|(name, _)| name == level::LEVEL) {
                let found = level::level(&stream.labels, &line.metadata, &line.text);
                line.metadata
                    .push((level::LEVEL.to_owned(), found.to_owned()));
            }
        }
    }
    Ok(streams)
}

fn unpacked(encoding: Option<&str>, body: &Bytes) -> Result<Bytes, Fault> {
    match encoding.unwrap_or("") {
        "" | "identity" => Ok(body.clone()),
        "gzip" => {
            let mut out = Vec::new();
            let mut reader =
                flate2::read::GzDecoder::new(&body[..]).take(UNPACKED_BYTES as u64 + 1);
            reader
                .read_to_end(&mut out)
                .map_err(|error| Fault::bad(format!("unpack the body: {error}")))?;
            if out.len() > UNPACKED_BYTES {
                return Err(too_large());
            }
            Ok(out.into())
        }
        other => Err(Fault::bad(format!(
            "Content-Encoding {other:?} not supported"
        ))),
    }
}

fn too_large() -> Fault {
    Fault::large(format!(
        "the body unpacks to more than {UNPACKED_BYTES} bytes"
    ))
}

fn protobuf(body: &[u8]) -> Result<Vec<Stream>, Fault> {
    let length =
        snap::raw::decompress_len(body).map_err(|_| Fault::bad("snappy: corrupt input"))?;
    if length > UNPACKED_BYTES {
        return Err(too_large());
    }
    let message = snap::raw::Decoder::new()
        .decompress_vec(body)
        .map_err(|_| Fault::bad("snappy: corrupt input"))?;
    let request = PushRequest::decode(message.as_slice())
        .map_err(|error| Fault::bad(format!("read the message: {error}")))?;
    let stream = |pushed: PushedStream| {
        Ok(Stream {
            labels: label_text(&pushed.labels)?,
            lines: pushed.entries.into_iter().map(entry).collect(),
        })
    };
    request.streams.into_iter().map(stream).collect()
}

fn entry(pushed: PushedEntry) -> Line {
    let time = pushed.timestamp.unwrap_or_default();
    let seconds = time.seconds.saturating_mul(1_000_000_000);
    let own = pushed.metadata.into_iter();
    Line {
        at: seconds.saturating_add(i64::from(time.nanos)),
        text: pushed.line,
        metadata: own.map(|label| (label.name, label.value)).collect(),
    }
}

/// Labels as they are written: `{a="b", c="d"}`.
fn label_text(text: &str) -> Result<Labels, Fault> {
    let fault = |why: String| Fault::bad(format!("error parsing labels: {why}"));
    let matchers = parse_matchers(text).map_err(|error| fault(error.to_string()))?;
    let pair = |matcher: towpath_query::promql::Matcher| match matcher.op {
        MatchOp::Equal => Ok((matcher.name, matcher.value)),
        _ => Err(fault(format!("{matcher} is no label"))),
    };
    matchers.into_iter().map(pair).collect()
}

fn old(labels: &str, entries: Vec<OldEntry>) -> Result<Stream, Fault> {
    let line = |entry: OldEntry| {
        let at = params::rfc3339(&entry.ts);
        let at = at.ok_or_else(|| Fault::bad(format!("{:?} is no time", entry.ts)))?;
        Ok(Line {
            at,
            text: entry.line,
            metadata: Vec::new(),
        })
    };
    Ok(Stream {
        labels: label_text(labels)?,
        lines: entries
            .into_iter()
            .map(line)
            .collect::<Result<_, Fault>>()?,
    })
}

fn json(body: &[u8]) -> Result<Vec<Stream>, Fault> {
    let request: JsonPush = serde_json::from_slice(body)
        .map_err(|error| Fault::bad(format!("read the message: {error}")))?;
    let streams = request.streams.into_iter();
    streams
        .map(|pushed| {
            let (stream, values) = match (pushed.stream, pushed.values) {
                (Some(stream), Some(values)) => (stream, values),
                _ => {
                    let (Some(labels), Some(entries)) = (pushed.labels, pushed.entries) else {
                        return Err(Fault::bad("a stream needs `stream` and `values`"));
                    };
                    return old(&labels, entries);
                }
            };
            let plain = |name: &str| {
                name.bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
                    && !name.starts_with(|c: char| c.is_ascii_digit())
                    && !name.is_empty()
            };
            if let Some(name) = stream.keys().find(|name| !plain(name)) {
                return Err(Fault::bad(format!(
                    "error parsing labels: {name:?} is no label name"
                )));
            }
            Ok(Stream {
                labels: stream.into_iter().collect(),
                lines: values.into_iter().map(|entry| entry.0).collect(),
            })
        })
        .collect()
}
