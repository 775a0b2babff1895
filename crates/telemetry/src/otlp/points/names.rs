//! Names of metrics and labels as Prometheus translates them by default: underscores for what it
//! does not know, units and `_total` behind.

/// Units by their code.
const UNITS: [(&str, &str); 30] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
    ("bit", "bits"),
    ("kg", "kilograms"),
    ("K", "kelvin"),
    ("Pa", "pascals"),
];
/// Units behind a stroke.
const PER: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

fn known<'a>(table: &[(&str, &'a str)], code: &'a str) -> &'a str {
    let found = table.iter().find(|(own, _)| *own == code);
    found.map_or(code, |(_, name)| name)
}

/// The words of a name.
fn words(name: &str) -> Vec<&str> {
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':');
    parts.filter(|word| !word.is_empty()).collect()
}

/// What a metric is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// The rest.
    Other,
}

/// The name of a metric.
pub(super) fn metric(name: &str, unit: &str, sort: Sort) -> String {
    let mut all: Vec<&str> = words(name);
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let plain = |unit: &str| !unit.contains(['{', '}']);
    let main = if plain(main) {
        known(&UNITS, main.trim())
    } else {
        ""
    };
    let per = if plain(per) {
        known(&PER, per.trim())
    } else {
        ""
    };
    if sort == Sort::Counter {
        all.retain(|word| *word != "total");
    }
    for word in words(main) {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    if !per.is_empty() && !all.contains(&per) {
        all.push("per");
        all.extend(words(per));
    }
    if unit == "1" && sort == Sort::Gauge && !all.contains(&"ratio") {
        all.push("ratio");
    }
    if sort == Sort::Counter {
        all.push("total");
    }
    let joined = all.join("_");
    if joined.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("_{joined}");
    }
    joined
}

/// The name of a label.
pub(super) fn label(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let plain: String = name.chars().map(fits).collect();
    match plain.as_bytes() {
        [b'0'..=b'9', ..] => format!("key_{plain}"),
        [b'_', next, ..] if *next != b'_' => format!("key{plain}"),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        let cases = [
            (
                "http.server.duration",
                "s",
                Sort::Other,
                "http_server_duration_seconds",
            ),
            ("system.io", "By", Sort::Counter, "system_io_bytes_total"),
            (
                "requests.total",
                "{request}",
                Sort::Counter,
                "requests_total",
            ),
            ("cpu.utilization", "1", Sort::Gauge, "cpu_utilization_ratio"),
            ("speed", "m/s", Sort::Gauge, "speed_meters_per_second"),
            ("memory_bytes", "By", Sort::Gauge, "memory_bytes"),
            ("2xx", "", Sort::Gauge, "_2xx"),
        ];
        for (name, unit, sort, expected) in cases {
            assert_eq!(metric(name, unit, sort), expected);
        }
        assert_eq!(label("http.status_code"), "http_status_code");
        assert_eq!(label("1st"), "key_1st");
        assert_eq!(label("_own"), "key_own");
    }
}
