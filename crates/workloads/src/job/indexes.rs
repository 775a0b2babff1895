//! Completion indexes: the text form `0-2,5` and where a pod keeps its own.

use k8s_openapi::api::core::v1::{EnvVar, Pod};
use std::collections::BTreeSet;
use std::fmt;

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// More than this many indexes are never expanded.
const MAX: u32 = 100_000;

/// A set of completion indexes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Indexes(BTreeSet<u32>);

impl Indexes {
    /// Reads `0-2,5`; what cannot be read is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(from), Ok(to)) = (from.trim().parse::<u32>(), to.trim().parse::<u32>()) {
                set.extend((from..=to.min(MAX)).take(MAX as usize));
            }
        }
        Self(set)
    }

    pub(crate) fn insert(&mut self, index: u32) {
        self.0.insert(index);
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.0.contains(&index)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.iter().copied().peekable();
        let mut first = true;
        while let Some(from) = all.next() {
            let mut to = from;
            while let Some(next) = all.next_if(|next| *next == to + 1) {
                to = next;
            }
            let comma = if first { "" } else { "," };
            first = false;
            match to - from {
                0 => write!(f, "{comma}{from}")?,
                1 => write!(f, "{comma}{from},{to}")?,
                _ => write!(f, "{comma}{from}-{to}")?,
            }
        }
        Ok(())
    }
}

/// Index of a pod.
pub(crate) fn of(pod: &Pod) -> Option<u32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// Gives a pod its index: annotation, label, host name and `JOB_COMPLETION_INDEX`.
pub(crate) fn give(pod: &mut Pod, job: &str, index: u32) {
    let text = index.to_string();
    pod.metadata
        .annotations
        .get_or_insert_default()
        .insert(INDEX.into(), text.clone());
    pod.metadata
        .labels
        .get_or_insert_default()
        .insert(INDEX.into(), text.clone());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{job}-{index}"));
    for container in spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
    {
        let env = container.env.get_or_insert_default();
        if !env.iter().any(|e| e.name == "JOB_COMPLETION_INDEX") {
            env.push(EnvVar {
                name: "JOB_COMPLETION_INDEX".into(),
                value: Some(text.clone()),
                value_from: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_forms() {
        for (text, canonical) in [
            ("", ""),
            ("0-2,5", "0-2,5"),
            ("3,1,2", "1-3"),
            ("1,2", "1,2"),
            ("x,7", "7"),
        ] {
            assert_eq!(Indexes::parse(text).to_string(), canonical);
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(set in proptest::collection::btree_set(0u32..500, 0..50)) {
            let indexes = Indexes(set);
            prop_assert_eq!(Indexes::parse(&indexes.to_string()), indexes);
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = Indexes::parse(&text);
        }
    }
}
