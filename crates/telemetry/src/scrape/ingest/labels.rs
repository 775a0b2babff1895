//! The labels under which a sample of a target is stored.

use towpath_query::promql::{Labels, NAME};

use super::super::config::Job;
use super::super::relabel::Set;
use super::super::written::Names;
use super::IngestError;

/// Labels of a sample with those of its target. Where both have one, `honor` decides; the other
/// one is kept as `exported_…`.
pub(super) fn with_target(own: &Labels, target: &Labels, honor: bool) -> Set {
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut set: Set = own.iter().map(pair).collect();
    let mut conflicts = Vec::new();
    for (name, value) in target.iter() {
        match set.get(name) {
            Some(_) if honor => continue,
            Some(other) => conflicts.push((name.to_owned(), other.clone())),
            None => {}
        }
        set.insert(name.to_owned(), value.to_owned());
    }
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut name = format!("exported_{name}");
        while set.contains_key(&name) {
            name = format!("exported_{name}");
        }
        set.insert(name, value);
    }
    set
}

/// Refuses what is no series, or too much of one.
pub(super) fn check(set: &Set, job: &Job) -> Result<(), IngestError> {
    let shown = || {
        set.iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect::<Labels>()
            .to_string()
    };
    let Some(metric) = set.get(NAME) else {
        let words = "missing metric name (__name__ label)";
        return Err(IngestError::Series(words.to_owned()));
    };
    let legacy = job.names == Names::Legacy;
    let plain = |name: &str| crate::family::is_plain(name) && !name.contains(':');
    let valid = |name: &String| !name.is_empty() && (!legacy || plain(name));
    if (legacy && !crate::family::is_plain(metric)) || !set.keys().all(valid) {
        let words = format!("invalid metric name or label names: {}", shown());
        return Err(IngestError::Series(words));
    }
    let limits = &job.limits;
    if limits.labels > 0 && set.len() as u64 > limits.labels {
        return Err(IngestError::Limit(format!(
            "label_limit exceeded (metric: {metric:.50}, number of labels: {}, limit: {})",
            set.len(),
            limits.labels
        )));
    }
    for (name, value) in set {
        let long = |text: &str, limit: u64| limit > 0 && text.len() as u64 > limit;
        if long(name, limits.label_name_bytes) {
            return Err(IngestError::Limit(format!(
                "label_name_length_limit exceeded (metric: {metric:.50}, label name: {name:.50}, \
                 length: {}, limit: {})",
                name.len(),
                limits.label_name_bytes
            )));
        }
        if long(value, limits.label_value_bytes) {
            return Err(IngestError::Limit(format!(
                "label_value_length_limit exceeded (metric: {metric:.50}, label name: {name:.50}, \
                 value: {value:.50}, length: {}, limit: {})",
                value.len(),
                limits.label_value_bytes
            )));
        }
    }
    Ok(())
}
