//! The process, under the names of Prometheus' client libraries.

use super::super::Sink;
use crate::family::Kind::{Counter, Gauge};
use std::path::Path;
use towpath_stdx::bounded;

fn text(name: &str) -> Option<String> {
    let path = Path::new("/proc/self").join(name);
    String::from_utf8(bounded::read_file(&path, 1 << 20).ok()?).ok()
}

pub(super) fn write(sink: &mut Sink) {
    if let Some(stat) = text("stat") {
        stat_line(&stat, sink);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        sink.single(
            "process_open_fds",
            Gauge,
            "Number of open file descriptors.",
            open.count() as f64,
        );
    }
    let limits = text("limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let most = files.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    if let Some(most) = most {
        sink.single(
            "process_max_fds",
            Gauge,
            "Maximum number of open file descriptors.",
            most,
        );
    }
}

// Fields are counted from behind the name, which may hold anything.
fn stat_line(stat: &str, sink: &mut Sink) {
    let Some(end) = stat.rfind(')') else { return };
    let fields: Vec<f64> = stat[end + 1..]
        .split_ascii_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap_or(0.0))
        .collect();
    // Field 4 of the manual is the first here.
    let at = |number: usize| fields.get(number - 4).copied().unwrap_or(0.0);
    let page = rustix::param::page_size() as f64;
    sink.single(
        "process_cpu_seconds_total",
        Counter,
        "Total user and system CPU time spent in seconds.",
        (at(14) + at(15)) / 100.0,
    );
    sink.single("process_threads", Gauge, "Number of OS threads.", at(20));
    sink.single(
        "process_virtual_memory_bytes",
        Gauge,
        "Virtual memory size in bytes.",
        at(23),
    );
    sink.single(
        "process_resident_memory_bytes",
        Gauge,
        "Resident memory size in bytes.",
        at(24) * page,
    );
    let boot = std::fs::read_to_string("/proc/stat").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse::<f64>().ok()
    });
    if let Some(boot) = boot {
        sink.single(
            "process_start_time_seconds",
            Gauge,
            "Start time of the process since unix epoch in seconds.",
            boot + at(22) / 100.0,
        );
    }
}
