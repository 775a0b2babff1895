//! What `/proc/net` counts of protocols and sockets.

use super::files::{Error, field, text};
use super::{Kind, NodeExporter, Sink};
use std::collections::BTreeMap;
use std::path::Path;

/// Which of the kernel's counters are shown: those the node exporter shows unasked.
const SHOWN: &[(&str, &[&str])] = &[
    ("Icmp", &["InErrors", "InMsgs", "OutMsgs"]),
    ("Icmp6", &["InErrors", "InMsgs", "OutMsgs"]),
    ("Ip", &["Forwarding"]),
    ("Ip6", &["InOctets", "OutOctets"]),
    ("IpExt", &["InOctets", "OutOctets"]),
    (
        "Tcp",
        &[
            "ActiveOpens",
            "InSegs",
            "OutSegs",
            "OutRsts",
            "PassiveOpens",
            "RetransSegs",
            "CurrEstab",
            "InErrs",
        ],
    ),
    (
        "TcpExt",
        &[
            "ListenOverflows",
            "ListenDrops",
            "SyncookiesFailed",
            "SyncookiesRecv",
            "SyncookiesSent",
            "TCPSynRetrans",
            "TCPTimeouts",
            "TCPOFOQueue",
            "TCPRcvQDrop",
        ],
    ),
    (
        "Udp",
        &[
            "InDatagrams",
            "OutDatagrams",
            "NoPorts",
            "InErrors",
            "RcvbufErrors",
            "SndbufErrors",
        ],
    ),
    (
        "Udp6",
        &[
            "InDatagrams",
            "OutDatagrams",
            "NoPorts",
            "InErrors",
            "RcvbufErrors",
            "SndbufErrors",
        ],
    ),
    ("UdpLite", &["InErrors"]),
    ("UdpLite6", &["InErrors"]),
];

fn shown(protocol: &str, name: &str) -> bool {
    SHOWN
        .iter()
        .any(|(own, names)| *own == protocol && names.contains(&name))
}

pub(super) fn netstat(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let net = node.config.roots.proc.join("net");
    let mut found: BTreeMap<(String, String), f64> = BTreeMap::new();
    for file in ["netstat", "snmp"] {
        pairs(&net.join(file), &mut found)?;
    }
    // Not there where version 6 of the protocol is switched off.
    match six(&net.join("snmp6"), &mut found) {
        Err(error) if !error.absent() => return Err(error),
        _ => {}
    }
    for ((protocol, name), value) in &found {
        sink.single(
            format!("node_netstat_{protocol}_{name}"),
            Kind::Unknown,
            format!("Statistic {protocol}{name}."),
            *value,
        );
    }
    Ok(())
}

// Two lines per protocol: names, then values.
fn pairs(path: &Path, found: &mut BTreeMap<(String, String), f64>) -> Result<(), Error> {
    let text = text(path)?;
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut names = names.split_ascii_whitespace();
        let mut values = values.split_ascii_whitespace();
        let protocol = names.next().unwrap_or_default();
        if values.next() != Some(protocol) {
            return Err(Error::malformed(path, format!("no values of {protocol}")));
        }
        let protocol = protocol.trim_end_matches(':');
        for name in names {
            let value = field(path, values.next())?;
            if shown(protocol, name) {
                found.insert((protocol.into(), name.into()), value);
            }
        }
    }
    Ok(())
}

fn six(path: &Path, found: &mut BTreeMap<(String, String), f64>) -> Result<(), Error> {
    for line in text(path)?.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((protocol, name)) = words.next().and_then(|word| {
            let at = word.find('6')? + 1;
            Some((&word[..at], &word[at..]))
        }) else {
            continue;
        };
        if shown(protocol, name) {
            found.insert((protocol.into(), name.into()), field(path, words.next())?);
        }
    }
    Ok(())
}

pub(super) fn sockstat(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let net = node.config.roots.proc.join("net");
    let page_bytes = rustix::param::page_size() as f64;
    for file in ["sockstat", "sockstat6"] {
        let path = net.join(file);
        let text = match text(&path) {
            Err(error) if error.absent() && file == "sockstat6" => continue,
            other => other?,
        };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(protocol) = words.next().and_then(|word| word.strip_suffix(':')) else {
                return Err(Error::malformed(
                    &path,
                    format!("line {line:?} has no colon"),
                ));
            };
            while let Some(name) = words.next() {
                let value = field(&path, words.next())?;
                let mut put = |name: &str, value| {
                    let help = if protocol == "sockets" {
                        "Number of IPv4 sockets in use.".to_string()
                    } else {
                        format!("Number of {protocol} sockets in state {name}.")
                    };
                    let family = format!("node_sockstat_{protocol}_{name}");
                    sink.single(family, Kind::Gauge, help, value);
                };
                put(name, value);
                if name == "mem" {
                    put("mem_bytes", value * page_bytes);
                }
            }
        }
    }
    Ok(())
}

pub(super) fn softnet(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("net/softnet_stat");
    let text = text(&path)?;
    let mut cpus = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let columns: Vec<u32> = line
            .split_ascii_whitespace()
            .map_while(|word| u32::from_str_radix(word, 16).ok())
            .collect();
        if columns.len() < 3 {
            return Err(Error::malformed(
                &path,
                format!("line {line:?} is too short"),
            ));
        }
        // Newer kernels name the processor in the thirteenth column.
        let cpu = columns.get(12).map_or(at, |cpu| *cpu as usize);
        cpus.push((cpu.to_string(), columns));
    }
    for (column, name, help) in [
        (0, "processed", "Number of processed packets"),
        (1, "dropped", "Number of dropped packets"),
        (
            2,
            "times_squeezed",
            "Number of times processing packets ran out of quota",
        ),
    ] {
        sink.family(format!("node_softnet_{name}_total"), Kind::Counter, help);
        for (cpu, columns) in &cpus {
            sink.sample(&[("cpu", cpu)], f64::from(columns[column]));
        }
    }
    Ok(())
}

pub(super) fn arp(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("net/arp");
    let text = text(&path)?;
    let mut devices: BTreeMap<&str, f64> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let device = line
            .split_ascii_whitespace()
            .nth(5)
            .ok_or_else(|| Error::malformed(&path, format!("line {line:?} is too short")))?;
        *devices.entry(device).or_default() += 1.0;
    }
    sink.family("node_arp_entries", Kind::Gauge, "ARP entries by device");
    for (device, entries) in devices {
        sink.sample(&[("device", device)], entries);
    }
    Ok(())
}

pub(super) fn udp_queues(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let net = node.config.roots.proc.join("net");
    let mut sums = Vec::new();
    for (file, ip) in [("udp", "v4"), ("udp6", "v6")] {
        let path = net.join(file);
        let text = match text(&path) {
            Err(error) if error.absent() => continue,
            other => other?,
        };
        let (mut sent, mut received) = (0u64, 0u64);
        for line in text.lines().skip(1) {
            let queues = line
                .split_ascii_whitespace()
                .nth(4)
                .and_then(|word| word.split_once(':'))
                .and_then(|(tx, rx)| {
                    let hex = |text| u64::from_str_radix(text, 16).ok();
                    Some((hex(tx)?, hex(rx)?))
                })
                .ok_or_else(|| Error::malformed(&path, format!("line {line:?} has no queues")))?;
            sent += queues.0;
            received += queues.1;
        }
        sums.push((ip, sent, received));
    }
    if sums.is_empty() {
        return Err(Error::malformed(&net, "neither udp nor udp6"));
    }
    sink.family(
        "node_udp_queues",
        Kind::Gauge,
        "Number of allocated memory in the kernel for UDP datagrams in bytes.",
    );
    for (ip, sent, received) in sums {
        sink.sample(&[("ip", ip), ("queue", "rx")], received as f64);
        sink.sample(&[("ip", ip), ("queue", "tx")], sent as f64);
    }
    Ok(())
}
