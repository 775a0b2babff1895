//! Labels that clients expect to find: the service of a stream, the level of a line.

use towpath_query::promql::Labels;

/// The label of the service.
pub(crate) const SERVICE: &str = "service_name";
/// The label of the level.
pub(crate) const LEVEL: &str = "detected_level";

/// Labels that name the service, the most telling first.
const SERVICES: [&str; 11] = [
    "service",
    "app",
    "application",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
];

/// The labels with that of the service.
pub(crate) fn with_service(labels: Labels) -> Labels {
    if !labels.get(SERVICE).is_empty() || labels.is_empty() {
        return labels;
    }
    let named = SERVICES.iter().map(|name| labels.get(name));
    let service = named.into_iter().find(|value| !value.is_empty());
    let service = service.unwrap_or("unknown_service").to_owned();
    labels.iter().chain([(SERVICE, service.as_str())]).collect()
}

/// Words for levels, as they stand in lines, small letters.
const WORDS: [(&str, &str); 16] = [
    ("trace", "trace"),
    ("trc", "trace"),
    ("debug", "debug"),
    ("dbg", "debug"),
    ("information", "info"),
    ("info", "info"),
    ("inf", "info"),
    ("notice", "info"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("wrn", "warn"),
    ("error", "error"),
    ("err", "error"),
    ("critical", "critical"),
    ("fatal", "fatal"),
    ("panic", "fatal"),
];

/// Keys behind which a level stands.
const KEYS: [&str; 5] = ["level", "lvl", "severity", "loglevel", "log_level"];

/// How far into a line a level is looked for, in bytes.
const LOOK_BYTES: usize = 400;

/// The level of a line, `unknown` where it says none.
pub(crate) fn level(stream: &Labels, metadata: &[(String, String)], line: &str) -> &'static str {
    let given = metadata
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in stream.iter().chain(given) {
        if KEYS.contains(&name) || name == "severity_text" {
            return named(value).unwrap_or("unknown");
        }
    }
    let mut end = line.len().min(LOOK_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let mut words = line[..end].split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut first = None;
    while let Some(word) = words.next() {
        if word.len() > 12 || word.is_empty() {
            continue;
        }
        if KEYS.iter().any(|key| word.eq_ignore_ascii_case(key)) {
            let value = words.by_ref().find(|word| !word.is_empty());
            if let Some(level) = value.and_then(named) {
                return level;
            }
            continue;
        }
        if first.is_none() {
            first = named(word);
        }
    }
    first.unwrap_or("unknown")
}

fn named(word: &str) -> Option<&'static str> {
    let found = WORDS
        .iter()
        .find(|(known, _)| word.eq_ignore_ascii_case(known));
    found.map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let of = |line: &str| level(&Labels::default(), &[], line);
        assert_eq!(of("ts=1 level=WARN msg=\"an error\""), "warn");
        assert_eq!(of("{\"severity\":\"Error\",\"msg\":\"info\"}"), "error");
        assert_eq!(of("2026-11-22 INFO started"), "info");
        assert_eq!(of("nothing here"), "unknown");
        let labels: Labels = [("container", "c"), ("app", "a")].into_iter().collect();
        assert_eq!(with_service(labels).get(SERVICE), "a");
    }
}
