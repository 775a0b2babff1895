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

/// Keys behind which a level stands.
const KEYS: [&str; 5] = ["level", "lvl", "severity", "loglevel", "log_level"];

/// How far into a line a level is looked for, in bytes.
const LOOK_BYTES: usize = 400;
/// Longer words are neither levels nor keys of them, in bytes.
const WORD_BYTES: usize = 12;

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
    let looked = &line.as_bytes()[..line.len().min(LOOK_BYTES)];
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut words = looked.split(|byte| !in_word(byte));
    let mut first = None;
    while let Some(word) = words.next() {
        if word.is_empty() || word.len() > WORD_BYTES {
            continue;
        }
        let mut small = [0; WORD_BYTES];
        let word = lowered(word, &mut small);
        if KEYS.iter().any(|key| key.as_bytes() == word) {
            let value = words.by_ref().find(|word| !word.is_empty());
            let mut small = [0; WORD_BYTES];
            let level = value
                .filter(|value| value.len() <= WORD_BYTES)
                .and_then(|value| level_of(lowered(value, &mut small)));
            if let Some(level) = level {
                return level;
            }
            continue;
        }
        if first.is_none() {
            first = level_of(word);
        }
    }
    first.unwrap_or("unknown")
}

/// A word in small letters; it is no longer than the place for it.
fn lowered<'a>(word: &[u8], place: &'a mut [u8; WORD_BYTES]) -> &'a [u8] {
    let place = &mut place[..word.len()];
    place.copy_from_slice(word);
    place.make_ascii_lowercase();
    place
}

fn named(word: &str) -> Option<&'static str> {
    let mut small = [0; WORD_BYTES];
    (word.len() <= WORD_BYTES)
        .then(|| lowered(word.as_bytes(), &mut small))
        .and_then(level_of)
}

/// The level that a word in small letters stands for.
fn level_of(word: &[u8]) -> Option<&'static str> {
    Some(match word {
        b"trace" | b"trc" => "trace",
        b"debug" | b"dbg" => "debug",
        b"information" | b"info" | b"inf" | b"notice" => "info",
        b"warning" | b"warn" | b"wrn" => "warn",
        b"error" | b"err" => "error",
        b"critical" => "critical",
        b"fatal" | b"panic" => "fatal",
        _ => return None,
    })
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
