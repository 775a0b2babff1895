//! Log records: `logs.proto` and its collector service.

use super::attributes::{AnyValue, InstrumentationScope, KeyValue, Resource};
use super::json;
use bytes::Bytes;
use serde::Deserialize;

/// What a sender of log records sends.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsServiceRequest {
    /// Records by who sends.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// The answer to log records.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsServiceResponse {
    /// What was not taken, if any.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<ExportLogsPartialSuccess>,
}

/// What was not taken.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsPartialSuccess {
    /// How many records.
    #[prost(int64, tag = "1")]
    #[serde(deserialize_with = "json::int64")]
    pub rejected_log_records: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// Records of one resource.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceLogs {
    /// Who sends.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Records by library.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::list")]
    pub scope_logs: Vec<ScopeLogs>,
    /// Schema of the resource.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// Records of one library.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeLogs {
    /// The library.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// The records.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::list")]
    pub log_records: Vec<LogRecord>,
    /// Schema of the records.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// A log record.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogRecord {
    /// When it happened, nanoseconds since the epoch; 0 is not known.
    #[prost(fixed64, tag = "1")]
    #[serde(deserialize_with = "json::uint64")]
    pub time_unix_nano: u64,
    /// When it was seen, nanoseconds since the epoch.
    #[prost(fixed64, tag = "11")]
    #[serde(deserialize_with = "json::uint64")]
    pub observed_time_unix_nano: u64,
    /// 1 to 24, 0 is not known.
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::severity")]
    pub severity_number: i32,
    /// Severity in the words of the source.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// What is said.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// What is said about it.
    #[prost(message, repeated, tag = "6")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    #[prost(uint32, tag = "7")]
    #[serde(deserialize_with = "json::uint32")]
    pub dropped_attributes_count: u32,
    /// Flags of the trace context.
    #[prost(fixed32, tag = "8")]
    #[serde(deserialize_with = "json::uint32")]
    pub flags: u32,
    /// 16 bytes or none.
    #[prost(bytes = "bytes", tag = "9")]
    #[serde(deserialize_with = "json::id")]
    pub trace_id: Bytes,
    /// 8 bytes or none.
    #[prost(bytes = "bytes", tag = "10")]
    #[serde(deserialize_with = "json::id")]
    pub span_id: Bytes,
    /// Kind of event, where it is one.
    #[prost(string, tag = "12")]
    pub event_name: String,
}
