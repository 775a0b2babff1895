//! Spans: `trace.proto` and its collector service.

use super::attributes::{InstrumentationScope, KeyValue, Resource};
use super::json;
use bytes::Bytes;
use serde::Deserialize;

/// What a sender of spans sends; also a whole trace in a file.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportTraceServiceRequest {
    /// Spans by who sends.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// The answer to spans.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportTraceServiceResponse {
    /// What was not taken, if any.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<ExportTracePartialSuccess>,
}

/// What was not taken.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportTracePartialSuccess {
    /// How many spans.
    #[prost(int64, tag = "1")]
    #[serde(deserialize_with = "json::int64")]
    pub rejected_spans: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// Spans of one resource.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceSpans {
    /// Who sends.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Spans by library.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::list")]
    pub scope_spans: Vec<ScopeSpans>,
    /// Schema of the resource.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// Spans of one library.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeSpans {
    /// The library.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// The spans.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::list")]
    pub spans: Vec<Span>,
    /// Schema of the spans.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// An operation.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Span {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(deserialize_with = "json::id")]
    pub trace_id: Bytes,
    /// 8 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(deserialize_with = "json::id")]
    pub span_id: Bytes,
    /// State of the trace, as in its HTTP header.
    #[prost(string, tag = "3")]
    pub trace_state: String,
    /// 8 bytes, none for a root.
    #[prost(bytes = "bytes", tag = "4")]
    #[serde(deserialize_with = "json::id")]
    pub parent_span_id: Bytes,
    /// What is done.
    #[prost(string, tag = "5")]
    pub name: String,
    /// 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    #[prost(int32, tag = "6")]
    #[serde(deserialize_with = "json::kind")]
    pub kind: i32,
    /// Begin, nanoseconds since the epoch.
    #[prost(fixed64, tag = "7")]
    #[serde(deserialize_with = "json::uint64")]
    pub start_time_unix_nano: u64,
    /// End, nanoseconds since the epoch.
    #[prost(fixed64, tag = "8")]
    #[serde(deserialize_with = "json::uint64")]
    pub end_time_unix_nano: u64,
    /// What is said about it.
    #[prost(message, repeated, tag = "9")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    #[prost(uint32, tag = "10")]
    #[serde(deserialize_with = "json::uint32")]
    pub dropped_attributes_count: u32,
    /// What happened during it.
    #[prost(message, repeated, tag = "11")]
    #[serde(deserialize_with = "json::list")]
    pub events: Vec<Event>,
    /// Events that the sender left out.
    #[prost(uint32, tag = "12")]
    #[serde(deserialize_with = "json::uint32")]
    pub dropped_events_count: u32,
    /// Spans it has to do with.
    #[prost(message, repeated, tag = "13")]
    #[serde(deserialize_with = "json::list")]
    pub links: Vec<Link>,
    /// Links that the sender left out.
    #[prost(uint32, tag = "14")]
    #[serde(deserialize_with = "json::uint32")]
    pub dropped_links_count: u32,
    /// How it went.
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    /// Flags of the trace context.
    #[prost(fixed32, tag = "16")]
    #[serde(deserialize_with = "json::uint32")]
    pub flags: u32,
}

/// Something that happened during a span.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// When, nanoseconds since the epoch.
    #[prost(fixed64, tag = "1")]
    #[serde(deserialize_with = "json::uint64")]
    pub time_unix_nano: u64,
    /// What.
    #[prost(string, tag = "2")]
    pub name: String,
    /// What is said about it.
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    #[prost(uint32, tag = "4")]
    #[serde(deserialize_with = "json::uint32")]
    pub dropped_attributes_count: u32,
}

/// Another span.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Link {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(deserialize_with = "json::id")]
    pub trace_id: Bytes,
    /// 8 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(deserialize_with = "json::id")]
    pub span_id: Bytes,
    /// State of its trace.
    #[prost(string, tag = "3")]
    pub trace_state: String,
    /// What is said about it.
    #[prost(message, repeated, tag = "4")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    #[prost(uint32, tag = "5")]
    #[serde(deserialize_with = "json::uint32")]
    pub dropped_attributes_count: u32,
    /// Flags of its trace context.
    #[prost(fixed32, tag = "6")]
    #[serde(deserialize_with = "json::uint32")]
    pub flags: u32,
}

/// How a span went.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// What went wrong.
    #[prost(string, tag = "2")]
    pub message: String,
    /// 0 unset, 1 ok, 2 error.
    #[prost(int32, tag = "3")]
    #[serde(deserialize_with = "json::status")]
    pub code: i32,
}
