//! The machine, as the Prometheus node exporter shows it: same names, same labels, from procfs
//! and sysfs under given roots.
//!
//! Each collector reads its own files and fails alone: a file that is missing or says nonsense
//! costs the metrics of its collector, which `node_scrape_collector_success` tells. Reading
//! blocks for a moment, so [`NodeExporter::write`] belongs on a blocking thread.

mod disk;
mod files;
mod filesystem;
mod hwmon;
mod kernel;
mod memory;
mod network;
mod processor;
mod sockets;
mod textfile;
mod timex;

pub use files::{Error, Roots};
pub(crate) use processor::cpu_count;
pub use timex::ClockReader;

use super::sink::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use towpath_stdx::{Clock, SystemClock};

/// What the exporter needs to know.
#[derive(Clone)]
pub struct NodeConfig {
    /// Where the kernel's trees are.
    pub roots: Roots,
    /// Directory whose `*.prom` files are shown too.
    pub textfiles: Option<PathBuf>,
    /// Directories below which mounts are not shown: those of pods.
    pub hidden_mounts: Vec<PathBuf>,
    /// Beginnings of names of network devices that are not shown: the host's ends of pods'.
    pub hidden_devices: Vec<String>,
    /// Asks the kernel how well its clock keeps time.
    pub clock: Option<ClockReader>,
    /// The time of day.
    pub time: Arc<dyn Clock>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            roots: Roots::default(),
            textfiles: None,
            hidden_mounts: Vec::new(),
            hidden_devices: vec!["veth".into()],
            clock: None,
            time: Arc::new(SystemClock),
        }
    }
}

type Collect = fn(&NodeExporter, &mut Sink) -> Result<(), Error>;

const COLLECTORS: &[(&str, Collect)] = &[
    ("arp", sockets::arp),
    ("conntrack", kernel::conntrack),
    ("cpu", processor::cpu),
    ("diskstats", disk::collect),
    ("entropy", kernel::entropy),
    ("filefd", kernel::filefd),
    ("filesystem", filesystem::collect),
    ("hwmon", hwmon::collect),
    ("loadavg", kernel::loadavg),
    ("meminfo", memory::collect),
    ("netclass", network::class),
    ("netdev", network::dev),
    ("netstat", sockets::netstat),
    ("os", kernel::os),
    ("pressure", kernel::pressure),
    ("sockstat", sockets::sockstat),
    ("softnet", sockets::softnet),
    ("stat", processor::stat),
    ("textfile", textfile::collect),
    ("time", kernel::time),
    ("timex", timex::collect),
    ("udp_queues", sockets::udp_queues),
    ("uname", kernel::uname),
    ("vmstat", kernel::vmstat),
];

/// Shows the machine.
pub struct NodeExporter {
    config: NodeConfig,
    stuck: filesystem::Stuck,
}

impl NodeExporter {
    /// An exporter over what the configuration names.
    pub fn new(config: NodeConfig) -> Self {
        Self {
            config,
            stuck: filesystem::Stuck::default(),
        }
    }

    /// Writes every metric. Blocks while files are read.
    pub fn write(&self, sink: &mut Sink) {
        let mut told: Vec<(&str, Duration, bool)> = Vec::with_capacity(COLLECTORS.len());
        for (name, collect) in COLLECTORS {
            let begin = self.config.time.monotonic();
            let mut own = Sink::default();
            let result = collect(self, &mut own);
            let took = self.config.time.monotonic().duration_since(begin);
            match &result {
                Ok(()) => sink.take(own),
                Err(error) => tracing::debug!(collector = name, %error, "nothing to show"),
            }
            told.push((name, took, result.is_ok()));
        }
        sink.family(
            "node_scrape_collector_duration_seconds",
            Kind::Gauge,
            "node_exporter: Duration of a collector scrape.",
        );
        for (name, took, _) in &told {
            sink.sample(&[("collector", name)], took.as_secs_f64());
        }
        sink.family(
            "node_scrape_collector_success",
            Kind::Gauge,
            "node_exporter: Whether a collector succeeded.",
        );
        for (name, _, well) in &told {
            sink.sample(&[("collector", name)], f64::from(u8::from(*well)));
        }
    }
}

/// The machine as a target inside this process.
pub struct NodeTarget(Arc<NodeExporter>);

impl NodeTarget {
    /// A target that asks an exporter.
    pub fn new(exporter: NodeExporter) -> Self {
        Self(Arc::new(exporter))
    }
}

#[async_trait]
impl Gather for NodeTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let exporter = self.0.clone();
        super::off_reactor("node", move |sink| exporter.write(sink)).await
    }
}
