//! Network devices: traffic of `/proc/net/dev`, properties of `/sys/class/net`.

use super::files::{Error, field, line, names, number, text};
use super::{Kind, NodeExporter, Sink};

/// Columns of `/proc/net/dev` under the names the node exporter gives them.
const COLUMNS: [(&str, &str); 16] = [
    ("receive", "bytes"),
    ("receive", "packets"),
    ("receive", "errs"),
    ("receive", "drop"),
    ("receive", "fifo"),
    ("receive", "frame"),
    ("receive", "compressed"),
    ("receive", "multicast"),
    ("transmit", "bytes"),
    ("transmit", "packets"),
    ("transmit", "errs"),
    ("transmit", "drop"),
    ("transmit", "fifo"),
    ("transmit", "colls"),
    ("transmit", "carrier"),
    ("transmit", "compressed"),
];

fn hidden(node: &NodeExporter, device: &str) -> bool {
    node.config
        .hidden_devices
        .iter()
        .any(|start| device.starts_with(start.as_str()))
}

pub(super) fn dev(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("net/dev");
    let text = text(&path)?;
    let mut devices: Vec<(&str, Vec<f64>)> = Vec::new();
    for line in text.lines().skip(2) {
        let (device, rest) = line
            .rsplit_once(':')
            .ok_or_else(|| Error::malformed(&path, format!("line {line:?} has no colon")))?;
        let device = device.trim();
        if hidden(node, device) {
            continue;
        }
        let mut words = rest.split_ascii_whitespace();
        let figures: Result<Vec<f64>, Error> =
            COLUMNS.iter().map(|_| field(&path, words.next())).collect();
        devices.push((device, figures?));
    }
    for (column, (way, what)) in COLUMNS.iter().enumerate() {
        sink.family(
            format!("node_network_{way}_{what}_total"),
            Kind::Counter,
            format!("Network device statistic {way}_{what}."),
        );
        for (device, figures) in &devices {
            sink.sample(&[("device", device)], figures[column]);
        }
    }
    // Not among the columns, but beside them.
    sink.family(
        "node_network_receive_nohandler_total",
        Kind::Counter,
        "Network device statistic receive_nohandler.",
    );
    let class = node.config.roots.sys.join("class/net");
    for (device, _) in &devices {
        if let Ok(value) = number(&class.join(device).join("statistics/rx_nohandler")) {
            sink.sample(&[("device", device)], value);
        }
    }
    Ok(())
}

/// File below the device's directory, name, kind.
const PROPERTIES: &[(&str, &str, Kind)] = &[
    ("addr_assign_type", "address_assign_type", Kind::Gauge),
    ("carrier", "carrier", Kind::Gauge),
    ("carrier_changes", "carrier_changes_total", Kind::Counter),
    (
        "carrier_down_count",
        "carrier_down_changes_total",
        Kind::Counter,
    ),
    (
        "carrier_up_count",
        "carrier_up_changes_total",
        Kind::Counter,
    ),
    ("dev_id", "device_id", Kind::Gauge),
    ("dormant", "dormant", Kind::Gauge),
    ("flags", "flags", Kind::Gauge),
    ("ifindex", "iface_id", Kind::Gauge),
    ("iflink", "iface_link", Kind::Gauge),
    ("link_mode", "iface_link_mode", Kind::Gauge),
    ("mtu", "mtu_bytes", Kind::Gauge),
    ("name_assign_type", "name_assign_type", Kind::Gauge),
    ("netdev_group", "net_dev_group", Kind::Gauge),
    ("type", "protocol_type", Kind::Gauge),
    ("speed", "speed_bytes", Kind::Gauge),
    ("tx_queue_len", "transmit_queue_length", Kind::Gauge),
];

pub(super) fn class(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let class = node.config.roots.sys.join("class/net");
    // Bonds have a file among the devices.
    let devices: Vec<String> = names(&class)
        .into_iter()
        .filter(|name| !hidden(node, name) && class.join(name).is_dir())
        .collect();
    if devices.is_empty() {
        return Err(Error::malformed(&class, "no device"));
    }
    let word = |device: &str, name: &str| line(&class.join(device).join(name)).unwrap_or_default();
    sink.family(
        "node_network_info",
        Kind::Gauge,
        "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
    );
    for device in &devices {
        let labels = [
            ("address", &*word(device, "address")),
            ("broadcast", &word(device, "broadcast")),
            ("device", device),
            ("duplex", &word(device, "duplex")),
            ("ifalias", &word(device, "ifalias")),
            ("operstate", &word(device, "operstate")),
        ];
        sink.sample(&labels, 1.0);
    }
    sink.family(
        "node_network_up",
        Kind::Gauge,
        "Value is 1 if operstate is 'up', 0 otherwise.",
    );
    for device in &devices {
        let up = word(device, "operstate") == "up";
        sink.sample(&[("device", device)], f64::from(u8::from(up)));
    }
    for (file, name, kind) in PROPERTIES {
        let help = format!(
            "Network device property: {}",
            name.trim_end_matches("_total")
        );
        let mut begun = false;
        for device in &devices {
            // A device that is down has no carrier and no speed to tell.
            let Ok(mut value) = number(&class.join(device).join(file)) else {
                continue;
            };
            if *file == "speed" {
                // Megabits; -1 is unknown and shown as such by upstream.
                value *= 1_000_000.0 / 8.0;
            }
            if !begun {
                sink.family(format!("node_network_{name}"), *kind, help.clone());
                begun = true;
            }
            sink.sample(&[("device", device)], value);
        }
    }
    Ok(())
}
