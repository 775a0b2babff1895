//! Temperatures that the machine's sensors tell.

use super::files::{Error, line, names, number};
use super::{Kind, NodeExporter, Sink};

struct Sensor {
    chip: String,
    sensor: String,
    celsius: f64,
    maximum: Option<f64>,
    critical: Option<f64>,
}

pub(super) fn collect(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let class = node.config.roots.sys.join("class/hwmon");
    let mut sensors = Vec::new();
    let mut chips = Vec::new();
    for monitor in names(&class) {
        let dir = class.join(&monitor);
        // The device's place in the tree is a better name than the order it was found in.
        let place = std::fs::canonicalize(dir.join("device")).ok();
        let mut parts: Vec<String> = place
            .iter()
            .flat_map(|path| path.components().rev().take(2))
            .filter_map(|part| part.as_os_str().to_str().map(clean))
            .collect();
        parts.reverse();
        let name = line(&dir.join("name")).map(|name| clean(&name)).ok();
        let chip = if parts.len() == 2 {
            parts.join("_")
        } else {
            name.clone().unwrap_or_else(|| clean(&monitor))
        };
        if let Some(name) = name {
            chips.push((chip.clone(), name));
        }
        for file in names(&dir) {
            let Some(sensor) = file
                .strip_suffix("_input")
                .filter(|s| s.starts_with("temp"))
            else {
                continue;
            };
            let degrees = |what: &str| {
                let value = number(&dir.join(format!("{sensor}_{what}"))).ok();
                value.map(|thousandths| thousandths / 1000.0)
            };
            if let Some(celsius) = degrees("input") {
                sensors.push(Sensor {
                    chip: chip.clone(),
                    sensor: sensor.to_string(),
                    celsius,
                    maximum: degrees("max"),
                    critical: degrees("crit"),
                });
            }
        }
    }
    if chips.is_empty() && sensors.is_empty() {
        return Err(Error::malformed(&class, "no sensor"));
    }
    sink.family(
        "node_hwmon_chip_names",
        Kind::Gauge,
        "Annotation metric for human-readable chip names",
    );
    for (chip, name) in &chips {
        sink.sample(&[("chip", chip), ("chip_name", name)], 1.0);
    }
    type Get = fn(&Sensor) -> Option<f64>;
    let families: [(&str, &str, Get); 3] = [
        (
            "temp_celsius",
            "Hardware monitor for temperature (input)",
            |s| Some(s.celsius),
        ),
        (
            "temp_crit_celsius",
            "Hardware monitor for temperature (crit)",
            |s| s.critical,
        ),
        (
            "temp_max_celsius",
            "Hardware monitor for temperature (max)",
            |s| s.maximum,
        ),
    ];
    for (name, help, get) in families {
        let mut begun = false;
        for sensor in &sensors {
            let Some(value) = get(sensor) else { continue };
            if !begun {
                sink.family(format!("node_hwmon_{name}"), Kind::Gauge, help);
                begun = true;
            }
            sink.sample(&[("chip", &sensor.chip), ("sensor", &sensor.sensor)], value);
        }
    }
    Ok(())
}

// Words of names in lower case, joined by underscores.
fn clean(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    name.chars().map(plain).collect()
}
