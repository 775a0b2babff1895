//! Metrics: `metrics.proto` and its collector service.

use super::attributes::{InstrumentationScope, KeyValue, Resource};
use super::json;
use bytes::Bytes;
use serde::Deserialize;

/// Alternatives of a metric.
pub mod metric {
    use serde::Deserialize;

    /// What the points are.
    #[derive(Clone, PartialEq, prost::Oneof, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub enum Data {
        /// Values that go up and down.
        #[prost(message, tag = "5")]
        Gauge(super::Gauge),
        /// Values that add up.
        #[prost(message, tag = "7")]
        Sum(super::Sum),
        /// Histograms with bounds of their own.
        #[prost(message, tag = "9")]
        Histogram(super::Histogram),
        /// Histograms with exponential bounds.
        #[prost(message, tag = "10")]
        ExponentialHistogram(super::ExponentialHistogram),
        /// Quantiles.
        #[prost(message, tag = "11")]
        Summary(super::Summary),
    }
}

/// Alternatives of a point.
pub mod number {
    use super::json;
    use serde::Deserialize;

    /// The number.
    #[derive(Clone, Copy, PartialEq, prost::Oneof, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub enum Value {
        /// Any number.
        #[prost(double, tag = "4")]
        AsDouble(#[serde(deserialize_with = "json::double")] f64),
        /// A whole number.
        #[prost(sfixed64, tag = "6")]
        AsInt(#[serde(deserialize_with = "json::int64")] i64),
    }
}

/// Alternatives of an exemplar.
pub mod exemplar {
    use super::json;
    use serde::Deserialize;

    /// The number.
    #[derive(Clone, Copy, PartialEq, prost::Oneof, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub enum Value {
        /// Any number.
        #[prost(double, tag = "3")]
        AsDouble(#[serde(deserialize_with = "json::double")] f64),
        /// A whole number.
        #[prost(sfixed64, tag = "6")]
        AsInt(#[serde(deserialize_with = "json::int64")] i64),
    }
}

/// What a sender of metrics sends.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportMetricsServiceRequest {
    /// Metrics by who sends.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

/// The answer to metrics.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportMetricsServiceResponse {
    /// What was not taken, if any.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<ExportMetricsPartialSuccess>,
}

/// What was not taken.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportMetricsPartialSuccess {
    /// How many points.
    #[prost(int64, tag = "1")]
    #[serde(deserialize_with = "json::int64")]
    pub rejected_data_points: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// Metrics of one resource.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceMetrics {
    /// Who sends.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Metrics by library.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::list")]
    pub scope_metrics: Vec<ScopeMetrics>,
    /// Schema of the resource.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// Metrics of one library.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeMetrics {
    /// The library.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// The metrics.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::list")]
    pub metrics: Vec<Metric>,
    /// Schema of the metrics.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// A metric.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metric {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it means.
    #[prost(string, tag = "2")]
    pub description: String,
    /// Its unit.
    #[prost(string, tag = "3")]
    pub unit: String,
    /// Its points.
    #[prost(oneof = "metric::Data", tags = "5, 7, 9, 10, 11")]
    #[serde(flatten)]
    pub data: Option<metric::Data>,
    /// What is said about it.
    #[prost(message, repeated, tag = "12")]
    #[serde(deserialize_with = "json::list")]
    pub metadata: Vec<KeyValue>,
}

/// Values that go up and down.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gauge {
    /// The points.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub data_points: Vec<NumberDataPoint>,
}

/// Values that add up.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sum {
    /// The points.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub data_points: Vec<NumberDataPoint>,
    /// 1 delta, 2 cumulative.
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::temporality")]
    pub aggregation_temporality: i32,
    /// Whether it only grows.
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// Histograms with bounds of their own.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Histogram {
    /// The points.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub data_points: Vec<HistogramDataPoint>,
    /// 1 delta, 2 cumulative.
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::temporality")]
    pub aggregation_temporality: i32,
}

/// Histograms with exponential bounds.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExponentialHistogram {
    /// The points.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub data_points: Vec<ExponentialHistogramDataPoint>,
    /// 1 delta, 2 cumulative.
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::temporality")]
    pub aggregation_temporality: i32,
}

/// Quantiles.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// The points.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub data_points: Vec<SummaryDataPoint>,
}

/// A number at a time.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NumberDataPoint {
    /// What tells it apart.
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Since when it is counted.
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::uint64")]
    pub start_time_unix_nano: u64,
    /// When.
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "json::uint64")]
    pub time_unix_nano: u64,
    /// The number.
    #[prost(oneof = "number::Value", tags = "4, 6")]
    #[serde(flatten)]
    pub value: Option<number::Value>,
    /// Measurements that stand for others.
    #[prost(message, repeated, tag = "5")]
    #[serde(deserialize_with = "json::list")]
    pub exemplars: Vec<Exemplar>,
    /// Bit 0: there is no value.
    #[prost(uint32, tag = "8")]
    #[serde(deserialize_with = "json::uint32")]
    pub flags: u32,
}

/// A histogram at a time.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HistogramDataPoint {
    /// What tells it apart.
    #[prost(message, repeated, tag = "9")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Since when it is counted.
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::uint64")]
    pub start_time_unix_nano: u64,
    /// When.
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "json::uint64")]
    pub time_unix_nano: u64,
    /// How many.
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "json::uint64")]
    pub count: u64,
    /// Their sum.
    #[prost(double, optional, tag = "5")]
    #[serde(deserialize_with = "json::double_option")]
    pub sum: Option<f64>,
    /// How many in each bucket, one more than bounds.
    #[prost(fixed64, repeated, tag = "6")]
    #[serde(deserialize_with = "json::uint64s")]
    pub bucket_counts: Vec<u64>,
    /// Upper bounds.
    #[prost(double, repeated, tag = "7")]
    #[serde(deserialize_with = "json::doubles")]
    pub explicit_bounds: Vec<f64>,
    /// Measurements that stand for others.
    #[prost(message, repeated, tag = "8")]
    #[serde(deserialize_with = "json::list")]
    pub exemplars: Vec<Exemplar>,
    /// Bit 0: there is no value.
    #[prost(uint32, tag = "10")]
    #[serde(deserialize_with = "json::uint32")]
    pub flags: u32,
    /// The least.
    #[prost(double, optional, tag = "11")]
    #[serde(deserialize_with = "json::double_option")]
    pub min: Option<f64>,
    /// The greatest.
    #[prost(double, optional, tag = "12")]
    #[serde(deserialize_with = "json::double_option")]
    pub max: Option<f64>,
}

/// A histogram with exponential bounds at a time.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExponentialHistogramDataPoint {
    /// What tells it apart.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Since when it is counted.
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::uint64")]
    pub start_time_unix_nano: u64,
    /// When.
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "json::uint64")]
    pub time_unix_nano: u64,
    /// How many.
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "json::uint64")]
    pub count: u64,
    /// Their sum.
    #[prost(double, optional, tag = "5")]
    #[serde(deserialize_with = "json::double_option")]
    pub sum: Option<f64>,
    /// Base of the bounds is 2^(2^-scale).
    #[prost(sint32, tag = "6")]
    #[serde(deserialize_with = "json::int32")]
    pub scale: i32,
    /// How many about zero.
    #[prost(fixed64, tag = "7")]
    #[serde(deserialize_with = "json::uint64")]
    pub zero_count: u64,
    /// Positive values.
    #[prost(message, optional, tag = "8")]
    pub positive: Option<Buckets>,
    /// Negative values.
    #[prost(message, optional, tag = "9")]
    pub negative: Option<Buckets>,
    /// Bit 0: there is no value.
    #[prost(uint32, tag = "10")]
    #[serde(deserialize_with = "json::uint32")]
    pub flags: u32,
    /// Measurements that stand for others.
    #[prost(message, repeated, tag = "11")]
    #[serde(deserialize_with = "json::list")]
    pub exemplars: Vec<Exemplar>,
    /// The least.
    #[prost(double, optional, tag = "12")]
    #[serde(deserialize_with = "json::double_option")]
    pub min: Option<f64>,
    /// The greatest.
    #[prost(double, optional, tag = "13")]
    #[serde(deserialize_with = "json::double_option")]
    pub max: Option<f64>,
    /// What counts as zero.
    #[prost(double, tag = "14")]
    #[serde(deserialize_with = "json::double")]
    pub zero_threshold: f64,
}

/// Neighbouring buckets.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Buckets {
    /// Index of the first.
    #[prost(sint32, tag = "1")]
    #[serde(deserialize_with = "json::int32")]
    pub offset: i32,
    /// How many in each.
    #[prost(uint64, repeated, tag = "2")]
    #[serde(deserialize_with = "json::uint64s")]
    pub bucket_counts: Vec<u64>,
}

/// Quantiles at a time.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SummaryDataPoint {
    /// What tells it apart.
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "json::list")]
    pub attributes: Vec<KeyValue>,
    /// Since when it is counted.
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::uint64")]
    pub start_time_unix_nano: u64,
    /// When.
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "json::uint64")]
    pub time_unix_nano: u64,
    /// How many.
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "json::uint64")]
    pub count: u64,
    /// Their sum.
    #[prost(double, tag = "5")]
    #[serde(deserialize_with = "json::double")]
    pub sum: f64,
    /// The quantiles.
    #[prost(message, repeated, tag = "6")]
    #[serde(deserialize_with = "json::list")]
    pub quantile_values: Vec<QuantileValue>,
    /// Bit 0: there is no value.
    #[prost(uint32, tag = "8")]
    #[serde(deserialize_with = "json::uint32")]
    pub flags: u32,
}

/// A quantile.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QuantileValue {
    /// Which, 0 to 1.
    #[prost(double, tag = "1")]
    #[serde(deserialize_with = "json::double")]
    pub quantile: f64,
    /// Its value.
    #[prost(double, tag = "2")]
    #[serde(deserialize_with = "json::double")]
    pub value: f64,
}

/// A measurement that stands for others.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Exemplar {
    /// What the metric does not tell apart.
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "json::list")]
    pub filtered_attributes: Vec<KeyValue>,
    /// When.
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::uint64")]
    pub time_unix_nano: u64,
    /// What was measured.
    #[prost(oneof = "exemplar::Value", tags = "3, 6")]
    #[serde(flatten)]
    pub value: Option<exemplar::Value>,
    /// 8 bytes or none.
    #[prost(bytes = "bytes", tag = "4")]
    #[serde(deserialize_with = "json::id")]
    pub span_id: Bytes,
    /// 16 bytes or none.
    #[prost(bytes = "bytes", tag = "5")]
    #[serde(deserialize_with = "json::id")]
    pub trace_id: Bytes,
}
