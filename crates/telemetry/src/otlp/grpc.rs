//! gRPC: `Export` of the three collector services, unary, over HTTP/2.
//!
//! A message is a byte that says whether it is compressed, four bytes of length and the message;
//! how it went stands in the trailers.

use super::body::{self, BodyError};
use super::http::{Export, READ_TIMEOUT, limit};
use super::server::Shared;
use super::sink::{Refusal, Sink};
use crate::door::Denied;
use ::http::{HeaderMap, HeaderValue, header};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use http_body_util::StreamBody;
use std::sync::Arc;
use towpath_kit::listen::Peer;

const COLLECTOR: &str = "/opentelemetry.proto.collector";

pub(super) fn router(shared: Shared) -> Router {
    let path = |service: &str| format!("{COLLECTOR}.{service}Service/Export");
    Router::new()
        .route(&path("trace.v1.Trace"), post(traces))
        .route(&path("logs.v1.Logs"), post(logs))
        .route(&path("metrics.v1.Metrics"), post(metrics))
        .fallback(unknown)
        .with_state(shared)
}

async fn traces(State(shared): State<Shared>, request: Request) -> Response {
    let sink = shared.sinks.traces.clone();
    respond(take(&shared, sink, request).await)
}

async fn logs(State(shared): State<Shared>, request: Request) -> Response {
    let sink = shared.sinks.logs.clone();
    respond(take(&shared, sink, request).await)
}

async fn metrics(State(shared): State<Shared>, request: Request) -> Response {
    let sink = shared.sinks.metrics.clone();
    respond(take(&shared, sink, request).await)
}

async fn unknown() -> Response {
    let message = "only Export of the collector services for traces, logs and metrics is known";
    respond(Err(Status::new(Code::Unimplemented, message)))
}

/// The codes in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
    Unauthenticated = 16,
}

struct Status {
    code: Code,
    message: String,
}

impl Status {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

async fn take<R: Export>(
    shared: &Shared,
    sink: Option<Arc<dyn Sink<R>>>,
    request: Request,
) -> Result<Vec<u8>, Status> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().copied();
    let sender = shared.access.sender(&parts.headers, peer).await?;
    let Some(sink) = sink else {
        return Err(Status::new(
            Code::Unimplemented,
            "this server does not take this signal",
        ));
    };
    let limit = limit(&sender);
    let _room = shared.memory.take(limit / 8)?;
    let bytes = tokio::time::timeout(READ_TIMEOUT, body::read(body, limit + 5))
        .await
        .map_err(|_| Status::new(Code::DeadlineExceeded, "the request came in too slowly"))??;
    let encoding = parts.headers.get("grpc-encoding");
    let encoding = encoding.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let plain = unframe(bytes, encoding, limit)?;
    let _more = shared.memory.take(plain.len())?;
    let message = R::decode(plain)
        .map_err(|e| Status::new(Code::InvalidArgument, format!("read protobuf: {e}")))?;
    let accepted = sink.accept(message).await?;
    Ok(R::reply(&accepted))
}

fn unframe(bytes: Bytes, encoding: &str, limit: usize) -> Result<Bytes, Status> {
    let broken = || Status::new(Code::InvalidArgument, "the request is not one gRPC message");
    let [flag, a, b, c, d, ..] = bytes[..] else {
        return Err(broken());
    };
    let rest = bytes.slice(5..);
    if rest.len() != u32::from_be_bytes([a, b, c, d]) as usize || flag > 1 {
        return Err(broken());
    }
    if flag == 0 {
        return Ok(rest);
    }
    Ok(body::decompress(rest, encoding, limit)?)
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Absent | Denied::Rejected => Code::Unauthenticated,
            Denied::Forbidden { .. } => Code::PermissionDenied,
            Denied::Unavailable(_) => Code::Unavailable,
        };
        Self::new(code, denied.to_string())
    }
}

// Senders try again after `Unavailable`; after `ResourceExhausted` only where the status carries
// a time to wait, so that one stands for what can never be taken.
impl From<BodyError> for Status {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::TooLarge(_) => Code::ResourceExhausted,
            BodyError::Busy => Code::Unavailable,
            BodyError::Encoding(_) => Code::Unimplemented,
            BodyError::Broken(_) => Code::InvalidArgument,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Invalid(_) => Code::InvalidArgument,
            Refusal::Busy { .. } | Refusal::Unavailable(_) => Code::Unavailable,
        };
        Self::new(code, refusal.to_string())
    }
}

fn respond(outcome: Result<Vec<u8>, Status>) -> Response {
    let mut response = match outcome {
        Ok(message) => {
            let mut framed = BytesMut::with_capacity(5 + message.len());
            framed.put_u8(0);
            framed.put_u32(message.len() as u32);
            framed.put_slice(&message);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let frames = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
            let frames = frames.map(Ok::<_, std::convert::Infallible>);
            Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))))
        }
        Err(status) => {
            let mut response = Response::new(Body::empty());
            let headers = response.headers_mut();
            headers.insert("grpc-status", HeaderValue::from(status.code as u16));
            if let Ok(message) = HeaderValue::from_str(&percent(&status.message)) {
                headers.insert("grpc-message", message);
            }
            response
        }
    };
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, kind);
    let encodings = HeaderValue::from_static("gzip,zstd,identity");
    headers.insert("grpc-accept-encoding", encodings);
    response
}

/// A message as its header wants it.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
