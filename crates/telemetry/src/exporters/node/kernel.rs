//! Small figures of the kernel: load, virtual memory, pressure, open files, connection tracking,
//! entropy, names, time.

use super::files::{Error, field, line, number, text};
use super::{Kind, NodeExporter, Sink};

pub(super) fn loadavg(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("loadavg");
    let text = line(&path)?;
    let mut words = text.split_ascii_whitespace();
    let mut next = || field(&path, words.next());
    let (one, five, fifteen) = (next()?, next()?, next()?);
    sink.single("node_load1", Kind::Gauge, "1m load average.", one);
    sink.single("node_load5", Kind::Gauge, "5m load average.", five);
    sink.single("node_load15", Kind::Gauge, "15m load average.", fifteen);
    Ok(())
}

pub(super) fn vmstat(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("vmstat");
    for line in text(&path)?.lines() {
        let Some((name, value)) = line.split_once(' ') else {
            return Err(Error::malformed(
                &path,
                format!("line {line:?} is too short"),
            ));
        };
        let shown = name == "oom_kill"
            || ["pgpg", "pswp"].iter().any(|start| name.starts_with(start))
            || matches!(name, "pgfault" | "pgmajfault");
        if shown {
            sink.single(
                format!("node_vmstat_{name}"),
                Kind::Unknown,
                format!("/proc/vmstat information field {name}."),
                field(&path, Some(value.trim()))?,
            );
        }
    }
    Ok(())
}

const PRESSURE: &[(&str, &str, &str, &str)] = &[
    (
        "cpu",
        "some",
        "cpu_waiting",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "io",
        "some",
        "io_waiting",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "io",
        "full",
        "io_stalled",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "memory",
        "some",
        "memory_waiting",
        "Total time in seconds that processes have waited for memory",
    ),
    (
        "memory",
        "full",
        "memory_stalled",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "irq",
        "full",
        "irq_stalled",
        "Total time in seconds no process could make progress due to IRQ congestion",
    ),
];

pub(super) fn pressure(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let dir = node.config.roots.proc.join("pressure");
    let mut told = false;
    for (file, whose, name, help) in PRESSURE {
        let path = dir.join(file);
        let text = match text(&path) {
            // Kernels differ in what they watch.
            Err(error) if error.absent() => continue,
            other => other?,
        };
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(whose));
        let Some(line) = line else { continue };
        let total = line.rsplit_once("total=").map(|(_, total)| total.trim());
        let micros = field(&path, total)?;
        let name = format!("node_pressure_{name}_seconds_total");
        sink.single(name, Kind::Counter, *help, micros / 1e6);
        told = true;
    }
    if told {
        Ok(())
    } else {
        Err(Error::malformed(&dir, "the kernel tells no pressure"))
    }
}

pub(super) fn filefd(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("sys/fs/file-nr");
    let text = line(&path)?;
    let mut words = text.split_ascii_whitespace();
    let allocated = field(&path, words.next())?;
    let maximum = field(&path, words.nth(1))?;
    sink.single(
        "node_filefd_allocated",
        Kind::Gauge,
        "File descriptor statistics: allocated.",
        allocated,
    );
    sink.single(
        "node_filefd_maximum",
        Kind::Gauge,
        "File descriptor statistics: maximum.",
        maximum,
    );
    Ok(())
}

/// Column of `/proc/net/stat/nf_conntrack` by its name there; name, help.
const CONNTRACK: &[(&str, &str)] = &[
    (
        "drop",
        "Number of packets dropped due to conntrack failure.",
    ),
    (
        "early_drop",
        "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
    ),
    ("found", "Number of searched entries which were successful."),
    (
        "ignore",
        "Number of packets seen which are already connected to a conntrack entry.",
    ),
    ("insert", "Number of entries inserted into the list."),
    (
        "insert_failed",
        "Number of entries for which list insertion was attempted but failed.",
    ),
    (
        "invalid",
        "Number of packets seen which can not be tracked.",
    ),
    (
        "search_restart",
        "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
    ),
];

pub(super) fn conntrack(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let proc = &node.config.roots.proc;
    let dir = proc.join("sys/net/netfilter");
    let entries = number(&dir.join("nf_conntrack_count"))?;
    let limit = number(&dir.join("nf_conntrack_max"))?;
    sink.single(
        "node_nf_conntrack_entries",
        Kind::Gauge,
        "Number of currently allocated flow entries for connection tracking.",
        entries,
    );
    sink.single(
        "node_nf_conntrack_entries_limit",
        Kind::Gauge,
        "Maximum size of connection tracking table.",
        limit,
    );
    let path = proc.join("net/stat/nf_conntrack");
    let text = text(&path)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines
        .next()
        .unwrap_or("")
        .split_ascii_whitespace()
        .collect();
    let cpus: Vec<Vec<&str>> = lines
        .map(|line| line.split_ascii_whitespace().collect())
        .collect();
    for (name, help) in CONNTRACK {
        let Some(column) = header.iter().position(|own| own == name) else {
            continue;
        };
        let mut sum = 0.0;
        for cpu in &cpus {
            let value = cpu
                .get(column)
                .and_then(|word| u64::from_str_radix(word, 16).ok());
            sum += value.ok_or_else(|| Error::malformed(&path, format!("no {name}")))? as f64;
        }
        let name = format!("node_nf_conntrack_stat_{name}");
        sink.single(name, Kind::Gauge, *help, sum);
    }
    Ok(())
}

pub(super) fn entropy(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let dir = node.config.roots.proc.join("sys/kernel/random");
    let available = number(&dir.join("entropy_avail"))?;
    let pool = number(&dir.join("poolsize"))?;
    sink.single(
        "node_entropy_available_bits",
        Kind::Gauge,
        "Bits of available entropy.",
        available,
    );
    sink.single(
        "node_entropy_pool_size_bits",
        Kind::Gauge,
        "Bits of entropy pool.",
        pool,
    );
    Ok(())
}

pub(super) fn uname(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let dir = node.config.roots.proc.join("sys/kernel");
    let word = |name: &str| line(&dir.join(name));
    let (system, release, version) = (word("ostype")?, word("osrelease")?, word("version")?);
    let (host, domain) = (word("hostname")?, word("domainname")?);
    // The machine has a file of its own since Linux 6.1.
    let machine = word("arch").unwrap_or_else(|_| std::env::consts::ARCH.into());
    sink.family(
        "node_uname_info",
        Kind::Gauge,
        "Labeled system information as provided by the uname system call.",
    );
    let labels = [
        ("domainname", &*domain),
        ("machine", &machine),
        ("nodename", &host),
        ("release", &release),
        ("sysname", &system),
        ("version", &version),
    ];
    sink.sample(&labels, 1.0);
    Ok(())
}

/// Label, and the key of the release file.
const OS: [(&str, &str); 11] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
];

pub(super) fn os(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let root = &node.config.roots.root;
    let text = match text(&root.join("etc/os-release")) {
        Err(error) if error.absent() => text(&root.join("usr/lib/os-release"))?,
        other => other?,
    };
    let value = |key: &str| {
        let line = text.lines().find_map(|line| {
            let (own, value) = line.split_once('=')?;
            (own.trim() == key).then_some(value.trim())
        });
        line.unwrap_or("").trim_matches(['"', '\''])
    };
    let mut labels: Vec<(&str, &str)> =
        OS.iter().map(|(label, key)| (*label, value(key))).collect();
    labels.push(("version_id", value("VERSION_ID")));
    sink.family(
        "node_os_info",
        Kind::Gauge,
        "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, pretty_name, variant, variant_id, version, version_codename, version_id.",
    );
    sink.sample(&labels, 1.0);
    // Major and minor only: 24.04.1 is no number.
    let mut parts = value("VERSION_ID").splitn(3, '.');
    let major = parts.next().unwrap_or("");
    let number = match parts.next() {
        Some(minor) => format!("{major}.{minor}").parse::<f64>(),
        None => major.parse::<f64>(),
    };
    if let Ok(number) = number {
        sink.family(
            "node_os_version",
            Kind::Gauge,
            "Metric containing the major.minor part of the OS version.",
        );
        let labels = [
            ("id", value("ID")),
            ("id_like", value("ID_LIKE")),
            ("name", value("NAME")),
        ];
        sink.sample(&labels, number);
    }
    Ok(())
}

pub(super) fn time(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let now = node.config.time.since_epoch();
    sink.single(
        "node_time_seconds",
        Kind::Gauge,
        "System time in seconds since epoch (1970).",
        now.as_secs_f64(),
    );
    let sources = node.config.roots.sys.join("devices/system/clocksource");
    let devices: Vec<String> = super::files::names(&sources)
        .into_iter()
        .filter_map(|name| name.strip_prefix("clocksource").map(str::to_string))
        .collect();
    for (file, name, help) in [
        (
            "available_clocksource",
            "available",
            "Available clocksources read from '/sys/devices/system/clocksource'.",
        ),
        (
            "current_clocksource",
            "current",
            "Current clocksource read from '/sys/devices/system/clocksource'.",
        ),
    ] {
        sink.family(
            format!("node_time_clocksource_{name}_info"),
            Kind::Gauge,
            help,
        );
        for device in &devices {
            let words = line(&sources.join(format!("clocksource{device}")).join(file))?;
            for word in words.split_ascii_whitespace() {
                sink.sample(&[("clocksource", word), ("device", device)], 1.0);
            }
        }
    }
    Ok(())
}
