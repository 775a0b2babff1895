//! Spans: taken by the store, sent by OpenTelemetry over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use prost::Message;

use super::drain::{Deliver, Delivered, judged};
use super::target::{Target, room, unpacked};
use crate::otlp::message::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use crate::otlp::{Accepted, Refusal, Sink, TraceSink};

/// When senders are told to try again while a queue is full.
const AFTER: Duration = Duration::from_secs(5);

/// Takes spans into a store, and copies them.
pub(super) struct Mirrored {
    store: TraceSink,
    targets: Vec<Arc<Target>>,
}

impl Mirrored {
    pub(super) fn new(store: TraceSink, targets: Vec<Arc<Target>>) -> Self {
        Self { store, targets }
    }
}

fn spans(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|r| &r.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

#[async_trait]
impl Sink<ExportTraceServiceRequest> for Mirrored {
    async fn accept(&self, request: ExportTraceServiceRequest) -> Result<Accepted, Refusal> {
        room(&self.targets).map_err(|message| Refusal::Busy {
            message,
            after: AFTER,
        })?;
        let items = u32::try_from(spans(&request)).unwrap_or(u32::MAX);
        let message = request.encode_to_vec();
        let accepted = self.store.accept(request).await?;
        if items > 0 {
            let targets = self.targets.clone();
            let put = tokio::task::spawn_blocking(move || {
                targets
                    .iter()
                    .for_each(|target| target.put(&message, items));
            });
            put.await
                .map_err(|error| Refusal::Unavailable(error.to_string()))?;
        }
        Ok(accepted)
    }
}

/// Sends spans.
pub(super) struct Sender {
    target: Arc<Target>,
}

impl Sender {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self {
            target: Arc::clone(target),
        }
    }
}

fn packed(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(plain)?;
    out.finish()
}

#[async_trait]
impl Deliver for Sender {
    async fn deliver(&self, records: &[Vec<u8>], items: u64) -> Delivered {
        // Requests put one behind the other are a request.
        let plain = unpacked(records);
        let body = match packed(&plain) {
            Ok(body) => body,
            Err(error) => {
                let why = error.to_string();
                return Delivered::Refused { why, sent: 0 };
            }
        };
        let bytes = body.len() as u64;
        let mut headers = HeaderMap::new();
        let content = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, content);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        match judged(self.target.remote.post(headers, body).await) {
            Ok(reply) => {
                let told = ExportTraceServiceResponse::decode(reply.body).unwrap_or_default();
                let rejected = told.partial_success.map_or(0, |part| part.rejected_spans);
                Delivered::Taken {
                    failed: u64::try_from(rejected).unwrap_or(0).min(items),
                    bytes,
                    highest: 0,
                }
            }
            Err(other) => other,
        }
    }
}
