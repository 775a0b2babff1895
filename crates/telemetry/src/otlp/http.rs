//! `POST /v1/{traces,logs,metrics}`.

use super::body::{self, ANONYMOUS_MAX_BYTES, BODY_MAX_BYTES, BodyError};
use super::message::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use super::server::Shared;
use super::sink::{Accepted, Refusal, Sink};
use crate::door::Denied;
use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::listen::Peer;
use towpath_kit::traits::Principal;

/// Time in which a request must have come in.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn router(shared: Shared, prefix: &str) -> Router {
    Router::new()
        .route(&format!("{prefix}/v1/traces"), post(traces))
        .route(&format!("{prefix}/v1/logs"), post(logs))
        .route(&format!("{prefix}/v1/metrics"), post(metrics))
        .with_state(shared)
}

async fn traces(State(shared): State<Shared>, request: Request) -> Response {
    let sink = shared.sinks.traces.clone();
    answer(&shared, sink, request).await
}

async fn logs(State(shared): State<Shared>, request: Request) -> Response {
    let sink = shared.sinks.logs.clone();
    answer(&shared, sink, request).await
}

async fn metrics(State(shared): State<Shared>, request: Request) -> Response {
    let sink = shared.sinks.metrics.clone();
    answer(&shared, sink, request).await
}

/// A request of the protocol with what is answered to it.
pub(super) trait Export: Message + Default + serde::de::DeserializeOwned + 'static {
    /// What the sender calls the parts that may be rejected.
    const REJECTED: &'static str;
    /// The answer in protobuf.
    fn reply(accepted: &Accepted) -> Vec<u8>;
}

macro_rules! export {
    ($request:ty, $reply:ident, $partial:ident, $field:ident, $json:literal) => {
        impl Export for $request {
            const REJECTED: &'static str = $json;
            fn reply(accepted: &Accepted) -> Vec<u8> {
                let partial = $partial {
                    $field: i64::try_from(accepted.rejected).unwrap_or(i64::MAX),
                    error_message: accepted.message.clone(),
                };
                let some = accepted.rejected > 0 || !accepted.message.is_empty();
                let reply = $reply {
                    partial_success: some.then_some(partial),
                };
                reply.encode_to_vec()
            }
        }
    };
}
export!(
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    ExportTracePartialSuccess,
    rejected_spans,
    "rejectedSpans"
);
export!(
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    ExportLogsPartialSuccess,
    rejected_log_records,
    "rejectedLogRecords"
);
export!(
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    ExportMetricsPartialSuccess,
    rejected_data_points,
    "rejectedDataPoints"
);

/// Largest request of a sender.
pub(super) fn limit(sender: &Principal) -> usize {
    if *sender == Principal::anonymous() {
        ANONYMOUS_MAX_BYTES
    } else {
        BODY_MAX_BYTES
    }
}

async fn answer<R: Export>(
    shared: &Shared,
    sink: Option<Arc<dyn Sink<R>>>,
    request: Request,
) -> Response {
    let json = is_json(request.headers());
    match take(shared, sink, request).await {
        Ok(accepted) => {
            let body = if json {
                json_reply::<R>(&accepted)
            } else {
                R::reply(&accepted)
            };
            respond(StatusCode::OK, json, body)
        }
        Err(failure) => failure.respond(json),
    }
}

async fn take<R: Export>(
    shared: &Shared,
    sink: Option<Arc<dyn Sink<R>>>,
    request: Request,
) -> Result<Accepted, Failure> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().copied();
    let sender = shared.access.sender(&parts.headers, peer).await?;
    let Some(sink) = sink else {
        return Err(Failure::new(
            StatusCode::NOT_FOUND,
            "this server does not take this signal",
        ));
    };
    let limit = limit(&sender);
    let text = |name| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let encoding = text(header::CONTENT_ENCODING).unwrap_or_default();
    let known = text(header::CONTENT_LENGTH).and_then(|v| v.parse::<usize>().ok());
    if known.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge(limit).into());
    }
    let _room = shared.memory.take(known.unwrap_or(limit / 8))?;
    let bytes = tokio::time::timeout(READ_TIMEOUT, body::read(body, limit))
        .await
        .map_err(|_| {
            Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "the request came in too slowly",
            )
        })??;
    let plain = body::decompress(bytes, encoding, limit)?;
    // What was compressed weighs more than it said.
    let _more = shared.memory.take(plain.len())?;
    let message = decode::<R>(&parts.headers, plain)?;
    Ok(sink.accept(message).await?)
}

fn decode<R: Export>(headers: &HeaderMap, plain: Bytes) -> Result<R, Failure> {
    let kind = content_type(headers);
    match kind.as_str() {
        "application/x-protobuf" | "application/protobuf" => R::decode(plain)
            .map_err(|e| Failure::new(StatusCode::BAD_REQUEST, format!("read protobuf: {e}"))),
        "application/json" => serde_json::from_slice(&plain)
            .map_err(|e| Failure::new(StatusCode::BAD_REQUEST, format!("read JSON: {e}"))),
        _ => Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the content type must be application/x-protobuf or application/json",
        )),
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let bare = text.split(';').next().unwrap_or_default();
    bare.trim().to_ascii_lowercase()
}

fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers) == "application/json"
}

fn json_reply<R: Export>(accepted: &Accepted) -> Vec<u8> {
    if accepted.rejected == 0 && accepted.message.is_empty() {
        return b"{}".to_vec();
    }
    let partial = serde_json::json!({"partialSuccess": {
        R::REJECTED: accepted.rejected.to_string(),
        "errorMessage": accepted.message,
    }});
    partial.to_string().into_bytes()
}

/// Why a request was not taken, as HTTP says it.
struct Failure {
    status: StatusCode,
    message: String,
    after: Option<Duration>,
}

impl Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            after: None,
        }
    }

    fn respond(self, json: bool) -> Response {
        let code = if self.status.is_server_error() { 14 } else { 3 };
        let body = if json {
            let status = serde_json::json!({"code": code, "message": self.message});
            status.to_string().into_bytes()
        } else {
            Status {
                code,
                message: self.message,
            }
            .encode_to_vec()
        };
        let mut response = respond(self.status, json, body);
        if let Some(after) = self.after {
            let seconds = after.as_secs().max(1);
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// `google.rpc.Status`, the body of an error.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::new(denied.status(), denied.to_string())
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Busy => StatusCode::TOO_MANY_REQUESTS,
            BodyError::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        let mut failure = Self::new(status, error.to_string());
        failure.after = (error == BodyError::Busy).then_some(Duration::from_secs(1));
        failure
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (status, after) = match refusal {
            Refusal::Invalid(_) => (StatusCode::BAD_REQUEST, None),
            Refusal::Busy { after, .. } => (StatusCode::TOO_MANY_REQUESTS, Some(after)),
            Refusal::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        let mut failure = Self::new(status, refusal.to_string());
        failure.after = after;
        failure
    }
}

fn respond(status: StatusCode, json: bool, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = if json {
        "application/json"
    } else {
        "application/x-protobuf"
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
