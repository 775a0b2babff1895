//! The messages of the OpenTelemetry protocol, by hand: the fields of `opentelemetry.proto.*.v1`
//! with their numbers, for protobuf through prost and for the protocol's own JSON through serde
//! (ids in hexadecimal, 64-bit integers as strings or numbers, names in camel case, unknown
//! fields ignored).

mod attributes;
mod json;
mod logs;
mod metrics;
mod trace;

pub use attributes::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, Resource, any_value,
};
pub use logs::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse, LogRecord,
    ResourceLogs, ScopeLogs,
};
pub use metrics::{
    Buckets, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint,
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse, Gauge,
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, QuantileValue, ResourceMetrics,
    ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric, number,
};
pub use trace::{
    Event, ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse, Link,
    ResourceSpans, ScopeSpans, Span, Status,
};
