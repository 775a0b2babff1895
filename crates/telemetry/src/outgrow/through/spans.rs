//! Traces from before the cut-over, of a Tempo.

use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use prost::Message;
use serde_json::Value;

use super::past::{Past, query};
use crate::otlp::message::{ExportTraceServiceRequest, ResourceSpans};

/// A Tempo that knows what was before.
#[derive(Clone)]
pub struct PastSpans {
    past: Arc<Past>,
}

impl PastSpans {
    pub(super) fn new(past: Arc<Past>) -> Self {
        Self { past }
    }

    /// What is older is asked there, nanoseconds since the epoch.
    pub(crate) fn before(&self) -> u64 {
        self.past.before.max(0).unsigned_abs() * 1_000_000
    }

    pub(crate) fn remark(&self, why: &str) -> String {
        self.past.remark(why)
    }

    /// A trace by its id; nothing where it is not there.
    pub(crate) async fn trace(&self, id: &[u8]) -> Result<Vec<ResourceSpans>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/protobuf"));
        let path = format!("/api/traces/{}", towpath_stdx::id::hex(id));
        let asked = self
            .past
            .ask(Method::GET, &path, headers, Default::default());
        let reply = asked.await?;
        let name = self.past.remote.name();
        match reply.status.as_u16() {
            404 => return Ok(Vec::new()),
            200..300 => {}
            _ => return Err(format!("{name}: {}", reply.told())),
        }
        // A trace has the fields of a request of the protocol.
        let trace = ExportTraceServiceRequest::decode(reply.body)
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(trace.resource_spans)
    }

    /// The traces that a search finds before the cut-over; `pairs` are its other parameters.
    pub(crate) async fn search(
        &self,
        mut pairs: Vec<(&str, String)>,
        start_ns: u64,
        end_ns: u64,
    ) -> Result<Vec<Value>, String> {
        let seconds = |ns: u64| (ns / 1_000_000_000).to_string();
        pairs.push(("start", seconds(start_ns)));
        pairs.push(("end", seconds(end_ns.min(self.before()))));
        let path = format!("/api/search?{}", query(&pairs));
        let mut reply = self.past.json(&path).await?;
        match reply["traces"].take() {
            Value::Array(list) => Ok(list),
            _ => Ok(Vec::new()),
        }
    }
}
