//! The series that were pushed before, so that a sample of one needs no new labels.
//!
//! Only a fingerprint is kept of what names a series in a request, and what has the same one is the
//! same series. The store says whether it still knows it.

use std::collections::HashMap;

use parking_lot::RwLock;
use towpath_query::promql::{Labels, NAME, quote};
use towpath_signals::{Append, Refused, SeriesRef};
use towpath_stdx::keyed::{Fingerprint, Quick, Wide};

/// How many series are remembered; beyond that all are forgotten and learnt anew.
const MAX_SERIES: usize = 4_000_000;

/// Before the labels of version 2, which are not hashed as they lie in a message.
const TEXTS: &[u8] = b"labels";

#[derive(Default)]
pub(super) struct Known {
    fingerprint: Fingerprint,
    series: RwLock<HashMap<Wide, u32, Quick>>,
}

impl Known {
    /// The series that is written so in requests of version 1, if it is known.
    pub(super) fn find(&self, store: &dyn Append, written: &[u8]) -> Option<SeriesRef> {
        self.get(store, self.fingerprint.wide([written]))
    }

    fn get(&self, store: &dyn Append, of: Wide) -> Option<SeriesRef> {
        let known = self.series.read().get(&of).copied();
        let known = known.map(|series| SeriesRef(u64::from(series)));
        known.filter(|series| store.touch(*series))
    }

    /// The series of these labels, in the order in which they were sent, and which a request of
    /// version 1 writes so.
    pub(super) fn resolve(
        &self,
        store: &dyn Append,
        labels: &[(&str, &str)],
        written: Option<&[u8]>,
    ) -> Result<SeriesRef, Refused> {
        let of = match written {
            Some(written) => self.fingerprint.wide([written]),
            None => {
                let texts = labels.iter().flat_map(|(name, value)| [name, value]);
                let texts = texts.map(|text| text.as_bytes());
                self.fingerprint.wide(std::iter::once(TEXTS).chain(texts))
            }
        };
        if let Some(series) = self.get(store, of) {
            return Ok(series);
        }
        check(labels).map_err(Refused::Labels)?;
        let series = store.resolve(&labels.iter().copied().collect::<Labels>())?;
        if let Ok(number) = u32::try_from(series.0) {
            let mut all = self.series.write();
            if all.len() >= MAX_SERIES {
                all.clear();
            }
            all.insert(of, number);
        }
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
