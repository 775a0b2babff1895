//! `/proc/stat`: processor time by mode, context switches, interrupts, forks, boot.

use super::files::{Error, field, text};
use super::{Kind, NodeExporter, Sink};

/// The kernel tells processor time in hundredths of a second.
const TICKS: f64 = 100.0;
const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];

pub(super) fn cpu(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("stat");
    let text = text(&path)?;
    let mut cpus: Vec<(&str, Vec<f64>)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(number) = words.next().and_then(|word| word.strip_prefix("cpu")) else {
            continue;
        };
        if number.is_empty() {
            continue;
        }
        let times: Result<Vec<f64>, Error> = words.map(|word| field(&path, Some(word))).collect();
        let times = times?;
        if times.len() < 4 {
            return Err(Error::malformed(
                &path,
                format!("line {line:?} is too short"),
            ));
        }
        cpus.push((number, times));
    }
    if cpus.is_empty() {
        return Err(Error::malformed(&path, "no processor"));
    }
    sink.family(
        "node_cpu_guest_seconds_total",
        Kind::Counter,
        "Seconds the CPUs spent in guests (VMs) for each mode.",
    );
    for (cpu, times) in &cpus {
        for (mode, at) in [("user", 8), ("nice", 9)] {
            let ticks = times.get(at).copied().unwrap_or(0.0);
            sink.sample(&[("cpu", cpu), ("mode", mode)], ticks / TICKS);
        }
    }
    sink.family(
        "node_cpu_seconds_total",
        Kind::Counter,
        "Seconds the CPUs spent in each mode.",
    );
    for (cpu, times) in &cpus {
        for (at, mode) in MODES.iter().enumerate() {
            let ticks = times.get(at).copied().unwrap_or(0.0);
            sink.sample(&[("cpu", cpu), ("mode", mode)], ticks / TICKS);
        }
    }
    Ok(())
}

const STAT: &[(&str, &str, Kind, &str)] = &[
    (
        "btime",
        "node_boot_time_seconds",
        Kind::Gauge,
        "Node boot time, in unixtime.",
    ),
    (
        "ctxt",
        "node_context_switches_total",
        Kind::Counter,
        "Total number of context switches.",
    ),
    (
        "processes",
        "node_forks_total",
        Kind::Counter,
        "Total number of forks.",
    ),
    (
        "intr",
        "node_intr_total",
        Kind::Counter,
        "Total number of interrupts serviced.",
    ),
    (
        "procs_blocked",
        "node_procs_blocked",
        Kind::Gauge,
        "Number of processes blocked waiting for I/O to complete.",
    ),
    (
        "procs_running",
        "node_procs_running",
        Kind::Gauge,
        "Number of processes in runnable state.",
    ),
];

pub(super) fn stat(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("stat");
    let text = text(&path)?;
    let mut values = Vec::with_capacity(STAT.len());
    for (key, ..) in STAT {
        let line = text.lines().find_map(|line| {
            let (first, rest) = line.split_once(' ')?;
            (first == *key).then_some(rest)
        });
        let line = line.ok_or_else(|| Error::malformed(&path, format!("no line {key}")))?;
        values.push(field(&path, line.split_ascii_whitespace().next())?);
    }
    for ((_, name, kind, help), value) in STAT.iter().zip(values) {
        sink.single(*name, *kind, *help, value);
    }
    Ok(())
}

/// How many processors `/proc/stat` names; 0 where it cannot be read.
pub(crate) fn cpu_count(roots: &super::Roots) -> usize {
    let text = text(&roots.proc.join("stat")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix("cpu"));
    lines
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        .count()
}
