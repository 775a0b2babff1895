//! What the house says about itself: the process, the API of metrics, the store.

use std::sync::Arc;

use async_trait::async_trait;
use towpath_signals::metrics::Store;
use towpath_stdx::{Clock, bounded};

use crate::exporters::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use crate::prometheus::Api;

/// This process as a target.
pub struct OwnTarget {
    /// The API whose requests are counted.
    pub api: Arc<Api>,
    /// The store whose size is told.
    pub store: Arc<Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// When the process started, seconds since 1970.
    pub started: f64,
    /// The version of the program.
    pub version: String,
}

#[async_trait]
impl Gather for OwnTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let mut sink = Sink::default();
        sink.family("towpath_build_info", Kind::Gauge, "The program that runs.");
        sink.sample(&[("version", &self.version)], 1.0);
        self.process(&mut sink);
        self.queries(&mut sink);
        self.store(&mut sink);
        Ok(sink.finish())
    }
}

// Ticks of the kernel's clock in a second, and bytes of a page: both have been these on every
// machine that this program is built for.
const TICKS: f64 = 100.0;
const PAGE: f64 = 4096.0;

impl OwnTarget {
    fn process(&self, sink: &mut Sink) {
        let started = "When the process started, in seconds since the epoch.";
        sink.single(
            "process_start_time_seconds",
            Kind::Gauge,
            started,
            self.started,
        );
        let stat = bounded::read_file("/proc/self/stat".as_ref(), 1 << 16).unwrap_or_default();
        let stat = String::from_utf8_lossy(&stat);
        // The name of the program is in parentheses and may hold anything.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
        let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
        if let (Some(user), Some(system)) = (field(11), field(12)) {
            let cpu = "Total user and system CPU time spent in seconds.";
            let seconds = (user + system) / TICKS;
            sink.single("process_cpu_seconds_total", Kind::Counter, cpu, seconds);
        }
        if let Some(bytes) = field(20) {
            let size = "Virtual memory size in bytes.";
            sink.single("process_virtual_memory_bytes", Kind::Gauge, size, bytes);
        }
        if let Some(pages) = field(21) {
            let size = "Resident memory size in bytes.";
            sink.single(
                "process_resident_memory_bytes",
                Kind::Gauge,
                size,
                pages * PAGE,
            );
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            let help = "Number of open file descriptors.";
            sink.single("process_open_fds", Kind::Gauge, help, open.count() as f64);
        }
    }

    fn queries(&self, sink: &mut Sink) {
        let (requests, queries, samples) = self.api.asked().counts();
        for (name, help, value) in [
            (
                "towpath_prometheus_requests_total",
                "Requests to the API of Prometheus.",
                requests,
            ),
            (
                "towpath_prometheus_queries_total",
                "Queries that were evaluated.",
                queries,
            ),
            (
                "towpath_prometheus_query_samples_total",
                "Samples that queries have read.",
                samples,
            ),
        ] {
            sink.single(name, Kind::Counter, help, value as f64);
        }
    }

    fn store(&self, sink: &mut Sink) {
        let stats = self.store.stats();
        for (name, help, value) in [
            (
                "towpath_signals_head_series",
                "Series in the head of the store of metrics.",
                stats.series,
            ),
            (
                "towpath_signals_memory_bytes",
                "Memory for series and samples that are not in segments.",
                stats.memory_bytes,
            ),
            (
                "towpath_signals_segments",
                "Segments on the disk.",
                stats.segments,
            ),
            (
                "towpath_signals_segment_bytes",
                "What segments take on the disk.",
                stats.segment_bytes,
            ),
            (
                "towpath_signals_memory_limit_bytes",
                "The limit of that memory.",
                stats.memory_limit_bytes,
            ),
        ] {
            sink.single(name, Kind::Gauge, help, value as f64);
        }
        for (name, help, value) in [
            (
                "towpath_signals_samples_taken_total",
                "Samples that were taken since the start.",
                stats.samples_taken,
            ),
            (
                "towpath_signals_samples_refused_total",
                "Samples that were refused since the start.",
                stats.samples_refused,
            ),
        ] {
            sink.single(name, Kind::Counter, help, value as f64);
        }
        let help = "Samples and series that were refused for a limit.";
        sink.family("towpath_shed_total", Kind::Counter, help);
        for shed in &stats.shed {
            let labels = [
                ("source", shed.source.as_str()),
                ("signal", "metrics"),
                ("reason", shed.reason),
            ];
            sink.sample(&labels, shed.count as f64);
        }
    }
}
