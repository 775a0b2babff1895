//! Copies of one series, as one.
//!
//! Two servers that scrape the same target have its samples at different times: all of them
//! together would be twice as many. The copy with most samples counts; where it has a gap, the
//! next one fills it.

use std::collections::BTreeMap;

use towpath_query::promql::{Labels, Series};

/// So many usual distances without a sample are a gap.
const GAP: i64 = 2;

/// The series without the labels that tell copies apart, each once.
pub(super) fn united(found: Vec<Series>, replicas: &[String]) -> BTreeMap<Labels, Series> {
    let mut copies: BTreeMap<Labels, Vec<Series>> = BTreeMap::new();
    for series in found {
        let labels = stripped(&series.labels, replicas);
        copies.entry(labels).or_default().push(series);
    }
    copies
        .into_iter()
        .map(|(labels, mut copies)| {
            copies.sort_by_key(|copy| usize::MAX - copy.floats.len() - copy.histograms.len());
            let mut out = Series::new(labels.clone());
            for copy in copies {
                if out.is_empty() {
                    (out.floats, out.histograms) = (copy.floats, copy.histograms);
                    continue;
                }
                let floats = filled(out.floats.iter().collect(), copy.floats.iter().collect());
                out.floats.times = floats.iter().map(|(at, _)| *at).collect();
                out.floats.values = floats.iter().map(|(_, value)| *value).collect();
                out.histograms = filled(out.histograms, copy.histograms);
            }
            (labels, out)
        })
        .collect()
}

pub(super) fn stripped(labels: &Labels, replicas: &[String]) -> Labels {
    if replicas.is_empty() {
        return labels.clone();
    }
    let kept = labels.iter();
    kept.filter(|(name, _)| !replicas.iter().any(|replica| replica == name))
        .collect()
}

/// The first with samples of the second where the first has none for a while.
fn filled<T>(first: Vec<(i64, T)>, second: Vec<(i64, T)>) -> Vec<(i64, T)> {
    let Some(gap) = distance(&first).map(|usual| usual * GAP) else {
        return match first.len() >= second.len() {
            true => first,
            false => second,
        };
    };
    let times: Vec<i64> = first.iter().map(|(at, _)| *at).collect();
    let far = |at: i64| {
        let next = times.partition_point(|own| *own < at);
        let after = times.get(next).is_none_or(|own| own - at >= gap);
        let before = next.checked_sub(1).and_then(|last| times.get(last));
        after && before.is_none_or(|own| at - own >= gap)
    };
    let mut out = first;
    out.extend(second.into_iter().filter(|(at, _)| far(*at)));
    out.sort_by_key(|(at, _)| *at);
    out
}

/// The usual distance of samples.
fn distance<T>(samples: &[(i64, T)]) -> Option<i64> {
    let mut all: Vec<i64> = samples.windows(2).map(|two| two[1].0 - two[0].0).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(replica: &str, times: &[i64]) -> Series {
        let labels = [("__name__", "up"), ("replica", replica)];
        let mut out = Series::new(labels.into_iter().collect());
        times.iter().for_each(|at| out.floats.push(*at, 1.0));
        out
    }

    #[test]
    fn a_gap_is_filled_by_the_other_copy() {
        let first = series("a", &[0, 10, 20, 30, 100, 110, 120, 130]);
        let second = series("b", &[5, 15, 25, 35, 45, 55, 65, 75]);
        let out = united(vec![second, first], &["replica".to_owned()]);
        let (labels, series) = out.iter().next().expect("one");
        assert_eq!((out.len(), labels.get("__name__")), (1, "up"));
        assert_eq!(labels.get("replica"), "");
        // Of two with as many samples the first one given counts.
        assert_eq!(
            series.floats.times,
            [5, 15, 25, 35, 45, 55, 65, 75, 100, 110, 120, 130]
        );
    }

    #[test]
    fn without_replicas_nothing_is_changed() {
        let both = vec![series("a", &[0, 10]), series("b", &[5])];
        assert_eq!(united(both, &[]).len(), 2);
    }
}
