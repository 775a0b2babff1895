//! One trace, by its id.

use super::answer::{self, Failure};
use super::convert::outgoing;
use super::past::{self, Whole};
use super::{Tempo, json, params};
use crate::otlp::message::ExportTraceServiceRequest;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, header};
use prost::Message;
use serde_json::json;
use towpath_query::traceql::SpanSource;

/// A trace with what is said about the answer: `tempopb.TraceByIDResponse`. The trace itself has
/// the fields of a request of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
struct TraceById {
    #[prost(message, optional, tag = "1")]
    trace: Option<ExportTraceServiceRequest>,
    /// 1 where a part may be missing.
    #[prost(uint64, tag = "3")]
    status: u64,
    /// Why.
    #[prost(string, tag = "4")]
    message: String,
}

async fn found(tempo: &Tempo, id: &str) -> Result<Whole, Failure> {
    let parsed = params::trace_id(id);
    let id = parsed.ok_or_else(|| Failure::bad(format!("{id:?} is no trace id")))?;
    let trace = tempo.run(move |store, _| store.trace(&id).map_err(Failure::internal));
    let here = trace.await?.map(|trace| outgoing(&trace));
    let whole = past::trace(tempo, &id, here.unwrap_or_default()).await;
    match whole.spans.is_empty() {
        true if whole.remarks.is_empty() => Err(Failure::absent("trace not found")),
        true => {
            let why = format!("trace not found here; {}", whole.remarks.join("; "));
            Err(Failure::absent(&why))
        }
        false => Ok(whole),
    }
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accepts.is_some_and(|text| text.contains("protobuf"))
}

pub(super) async fn v1(
    State(tempo): State<Tempo>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let whole = found(&tempo, &id).await?;
    if wants_protobuf(&headers) {
        let trace = ExportTraceServiceRequest {
            resource_spans: whole.spans,
        };
        let reply = answer::protobuf(trace.encode_to_vec());
        return Ok(past::remarked(reply, &whole.remarks));
    }
    let batches = json::resources(&whole.spans);
    let reply = answer::json(&json!({"batches": batches}));
    Ok(past::remarked(reply, &whole.remarks))
}

pub(super) async fn v2(
    State(tempo): State<Tempo>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Whole { spans, remarks } = found(&tempo, &id).await?;
    if wants_protobuf(&headers) {
        let reply = TraceById {
            trace: Some(ExportTraceServiceRequest {
                resource_spans: spans,
            }),
            status: u64::from(!remarks.is_empty()),
            message: remarks.join("; "),
        };
        let reply = answer::protobuf(reply.encode_to_vec());
        return Ok(past::remarked(reply, &remarks));
    }
    let spans = json::resources(&spans);
    let mut reply = json!({"trace": {"resourceSpans": spans}, "metrics": {}});
    if !remarks.is_empty() {
        reply["status"] = "PARTIAL".into();
        reply["message"] = remarks.join("; ").into();
    }
    Ok(past::remarked(answer::json(&reply), &remarks))
}

/// The version whose API this is: by it Grafana knows what it may ask.
pub(super) async fn buildinfo() -> Response {
    answer::json(&json!({
        "version": "2.8.0",
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "towpath",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}
