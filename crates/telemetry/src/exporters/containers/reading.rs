//! One look at everything that runs: the figures of each container, each pod and the machine.

use super::ContainerExporter;
use super::cgroup::Figures;
use super::usage::Room;
use super::volumes::Volume;
use crate::exporters::node::Roots;
use std::collections::BTreeMap;
use std::path::Path;
use towpath_kit::traits::{RunningClaim, RunningContainer, RunningPod};
use towpath_stdx::bounded;

/// Counters of one network device: bytes, packets, errors, dropped.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) received: [f64; 4],
    pub(super) sent: [f64; 4],
}

pub(super) struct ContainerReading {
    pub(super) container: RunningContainer,
    pub(super) figures: Figures,
    pub(super) descriptors: Option<f64>,
    pub(super) room: Option<Room>,
    pub(super) disk: Option<Disk>,
}

pub(super) struct PodReading {
    pub(super) pod: RunningPod,
    pub(super) figures: Option<Figures>,
    pub(super) links: Vec<Link>,
    pub(super) containers: Vec<ContainerReading>,
    pub(super) claims: Vec<(RunningClaim, Volume)>,
}

/// A file system.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Disk {
    pub(super) device: String,
    pub(super) size: f64,
    pub(super) free: f64,
    pub(super) avail: f64,
    pub(super) files: f64,
    pub(super) files_free: f64,
}

impl ContainerExporter {
    /// Reads everything. Blocks.
    pub(super) fn read(&self) -> Vec<PodReading> {
        let now = self.time.monotonic();
        let pods = self.stats.running();
        self.trees.keep(|dir| {
            let mut written = pods.iter().flat_map(|p| &p.containers);
            let mut claims = pods.iter().flat_map(|p| &p.claims);
            written.any(|c| c.written.as_deref() == Some(dir)) || claims.any(|c| c.dir == dir)
        });
        let readings = pods.into_iter().map(|mut pod| {
            let containers: Vec<_> = std::mem::take(&mut pod.containers)
                .into_iter()
                .filter_map(|container| {
                    let figures = self.groups.read(&container.cgroup)?;
                    let written = container.written.as_deref().filter(|dir| dir.is_dir());
                    Some(ContainerReading {
                        descriptors: descriptors(&self.roots, &figures.processes),
                        room: written.map(|dir| self.trees.room(dir, now)),
                        disk: written.and_then(|dir| disk(&self.roots, dir)),
                        figures,
                        container,
                    })
                })
                .collect();
            let anyone = containers.iter().flat_map(|c| &c.figures.processes).next();
            let links = match anyone {
                Some(pid) if pod.own_network => links(&self.roots, *pid),
                _ => Vec::new(),
            };
            let claims = pod
                .claims
                .iter()
                .filter_map(|claim| Some((claim.clone(), self.volume(claim, now)?)));
            PodReading {
                figures: self.groups.read(&pod.cgroup),
                links,
                claims: claims.collect(),
                containers,
                pod,
            }
        });
        readings.collect()
    }
}

// Open files of a few processes; a container with thousands is not counted to the end.
fn descriptors(roots: &Roots, processes: &[i32]) -> Option<f64> {
    const PROCESSES: usize = 64;
    let counts = processes.iter().take(PROCESSES).filter_map(|pid| {
        let dir = roots.proc.join(pid.to_string()).join("fd");
        Some(std::fs::read_dir(dir).ok()?.count() as f64)
    });
    let counts: Vec<f64> = counts.collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

// Devices of the network that a process is in.
fn links(roots: &Roots, pid: i32) -> Vec<Link> {
    const LINKS: usize = 64;
    let path = roots.proc.join(pid.to_string()).join("net/dev");
    let bytes = bounded::read_file(&path, 1 << 20).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().skip(2).take(LINKS).filter_map(|line| {
        let (name, rest) = line.rsplit_once(':')?;
        let n: Vec<f64> = rest
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let name = name.trim();
        (n.len() >= 16 && name != "lo").then(|| Link {
            name: name.to_string(),
            received: [n[0], n[1], n[2], n[3]],
            sent: [n[8], n[9], n[10], n[11]],
        })
    });
    lines.collect()
}

/// The file system a directory is on.
pub(super) fn disk(roots: &Roots, dir: &Path) -> Option<Disk> {
    use std::os::unix::fs::MetadataExt;
    let stat = rustix::fs::statvfs(dir).ok()?;
    let unit = stat.f_frsize as f64;
    let number = std::fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    Some(Disk {
        device: device(roots, &format!("{major}:{minor}")),
        size: stat.f_blocks as f64 * unit,
        free: stat.f_bfree as f64 * unit,
        avail: stat.f_bavail as f64 * unit,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

/// Path of a block device by its numbers; the numbers where it has none.
pub(super) fn device(roots: &Roots, numbers: &str) -> String {
    let path = roots.sys.join("dev/block").join(numbers).join("uevent");
    let text = bounded::read_file(&path, 64 << 10)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(|| numbers.to_string(), |name| format!("/dev/{name}"))
}

/// Names of the devices that a look at containers met.
pub(super) fn devices(roots: &Roots, pods: &[PodReading]) -> BTreeMap<String, String> {
    let containers = pods.iter().flat_map(|pod| &pod.containers);
    let numbers = containers.flat_map(|c| c.figures.io.keys());
    let mut names = BTreeMap::new();
    for numbers in numbers {
        names
            .entry(numbers.clone())
            .or_insert_with(|| device(roots, numbers));
    }
    names
}
