//! What the house says about itself: the process, the API of metrics, the store.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use towpath_signals::logs::LogStore;
use towpath_signals::metrics::{Stats, Store};
use towpath_signals::objects::ObjectsStats;
use towpath_signals::traces;
use towpath_stdx::{Clock, bounded};

use crate::exporters::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use crate::prometheus::Api;

/// The stores that are opened later than the one of metrics, once they are.
#[derive(Default)]
pub struct Beside {
    /// Of lines.
    pub lines: OnceLock<Arc<LogStore>>,
    /// Of traces.
    pub traces: OnceLock<traces::Store>,
}

/// This process as a target.
pub struct OwnTarget {
    /// The API whose requests are counted.
    pub api: Arc<Api>,
    /// The store whose size is told.
    pub store: Arc<Store>,
    /// The other stores.
    pub beside: Arc<Beside>,
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
                "Segments, on the disk or in a bucket.",
                stats.segments,
            ),
            (
                "towpath_signals_segment_bytes",
                "What segments take, on the disk or in a bucket.",
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
        self.disk(sink, &stats);
        self.bucket(sink, &stats);
        let help = "Samples, series and lines that were refused for a limit.";
        sink.family("towpath_shed_total", Kind::Counter, help);
        let lines = self.beside.lines.get().map(|lines| lines.health().shed);
        let lines = lines.unwrap_or_default();
        let each = stats.shed.iter().map(|shed| ("metrics", shed));
        for (signal, shed) in each.chain(lines.iter().map(|shed| ("logs", shed))) {
            let labels = [
                ("source", shed.source.as_str()),
                ("signal", signal),
                ("reason", shed.reason),
            ];
            sink.sample(&labels, shed.count as f64);
        }
    }

    /// What each signal takes on the disk, what of it is damaged, and what was freed.
    fn disk(&self, sink: &mut Sink, stats: &Stats) {
        let here = |bytes: u64, objects: &Option<ObjectsStats>| {
            bytes.saturating_sub(objects.as_ref().map_or(0, |objects| objects.away_bytes))
        };
        let metrics = here(stats.segment_bytes, &stats.objects);
        let mut each = vec![("metrics", metrics, stats.freed, stats.broken.len() as u64)];
        if let Some(lines) = self.beside.lines.get() {
            let health = lines.health();
            each.push((
                "logs",
                here(health.disk_bytes, &health.objects),
                health.freed,
                health.damaged,
            ));
        }
        if let Some(traces) = self.beside.traces.get() {
            let statistics = traces.statistics();
            let bytes = here(statistics.block_bytes, &statistics.objects);
            each.push(("traces", bytes, statistics.freed, statistics.damaged));
        }
        let help = "What is kept takes on the disk, without the log.";
        sink.family("towpath_signals_disk_bytes", Kind::Gauge, help);
        for (signal, bytes, ..) in &each {
            sink.sample(&[("signal", signal)], *bytes as f64);
        }
        let help = "Segments that cannot be opened, or of which a part makes no sense.";
        sink.family("towpath_signals_damaged_segments", Kind::Gauge, help);
        for (signal, .., damaged) in &each {
            sink.sample(&[("signal", signal)], *damaged as f64);
        }
        let help = "Bytes of the disk that were freed since the start.";
        sink.family("towpath_signals_freed_bytes_total", Kind::Counter, help);
        for (signal, _, freed, _) in &each {
            for (reason, bytes) in freed {
                sink.sample(&[("signal", signal), ("reason", reason)], *bytes as f64);
            }
        }
    }

    /// What is in a bucket and what waits for it, where there is one.
    fn bucket(&self, sink: &mut Sink, stats: &Stats) {
        let mut each = vec![("metrics", stats.objects.clone())];
        if let Some(lines) = self.beside.lines.get() {
            each.push(("logs", lines.health().objects));
        }
        if let Some(traces) = self.beside.traces.get() {
            each.push(("traces", traces.statistics().objects));
        }
        let each: Vec<(&str, ObjectsStats)> = each
            .into_iter()
            .filter_map(|(signal, stats)| Some((signal, stats?)))
            .collect();
        let Some((_, any)) = each.first() else { return };
        let (reads, read_bytes) = (any.reads, any.read_bytes);
        type Figure = fn(&ObjectsStats) -> u64;
        let figures: [(&str, Kind, &str, Figure); 9] = [
            (
                "towpath_signals_bucket_up",
                Kind::Gauge,
                "Whether the last round of uploading went well.",
                |own| u64::from(own.trouble.is_none()),
            ),
            (
                "towpath_signals_bucket_segments",
                Kind::Gauge,
                "Segments in the bucket.",
                |own| own.segments,
            ),
            (
                "towpath_signals_bucket_bytes",
                Kind::Gauge,
                "What they take there.",
                |own| own.bytes,
            ),
            (
                "towpath_signals_bucket_only_bytes",
                Kind::Gauge,
                "Bytes of segments that are in the bucket and not on the disk.",
                |own| own.away_bytes,
            ),
            (
                "towpath_signals_bucket_waiting_segments",
                Kind::Gauge,
                "Segments that are not in the bucket yet.",
                |own| own.waiting,
            ),
            (
                "towpath_signals_bucket_waiting_bytes",
                Kind::Gauge,
                "Bytes of segments that are not in the bucket yet.",
                |own| own.waiting_bytes,
            ),
            (
                "towpath_signals_bucket_uploaded_bytes_total",
                Kind::Counter,
                "Bytes that were uploaded since the start.",
                |own| own.uploaded_bytes,
            ),
            (
                "towpath_signals_bucket_failures_total",
                Kind::Counter,
                "Rounds of uploading that failed since the start.",
                |own| own.failures,
            ),
            (
                "towpath_signals_bucket_deleted_total",
                Kind::Counter,
                "Objects that were deleted since the start.",
                |own| own.deleted,
            ),
        ];
        for (name, kind, help, figure) in figures {
            sink.family(name, kind, help);
            for (signal, own) in &each {
                sink.sample(&[("signal", signal)], figure(own) as f64);
            }
        }
        let help = "Reads of the bucket since the start.";
        let name = "towpath_signals_bucket_reads_total";
        sink.single(name, Kind::Counter, help, reads as f64);
        let help = "Bytes that were read from the bucket since the start.";
        let name = "towpath_signals_bucket_read_bytes_total";
        sink.single(name, Kind::Counter, help, read_bytes as f64);
    }
}
