//! The series that were pushed before, so that a sample of one needs no new labels.
//!
//! Only a hash of the labels is kept; the store says whether the series is the one that is meant.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;
use towpath_query::promql::{Labels, NAME, quote};
use towpath_signals::{Append, Refused, SeriesRef};

/// How many series are remembered; beyond that all are forgotten and learnt anew.
const MAX_SERIES: usize = 4_000_000;

#[derive(Default)]
pub(super) struct Known {
    hasher: RandomState,
    series: Mutex<HashMap<u64, SeriesRef>>,
}

impl Known {
    /// The series of these labels, in the order in which they were sent.
    pub(super) fn resolve(
        &self,
        store: &dyn Append,
        labels: &[(&str, &str)],
    ) -> Result<SeriesRef, Refused> {
        let hash = self.hasher.hash_one(labels);
        let known = self.series.lock().get(&hash).copied();
        if let Some(series) = known
            && let Some(own) = store.labels(series)
            && own.iter().eq(labels.iter().copied())
        {
            return Ok(series);
        }
        check(labels).map_err(Refused::Labels)?;
        let series = store.resolve(&labels.iter().copied().collect::<Labels>())?;
        let mut all = self.series.lock();
        if all.len() >= MAX_SERIES {
            all.clear();
        }
        all.insert(hash, series);
        Ok(series)
    }
}

/// Whether labels can be those of a series.
fn check(labels: &[(&str, &str)]) -> Result<(), String> {
    let shown = || labels.iter().copied().collect::<Labels>().to_string();
    let named = labels
        .iter()
        .any(|(name, value)| *name == NAME && !value.is_empty());
    if !named || labels.iter().any(|(name, _)| name.is_empty()) {
        return Err(format!("invalid metric name or labels, got {}", shown()));
    }
    let mut names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    match names.windows(2).find(|two| two[0] == two[1]) {
        Some(twice) => Err(format!(
            "invalid labels for series, labels {}, duplicated label {}",
            shown(),
            quote(twice[0]).trim_matches('"')
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn labels_of_series() {
        assert!(check(&[("__name__", "a"), ("b", "c")]).is_ok());
        assert!(check(&[("b", "c")]).is_err());
        assert!(check(&[("__name__", "a"), ("", "c")]).is_err());
        let twice = check(&[("__name__", "a"), ("b", "c"), ("b", "d")]);
        assert!(twice.is_err_and(|error| error.ends_with("duplicated label b")));
    }
}
