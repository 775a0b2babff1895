//! Where requests go once they are read, and what can come of it.

use super::message::{
    ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// What was taken is durable. What was not is told to the sender, who must not send it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Spans, records or points that were not taken.
    pub rejected: u64,
    /// Why; empty where all were.
    pub message: String,
}

/// Nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It never will be.
    #[error("{0}")]
    Invalid(String),
    /// Too much at a time; later it may be.
    #[error("{message}")]
    Busy {
        /// What is at its limit.
        message: String,
        /// When to try again.
        after: Duration,
    },
    /// The store does not work at present.
    #[error("{0}")]
    Unavailable(String),
}

/// Takes the requests of one signal.
#[async_trait]
pub trait Sink<Request>: Send + Sync {
    /// Takes one.
    ///
    /// # Errors
    /// Nothing of it was taken.
    async fn accept(&self, request: Request) -> Result<Accepted, Refusal>;
}

/// Takes spans.
pub type TraceSink = Arc<dyn Sink<ExportTraceServiceRequest>>;
/// Takes log records.
pub type LogSink = Arc<dyn Sink<ExportLogsServiceRequest>>;
/// Takes metrics.
pub type MetricSink = Arc<dyn Sink<ExportMetricsServiceRequest>>;

/// A sink per signal that is taken.
#[derive(Clone, Default)]
pub struct Sinks {
    /// Spans.
    pub traces: Option<TraceSink>,
    /// Log records.
    pub logs: Option<LogSink>,
    /// Metrics.
    pub metrics: Option<MetricSink>,
}
