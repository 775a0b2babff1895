//! A target: what discovery found, after the rules of its job.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use towpath_query::promql::{Labels, format_duration, parse_duration, quote};
use towpath_signals::Metadata;

use super::config::Job;
use super::relabel::{self, Set};
use crate::prometheus::Health;

/// Targets that were found together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// What they were found by.
    pub source: String,
    /// Labels of each of them.
    pub targets: Vec<Set>,
    /// Labels of all of them, where one has none of its own.
    pub labels: Set,
}

/// How the last scrape went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) health: Health,
    pub(crate) error: String,
    pub(crate) at_ns: Option<u64>,
    pub(crate) seconds: f64,
}

/// What is scraped in a loop of its own.
#[derive(Debug)]
pub(crate) struct Target {
    /// Before any processing.
    pub(crate) discovered: Labels,
    /// Labels of its series.
    pub(crate) labels: Labels,
    pub(crate) url: String,
    pub(crate) interval_ms: i64,
    pub(crate) timeout_ms: i64,
    /// The same for the same labels and URL.
    pub(crate) hash: u64,
    pub(crate) report: Mutex<Report>,
    pub(crate) metadata: Mutex<BTreeMap<String, Metadata>>,
}

/// What became of something that was found.
pub(crate) enum Found {
    /// It is scraped.
    Target(Arc<Target>),
    /// Rules dropped it; its labels before.
    Dropped(Labels),
    /// It makes no sense.
    Faulty(String),
}

/// Labels before relabelling.
fn discovered(job: &Job, own: &Set, group: &Set) -> Set {
    let mut set: Set = group.clone();
    set.extend(
        own.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    set.retain(|_, value| !value.is_empty());
    let defaults = [
        ("job", job.name.clone()),
        ("__scrape_interval__", format_duration(job.interval_ms)),
        ("__scrape_timeout__", format_duration(job.timeout_ms)),
        ("__metrics_path__", job.path.clone()),
        ("__scheme__", job.scheme.clone()),
    ];
    for (name, value) in defaults {
        set.entry(name.to_owned()).or_insert(value);
    }
    for (name, values) in &job.params {
        if let Some(first) = values.first().filter(|value| !value.is_empty()) {
            set.entry(format!("__param_{name}"))
                .or_insert_with(|| first.clone());
        }
    }
    set
}

/// Makes a target of what was found.
pub(crate) fn target(job: &Job, own: &Set, group: &Set) -> Found {
    let mut set = discovered(job, own, group);
    let before: Labels = set.clone().into_iter().collect();
    if !relabel::apply(&job.relabel, &mut set) {
        return Found::Dropped(before);
    }
    match build(job, set, before) {
        Ok(target) => Found::Target(Arc::new(target)),
        Err(why) => Found::Faulty(why),
    }
}

fn build(job: &Job, mut set: Set, discovered: Labels) -> Result<Target, String> {
    let get = |name: &str| set.get(name).cloned().unwrap_or_default();
    let address = get("__address__");
    if address.is_empty() {
        return Err("no address".to_owned());
    }
    if address.contains('/') {
        return Err(format!("{} is not a valid hostname", quote(&address)));
    }
    let duration = |name: &str, what: &str| {
        let text = get(name);
        match parse_duration(&text) {
            Ok(0) => Err(format!("scrape {what} cannot be 0")),
            Ok(ms) => Ok(ms),
            Err(error) => Err(format!("error parsing scrape {what}: {error}")),
        }
    };
    let interval_ms = duration("__scrape_interval__", "interval")?;
    let timeout_ms = duration("__scrape_timeout__", "timeout")?;
    if timeout_ms > interval_ms {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({} > {})",
            quote(&get("__scrape_timeout__")),
            quote(&get("__scrape_interval__"))
        ));
    }
    set.retain(|name, _| !name.starts_with("__meta_"));
    set.entry("instance".to_owned())
        .or_insert_with(|| address.clone());
    let url = url(job, &set, &address);
    let hash = fnv(&set, &url);
    let public = set.into_iter().filter(|(name, _)| !name.starts_with("__"));
    Ok(Target {
        discovered,
        labels: public.collect(),
        url,
        interval_ms,
        timeout_ms,
        hash,
        report: Mutex::default(),
        metadata: Mutex::default(),
    })
}

fn url(job: &Job, set: &Set, address: &str) -> String {
    let get = |name: &str| set.get(name).map_or("", String::as_str);
    let mut params = job.params.clone();
    for (name, value) in set {
        if let Some(name) = name.strip_prefix("__param_") {
            let values = params.entry(name.to_owned()).or_default();
            match values.first_mut() {
                Some(first) => first.clone_from(value),
                None => values.push(value.clone()),
            }
        }
    }
    let query: Vec<String> = params
        .iter()
        .flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| format!("{}={}", escaped(name), escaped(value)))
        })
        .collect();
    let path = get("__metrics_path__");
    let slash = if path.starts_with('/') || path.is_empty() {
        ""
    } else {
        "/"
    };
    // A path may bring a query of its own only escaped, as upstream has it.
    let path = path
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23")
        .replace(' ', "%20");
    let mut url = format!("{}://{address}{slash}{path}", get("__scheme__"));
    if !query.is_empty() {
        url.push('?');
        url.push_str(&query.join("&"));
    }
    url
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn fnv(set: &Set, url: &str) -> u64 {
    let parts = set
        .iter()
        .flat_map(|(name, value)| [name.as_str(), value.as_str()])
        .chain([url]);
    parts.fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        part.bytes().chain([0xff]).fold(hash, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    })
}

/// How long until the next scrape of a target, in milliseconds: a place in the interval that its
/// hash chooses, so that not all are scraped at once and restarts keep the rhythm.
pub(crate) fn offset_ms(hash: u64, now_ms: i64, interval_ms: i64) -> i64 {
    let place = (hash % interval_ms.unsigned_abs().max(1)) as i64;
    (place - now_ms.rem_euclid(interval_ms)).rem_euclid(interval_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::config::parse;

    fn job(text: &str) -> Job {
        let text = format!("scrape_configs:\n- job_name: j\n{text}");
        parse(&text, std::path::Path::new(".")).unwrap().remove(0)
    }

    fn set(pairs: &[(&str, &str)]) -> Set {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn labels_and_url() {
        let job = job("  params: {module: [a b, c]}\n  metrics_path: /probe\n");
        let own = set(&[
            ("__address__", "h:80"),
            ("__meta_x", "y"),
            ("__param_target", "t&"),
        ]);
        let Found::Target(target) = target(&job, &own, &set(&[("env", "p")])) else {
            panic!("a target")
        };
        assert_eq!(
            target.url,
            "http://h:80/probe?module=a+b&module=c&target=t%26"
        );
        assert_eq!(
            target.labels.to_string(),
            r#"{env="p", instance="h:80", job="j"}"#
        );
        assert!(target.discovered.to_string().contains("__meta_x"));
    }

    #[test]
    fn dropped_and_faulty() {
        let job = job("  relabel_configs: [{source_labels: [a], regex: x, action: drop}]\n");
        let found = |own: &Set| target(&job, own, &Set::new());
        assert!(matches!(found(&set(&[("a", "x")])), Found::Dropped(_)));
        assert!(matches!(found(&set(&[])), Found::Faulty(why) if why == "no address"));
        let faulty = found(&set(&[("__address__", "h"), ("__scrape_timeout__", "2m")]));
        assert!(matches!(faulty, Found::Faulty(why) if why.contains("(\"2m\" > \"1m\")")));
    }

    #[test]
    fn offsets_are_within_the_interval() {
        for now in [0, 1, 59_999, 1_000_000_007] {
            let wait = offset_ms(0xdead_beef, now, 60_000);
            assert!((0..60_000).contains(&wait));
            assert_eq!((now + wait) % 60_000, (0xdead_beefu64 % 60_000) as i64);
        }
    }
}
