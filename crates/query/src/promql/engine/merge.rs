//! Series that have come to have the same labels become one, if they have no time in common.

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::{Eval, EvalError, Stream};
use crate::promql::hash::Texts;
use crate::promql::labels::Labels;
use crate::promql::series::{Samples, Series};

const DUPLICATE: &str = "vector cannot contain metrics with the same labelset";

/// Merges series of equal labels.
pub(super) fn same_labels(series: Vec<Series>) -> Result<Vec<Series>, EvalError> {
    let mut merged: IndexMap<Labels, (Series, bool), Texts> =
        IndexMap::with_capacity_and_hasher(series.len(), Texts::default());
    for one in series {
        match merged.entry(one.labels.clone()) {
            Entry::Vacant(entry) => drop(entry.insert((one, false))),
            Entry::Occupied(mut entry) => {
                let (base, several) = entry.get_mut();
                // What becomes of the name is up to the one that was there first.
                if first_time(&one) < first_time(base) {
                    base.drop_name = one.drop_name;
                }
                base.floats.times.extend(one.floats.times);
                base.floats.values.extend(one.floats.values);
                base.histograms.extend(one.histograms);
                *several = true;
            }
        }
    }
    let order = |(mut one, several): (Series, bool)| {
        if several {
            sort(&mut one)?;
        }
        Ok(one)
    };
    merged.into_values().map(order).collect()
}

fn first_time(series: &Series) -> i64 {
    let histogram = series.histograms.first().map(|(time, _)| *time);
    let float = series.floats.times.first().copied();
    float.into_iter().chain(histogram).min().unwrap_or(i64::MAX)
}

fn sort(series: &mut Series) -> Result<(), EvalError> {
    let mut samples: Vec<(i64, f64)> = series.floats.iter().collect();
    samples.sort_by_key(|(time, _)| *time);
    series.histograms.sort_by_key(|(time, _)| *time);
    let twice = samples.windows(2).any(|pair| pair[0].0 == pair[1].0)
        || series
            .histograms
            .windows(2)
            .any(|pair| pair[0].0 == pair[1].0)
        || series.histograms.iter().any(|(time, _)| {
            samples
                .binary_search_by_key(time, |(time, _)| *time)
                .is_ok()
        });
    if twice {
        return EvalError::query(DUPLICATE);
    }
    let (times, values) = samples.into_iter().unzip();
    series.floats = Samples { times, values };
    Ok(())
}

impl<'a> Eval<'a> {
    /// A stream in which names may have been taken away: where that is done at once, series may
    /// have become the same. With names kept until the end nothing is to be done.
    pub(super) fn settle<'s>(&'s self, stream: Stream<'s>) -> Result<Stream<'s>, EvalError> {
        if self.settings.delayed_name_removal {
            return Ok(stream);
        }
        self.unify(stream)
    }

    /// A stream whose labels were changed, with equal ones merged.
    pub(super) fn unify<'s>(&'s self, stream: Stream<'s>) -> Result<Stream<'s>, EvalError> {
        let series = same_labels(self.collect(stream)?.into_inner())?;
        Ok(Box::new(series.into_iter().map(Ok)))
    }

    /// A stream that ends with an error where a label set comes a second time.
    pub(super) fn distinct<'s>(&'s self, stream: Stream<'s>) -> Stream<'s> {
        if self.settings.delayed_name_removal {
            return stream;
        }
        let mut seen = std::collections::HashSet::with_hasher(Texts::default());
        Box::new(stream.map(move |one| {
            let one = one?;
            if seen.insert(one.labels.clone()) {
                Ok(one)
            } else {
                EvalError::query(DUPLICATE)
            }
        }))
    }
}
