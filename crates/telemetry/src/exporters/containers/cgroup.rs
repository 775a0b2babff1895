//! Figures of one control group, the same whichever version of control groups the machine has.
//!
//! Version 1 has a tree per controller, version 2 one tree; hybrid machines have both, with the
//! controllers in the trees of version 1. What one version does not tell is `None` and its metric
//! is not shown: no figure is invented.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use towpath_stdx::bounded;

const FILE_BYTES: u64 = 1 << 20;
/// Processor ticks of version 1's split into user and system.
const TICKS: f64 = 100.0;

/// Where control groups are, and of which version.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    root: PathBuf,
    unified: bool,
}

/// Transfers of one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Io {
    pub(super) read_bytes: f64,
    pub(super) written_bytes: f64,
    pub(super) reads: f64,
    pub(super) writes: f64,
}

/// What the kernel tells of a group, with all below it. Seconds and bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) cpu: Option<f64>,
    pub(super) user: Option<f64>,
    pub(super) system: Option<f64>,
    pub(super) periods: Option<f64>,
    pub(super) throttled_periods: Option<f64>,
    pub(super) throttled: Option<f64>,
    /// Microseconds; `None` without a limit.
    pub(super) quota: Option<f64>,
    pub(super) period: Option<f64>,
    pub(super) shares: Option<f64>,
    pub(super) memory: Option<f64>,
    pub(super) memory_max: Option<f64>,
    pub(super) memory_limit: Option<f64>,
    pub(super) failures: Option<f64>,
    pub(super) rss: Option<f64>,
    pub(super) cache: Option<f64>,
    pub(super) swap: Option<f64>,
    pub(super) mapped: Option<f64>,
    pub(super) inactive_file: Option<f64>,
    pub(super) faults: Option<f64>,
    pub(super) major_faults: Option<f64>,
    pub(super) out_of_memory: Option<f64>,
    pub(super) threads: Option<f64>,
    pub(super) threads_max: Option<f64>,
    /// By `major:minor`.
    pub(super) io: BTreeMap<String, Io>,
    /// First-generation processes, and those of groups below.
    pub(super) processes: Vec<i32>,
}

impl Figures {
    /// Memory that cannot be given back easily.
    pub(super) fn working_set(&self) -> Option<f64> {
        let inactive = self.inactive_file.unwrap_or(0.0);
        self.memory.map(|used| (used - inactive).max(0.0))
    }
}

fn text(path: &Path) -> Option<String> {
    let bytes = bounded::read_file(path, FILE_BYTES).ok()?;
    String::from_utf8(bytes).ok()
}

fn number(path: &Path) -> Option<f64> {
    let text = text(path)?;
    let text = text.trim();
    // A limit that is none.
    if text == "max" {
        return None;
    }
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

fn fields(path: &Path) -> BTreeMap<String, f64> {
    let text = text(path).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        let value: f64 = value.trim().parse().ok()?;
        Some((name.to_string(), value))
    });
    pairs.collect()
}

impl Groups {
    /// Finds out what there is below a mount point, most often `/sys/fs/cgroup`.
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            unified: root.join("cgroup.controllers").exists(),
        }
    }

    fn dir(&self, controller: &str, path: &str) -> PathBuf {
        let root = if self.unified {
            self.root.clone()
        } else {
            self.root.join(controller)
        };
        root.join(path.trim_start_matches('/'))
    }

    /// Reads a group; `None` where there is none.
    pub(super) fn read(&self, path: &str) -> Option<Figures> {
        let figures = if self.unified {
            self.two(path)
        } else {
            self.one(path)
        };
        (figures.cpu.is_some() || figures.memory.is_some()).then_some(figures)
    }

    fn two(&self, path: &str) -> Figures {
        let dir = self.dir("", path);
        let cpu = fields(&dir.join("cpu.stat"));
        let micros = |name: &str| cpu.get(name).map(|us| us / 1e6);
        let limit = text(&dir.join("cpu.max")).unwrap_or_default();
        let mut limit = limit.split_ascii_whitespace();
        let memory = fields(&dir.join("memory.stat"));
        let of = |name: &str| memory.get(name).copied();
        let events = fields(&dir.join("memory.events"));
        let mut figures = Figures {
            cpu: micros("usage_usec"),
            user: micros("user_usec"),
            system: micros("system_usec"),
            periods: cpu.get("nr_periods").copied(),
            throttled_periods: cpu.get("nr_throttled").copied(),
            throttled: micros("throttled_usec"),
            quota: limit.next().and_then(|word| word.parse().ok()),
            period: limit.next().and_then(|word| word.parse().ok()),
            // The inverse of what runtimes make of shares.
            shares: number(&dir.join("cpu.weight"))
                .map(|weight| ((weight - 1.0) * 262_142.0 / 9_999.0 + 2.0).floor()),
            memory: number(&dir.join("memory.current")),
            memory_max: number(&dir.join("memory.peak")),
            memory_limit: number(&dir.join("memory.max")),
            failures: events.get("max").copied(),
            rss: of("anon"),
            cache: of("file"),
            swap: number(&dir.join("memory.swap.current")),
            mapped: of("file_mapped"),
            inactive_file: of("inactive_file"),
            faults: of("pgfault"),
            major_faults: of("pgmajfault"),
            out_of_memory: events.get("oom_kill").copied(),
            threads: number(&dir.join("pids.current")),
            threads_max: number(&dir.join("pids.max")),
            ..Figures::default()
        };
        for line in text(&dir.join("io.stat")).unwrap_or_default().lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(device) = words.next() else { continue };
            let io = figures.io.entry(device.to_string()).or_default();
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                let Ok(value) = value.parse::<f64>() else {
                    continue;
                };
                match name {
                    "rbytes" => io.read_bytes = value,
                    "wbytes" => io.written_bytes = value,
                    "rios" => io.reads = value,
                    "wios" => io.writes = value,
                    _ => {}
                }
            }
        }
        collect(&dir, &mut figures.processes, 4);
        figures
    }

    fn one(&self, path: &str) -> Figures {
        let (cpu, memory) = (self.dir("cpu", path), self.dir("memory", path));
        let (account, pids) = (self.dir("cpuacct", path), self.dir("pids", path));
        let split = fields(&account.join("cpuacct.stat"));
        let shares = fields(&cpu.join("cpu.stat"));
        let stat = fields(&memory.join("memory.stat"));
        let of = |name: &str| stat.get(name).copied();
        let mut figures = Figures {
            cpu: number(&account.join("cpuacct.usage")).map(|ns| ns / 1e9),
            user: split.get("user").map(|ticks| ticks / TICKS),
            system: split.get("system").map(|ticks| ticks / TICKS),
            periods: shares.get("nr_periods").copied(),
            throttled_periods: shares.get("nr_throttled").copied(),
            throttled: shares.get("throttled_time").map(|ns| ns / 1e9),
            quota: number(&cpu.join("cpu.cfs_quota_us")).filter(|quota| *quota > 0.0),
            period: number(&cpu.join("cpu.cfs_period_us")),
            shares: number(&cpu.join("cpu.shares")),
            memory: number(&memory.join("memory.usage_in_bytes")),
            memory_max: number(&memory.join("memory.max_usage_in_bytes")),
            // Without a limit the file holds the largest number of pages.
            memory_limit: number(&memory.join("memory.limit_in_bytes"))
                .filter(|limit| *limit < 9e18),
            failures: number(&memory.join("memory.failcnt")),
            rss: of("total_rss"),
            cache: of("total_cache"),
            swap: of("total_swap"),
            mapped: of("total_mapped_file"),
            inactive_file: of("total_inactive_file"),
            faults: of("total_pgfault"),
            major_faults: of("total_pgmajfault"),
            out_of_memory: fields(&memory.join("memory.oom_control"))
                .get("oom_kill")
                .copied(),
            threads: number(&pids.join("pids.current")),
            threads_max: number(&pids.join("pids.max")),
            ..Figures::default()
        };
        let block = self.dir("blkio", path);
        for (file, bytes) in [
            ("blkio.throttle.io_service_bytes_recursive", true),
            ("blkio.throttle.io_serviced_recursive", false),
        ] {
            for line in text(&block.join(file)).unwrap_or_default().lines() {
                let mut words = line.split_ascii_whitespace();
                let (Some(device), Some(way), Some(value)) =
                    (words.next(), words.next(), words.next())
                else {
                    continue;
                };
                let Ok(value) = value.parse::<f64>() else {
                    continue;
                };
                let io = figures.io.entry(device.to_string()).or_default();
                match (way, bytes) {
                    ("Read", true) => io.read_bytes = value,
                    ("Write", true) => io.written_bytes = value,
                    ("Read", false) => io.reads = value,
                    ("Write", false) => io.writes = value,
                    _ => {}
                }
            }
        }
        collect(&pids, &mut figures.processes, 4);
        figures
    }
}

// Containers may make groups of their own, though not deep ones.
fn collect(dir: &Path, found: &mut Vec<i32>, depth: usize) {
    let procs = text(&dir.join("cgroup.procs")).unwrap_or_default();
    found.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
    if depth == 0 {
        return;
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
        collect(&entry.path(), found, depth - 1);
    }
}
