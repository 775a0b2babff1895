//! `/proc/meminfo`: every line under its own name.

use super::files::{Error, field, text};
use super::{Kind, NodeExporter, Sink};

pub(super) fn collect(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let path = node.config.roots.proc.join("meminfo");
    let text = text(&path)?;
    let mut values: Vec<(String, f64)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (key, rest) = line
            .split_once(':')
            .ok_or_else(|| Error::malformed(&path, format!("line {line:?} has no colon")))?;
        let mut words = rest.split_ascii_whitespace();
        let mut value = field(&path, words.next())?;
        let mut name = key.trim().replace('(', "_").replace(')', "");
        if words.next() == Some("kB") {
            value *= 1024.0;
            name.push_str("_bytes");
        }
        values.push((name, value));
    }
    values.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in values {
        sink.single(
            format!("node_memory_{name}"),
            Kind::Gauge,
            format!("Memory information field {name}."),
            value,
        );
    }
    Ok(())
}
