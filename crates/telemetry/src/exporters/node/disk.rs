//! `/proc/diskstats`: transfers of block devices, without partitions and without devices that
//! are only memory or files.

use super::files::{Error, field, line, text};
use super::{Kind, NodeExporter, Sink};

const SECTOR_BYTES: f64 = 512.0;
const SECONDS: f64 = 0.001;

/// Column, name, kind, help, unit.
const FAMILIES: &[(usize, &str, Kind, &str, f64)] = &[
    (
        0,
        "reads_completed_total",
        Kind::Counter,
        "The total number of reads completed successfully.",
        1.0,
    ),
    (
        1,
        "reads_merged_total",
        Kind::Counter,
        "The total number of reads merged.",
        1.0,
    ),
    (
        2,
        "read_bytes_total",
        Kind::Counter,
        "The total number of bytes read successfully.",
        SECTOR_BYTES,
    ),
    (
        3,
        "read_time_seconds_total",
        Kind::Counter,
        "The total number of seconds spent by all reads.",
        SECONDS,
    ),
    (
        4,
        "writes_completed_total",
        Kind::Counter,
        "The total number of writes completed successfully.",
        1.0,
    ),
    (
        5,
        "writes_merged_total",
        Kind::Counter,
        "The number of writes merged.",
        1.0,
    ),
    (
        6,
        "written_bytes_total",
        Kind::Counter,
        "The total number of bytes written successfully.",
        SECTOR_BYTES,
    ),
    (
        7,
        "write_time_seconds_total",
        Kind::Counter,
        "This is the total number of seconds spent by all writes.",
        SECONDS,
    ),
    (
        8,
        "io_now",
        Kind::Gauge,
        "The number of I/Os currently in progress.",
        1.0,
    ),
    (
        9,
        "io_time_seconds_total",
        Kind::Counter,
        "Total seconds spent doing I/Os.",
        SECONDS,
    ),
    (
        10,
        "io_time_weighted_seconds_total",
        Kind::Counter,
        "The weighted # of seconds spent doing I/Os.",
        SECONDS,
    ),
    (
        11,
        "discards_completed_total",
        Kind::Counter,
        "The total number of discards completed successfully.",
        1.0,
    ),
    (
        12,
        "discards_merged_total",
        Kind::Counter,
        "The total number of discards merged.",
        1.0,
    ),
    (
        13,
        "discarded_sectors_total",
        Kind::Counter,
        "The total number of sectors discarded successfully.",
        1.0,
    ),
    (
        14,
        "discard_time_seconds_total",
        Kind::Counter,
        "This is the total number of seconds spent by all discards.",
        SECONDS,
    ),
    (
        15,
        "flush_requests_total",
        Kind::Counter,
        "The total number of flush requests completed successfully",
        1.0,
    ),
    (
        16,
        "flush_requests_time_seconds_total",
        Kind::Counter,
        "This is the total number of seconds spent by all flush requests.",
        SECONDS,
    ),
];

struct Disk<'a> {
    major: &'a str,
    minor: &'a str,
    name: &'a str,
    columns: Vec<f64>,
}

// Partitions and what is no device: upstream's pattern
// ^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$.
fn hidden(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    if matches!(stem, "ram" | "loop" | "fd") {
        return true;
    }
    let letter = stem.chars().last().is_some_and(|c| c.is_ascii_lowercase());
    let drive = stem.get(..stem.len().saturating_sub(1)).unwrap_or("");
    if letter && matches!(drive, "hd" | "sd" | "vd" | "xvd") {
        return true;
    }
    stem.starts_with("nvme") && stem.ends_with('p')
}

pub(super) fn collect(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("diskstats");
    let text = text(&path)?;
    let mut disks = Vec::new();
    for text in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = text.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(name)) = (words.next(), words.next(), words.next())
        else {
            return Err(Error::malformed(
                &path,
                format!("line {text:?} is too short"),
            ));
        };
        if hidden(name) {
            continue;
        }
        let columns: Result<Vec<f64>, Error> = words.map(|word| field(&path, Some(word))).collect();
        disks.push(Disk {
            major,
            minor,
            name,
            columns: columns?,
        });
    }
    sink.family(
        "node_disk_info",
        Kind::Gauge,
        "Info of /sys/block/<block_device>.",
    );
    for disk in &disks {
        let block = node.config.roots.sys.join("block").join(disk.name);
        let about = |name: &str| line(&block.join(name)).unwrap_or_default();
        let labels = [
            ("device", disk.name),
            ("major", disk.major),
            ("minor", disk.minor),
            ("model", &about("device/model")),
            ("path", ""),
            ("revision", &about("device/rev")),
            ("serial", &about("device/serial")),
            ("wwn", &about("device/wwid")),
        ];
        sink.sample(&labels, 1.0);
    }
    for (column, name, kind, help, unit) in FAMILIES {
        sink.family(format!("node_disk_{name}"), *kind, *help);
        for disk in &disks {
            if let Some(value) = disk.columns.get(*column) {
                // Dividing rounds better than multiplying by a thousandth.
                let scaled = if *unit < 1.0 {
                    value / 1000.0
                } else {
                    value * unit
                };
                sink.sample(&[("device", disk.name)], scaled);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::hidden;

    #[test]
    fn partitions_and_memory_are_no_disks() {
        for name in [
            "sda1",
            "vdb12",
            "xvda1",
            "loop0",
            "ram15",
            "nvme0n1p2",
            "fd0",
        ] {
            assert!(hidden(name), "{name}");
        }
        for name in [
            "sda",
            "vda",
            "nvme0n1",
            "dm-0",
            "md127",
            "zram0",
            "mmcblk0p1",
            "sr0",
        ] {
            assert!(!hidden(name), "{name}");
        }
    }
}
