//! What is said about targets, as metrics: for all signals under names of the house, for samples
//! also under those that dashboards of remote write know.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::target::Target;
use crate::exporters::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use crate::outgrow::settings::Signal;

/// Metrics of targets.
pub struct Figures {
    targets: Vec<Arc<Target>>,
    beside: Option<Arc<dyn Gather>>,
}

/// A metric: name, kind, help, and how it is read.
type Metric = (&'static str, Kind, &'static str, fn(&Target) -> f64);

const ALL: [Metric; 9] = [
    (
        "towpath_mirror_pending_bytes",
        Kind::Gauge,
        "Bytes on the disk that wait to be sent.",
        |target| target.queue.waiting().bytes as f64,
    ),
    (
        "towpath_mirror_limit_bytes",
        Kind::Gauge,
        "The bound of those.",
        |target| target.queue.waiting().limit as f64,
    ),
    (
        "towpath_mirror_pending_items",
        Kind::Gauge,
        "Samples, lines or spans that wait to be sent.",
        |target| target.queue.waiting().items as f64,
    ),
    (
        "towpath_mirror_sent_total",
        Kind::Counter,
        "Samples, lines or spans that the other server took.",
        |target| target.counts.sent.load(Ordering::Relaxed) as f64,
    ),
    (
        "towpath_mirror_failed_total",
        Kind::Counter,
        "Samples, lines or spans that the other server refused for good.",
        |target| target.counts.failed.load(Ordering::Relaxed) as f64,
    ),
    (
        "towpath_mirror_dropped_total",
        Kind::Counter,
        "Samples, lines or spans that were dropped since the queue was full or damaged.",
        |target| target.queue.waiting().dropped as f64,
    ),
    (
        "towpath_mirror_retried_total",
        Kind::Counter,
        "Samples, lines or spans that were sent again.",
        |target| target.counts.retried.load(Ordering::Relaxed) as f64,
    ),
    (
        "towpath_mirror_bytes_total",
        Kind::Counter,
        "Bytes of requests that were taken, packed.",
        |target| target.counts.bytes.load(Ordering::Relaxed) as f64,
    ),
    (
        "towpath_mirror_highest_timestamp_seconds",
        Kind::Gauge,
        "The newest time that was sent.",
        |target| target.counts.highest.load(Ordering::Relaxed) as f64 / 1000.0,
    ),
];

/// Names of remote write, by the metric they repeat.
const UPSTREAM: [(&str, usize); 7] = [
    ("prometheus_remote_storage_samples_pending", 2),
    ("prometheus_remote_storage_samples_total", 3),
    ("prometheus_remote_storage_samples_failed_total", 4),
    ("prometheus_remote_storage_samples_dropped_total", 5),
    ("prometheus_remote_storage_samples_retried_total", 6),
    ("prometheus_remote_storage_bytes_total", 7),
    (
        "prometheus_remote_storage_queue_highest_sent_timestamp_seconds",
        8,
    ),
];

impl Figures {
    pub(super) fn new(targets: Vec<Arc<Target>>) -> Self {
        Self {
            targets,
            beside: None,
        }
    }

    /// The same behind what another one says.
    #[must_use]
    pub fn beside(self, other: Arc<dyn Gather>) -> Self {
        Self {
            beside: Some(other),
            ..self
        }
    }
}

#[async_trait]
impl Gather for Figures {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let mut families = match &self.beside {
            Some(other) => other.gather().await?,
            None => Vec::new(),
        };
        if self.targets.is_empty() {
            return Ok(families);
        }
        let mut sink = Sink::default();
        for (name, kind, help, read) in ALL {
            sink.family(name, kind, help);
            for target in &self.targets {
                let labels = [
                    ("mirror", target.name.as_str()),
                    ("signal", target.signal().name()),
                ];
                sink.sample(&labels, read(target));
            }
        }
        let samples = |target: &&Arc<Target>| target.signal() == Signal::Metrics;
        for (name, at) in UPSTREAM {
            let (_, kind, help, read) = ALL[at];
            sink.family(name, kind, help);
            for target in self.targets.iter().filter(samples) {
                let url = target.remote.name() + target.remote.path();
                let labels = [("remote_name", target.name.as_str()), ("url", url.as_str())];
                sink.sample(&labels, read(target));
            }
        }
        families.extend(sink.finish());
        Ok(families)
    }
}
