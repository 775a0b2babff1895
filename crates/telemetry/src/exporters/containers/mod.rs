//! Containers, as kubelets show them: `/metrics/cadvisor`, `/metrics/resource`, `/stats/summary`
//! and the kubelet's own figures of pods and volumes.
//!
//! Who runs containers says which there are ([`ContainerStats`]); the figures are the kernel's,
//! read when somebody asks. Every number comes from one reading of one group, so that figures of
//! a container fit each other. Reading blocks for a moment: see [`ContainerTarget`].

mod cadvisor;
mod cgroup;
mod kubelet;
mod pages;
mod reading;
mod resource;
mod summary;
mod usage;
mod volumes;

pub use pages::KubeletPages;

use super::node::Roots;
use super::sink::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use async_trait::async_trait;
use cgroup::{Figures, Groups};
use std::sync::Arc;
use towpath_kit::traits::ContainerStats;
use towpath_stdx::{Clock, bounded};

/// Shows containers.
pub struct ContainerExporter {
    stats: Arc<dyn ContainerStats>,
    roots: Roots,
    groups: Groups,
    trees: usage::Trees,
    time: Arc<dyn Clock>,
}

impl ContainerExporter {
    /// An exporter of what `stats` says runs, with the kernel's trees at `roots`.
    pub fn new(stats: Arc<dyn ContainerStats>, roots: Roots, time: Arc<dyn Clock>) -> Self {
        Self {
            groups: Groups::at(&roots.sys.join("fs/cgroup")),
            stats,
            roots,
            trees: usage::Trees::default(),
            time,
        }
    }

    // The machine as a group: processors from the kernel's own count, memory from its own page,
    // since a root group tells neither on every version.
    fn machine(&self) -> Option<Figures> {
        let text = |name: &str| {
            let bytes = bounded::read_file(&self.roots.proc.join(name), 8 << 20).ok()?;
            String::from_utf8(bytes).ok()
        };
        let stat = text("stat")?;
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<f64> = line
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0) / 100.0;
        // user nice system idle iowait irq softirq steal
        let (user, system) = (at(0) + at(1), at(2) + at(5) + at(6));
        let memory = text("meminfo").unwrap_or_default();
        let bytes = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
            let number = line.trim().trim_end_matches("kB").trim();
            number.parse::<f64>().ok().map(|kib| kib * 1024.0)
        };
        let used = bytes("MemTotal:")
            .zip(bytes("MemFree:"))
            .map(|(all, free)| all - free);
        let limit = bytes("MemTotal:");
        let swap = bytes("SwapTotal:")
            .zip(bytes("SwapFree:"))
            .map(|(all, free)| all - free);
        Some(Figures {
            cpu: Some(user + system),
            user: Some(user),
            system: Some(system),
            memory: used,
            memory_limit: limit,
            rss: bytes("AnonPages:"),
            cache: bytes("Cached:"),
            mapped: bytes("Mapped:"),
            inactive_file: bytes("Inactive(file):"),
            swap,
            ..Figures::default()
        })
    }

    fn size(&self, sink: &mut Sink) {
        let cpus = super::node::cpu_count(&self.roots);
        sink.family(
            "machine_cpu_cores",
            Kind::Gauge,
            "Number of logical CPU cores.",
        );
        if cpus > 0 {
            sink.sample(&[], cpus as f64);
        }
        sink.family(
            "machine_memory_bytes",
            Kind::Gauge,
            "Amount of memory installed on the machine.",
        );
        if let Some(bytes) = self.machine().and_then(|machine| machine.memory_limit) {
            sink.sample(&[], bytes);
        }
    }
}

/// Which page of a kubelet a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/metrics/cadvisor`.
    Cadvisor,
    /// `/metrics/resource`.
    Resource,
    /// `/metrics`: pods, containers and volumes.
    Kubelet,
}

/// Containers as a target inside this process.
pub struct ContainerTarget {
    exporter: Arc<ContainerExporter>,
    page: Page,
}

impl ContainerTarget {
    /// A target that asks an exporter for one page.
    pub fn new(exporter: Arc<ContainerExporter>, page: Page) -> Self {
        Self { exporter, page }
    }
}

#[async_trait]
impl Gather for ContainerTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        families(&self.exporter, self.page).await
    }
}

/// One page, read on a thread that may block.
async fn families(
    exporter: &Arc<ContainerExporter>,
    page: Page,
) -> Result<Vec<Family>, GatherError> {
    let exporter = exporter.clone();
    super::off_reactor("containers", move |sink| match page {
        Page::Cadvisor => exporter.write(sink),
        Page::Resource => exporter.write_resource(sink),
        Page::Kubelet => exporter.write_kubelet(sink),
    })
    .await
}
