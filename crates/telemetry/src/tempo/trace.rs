//! One trace, by its id.

use super::answer::{self, Failure};
use super::convert::outgoing;
use super::{Tempo, json, params};
use crate::otlp::message::{ExportTraceServiceRequest, ResourceSpans};
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
}

async fn found(tempo: &Tempo, id: &str) -> Result<Vec<ResourceSpans>, Failure> {
    let parsed = params::trace_id(id);
    let id = parsed.ok_or_else(|| Failure::bad(format!("{id:?} is no trace id")))?;
    let trace = tempo.run(move |store, _| store.trace(&id).map_err(Failure::internal));
    match trace.await? {
        Some(trace) => Ok(outgoing(&trace)),
        None => Err(Failure::absent("trace not found")),
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
    let resource_spans = found(&tempo, &id).await?;
    if wants_protobuf(&headers) {
        let trace = ExportTraceServiceRequest { resource_spans };
        return Ok(answer::protobuf(trace.encode_to_vec()));
    }
    let batches = json::resources(&resource_spans);
    Ok(answer::json(&json!({"batches": batches})))
}

pub(super) async fn v2(
    State(tempo): State<Tempo>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let resource_spans = found(&tempo, &id).await?;
    if wants_protobuf(&headers) {
        let reply = TraceById {
            trace: Some(ExportTraceServiceRequest { resource_spans }),
        };
        return Ok(answer::protobuf(reply.encode_to_vec()));
    }
    let spans = json::resources(&resource_spans);
    let reply = json!({"trace": {"resourceSpans": spans}, "metrics": {}});
    Ok(answer::json(&reply))
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
