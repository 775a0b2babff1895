//! Samples of rules into the store, and out of it.

use std::sync::Arc;

use towpath_alerting::rules::{Output, Written};
use towpath_query::promql::{Hints, Matcher, Series, Source};
use towpath_signals::{Append, Read, Sample, Value};

/// Writes to the store.
pub(super) struct Store<'a>(&'a dyn Append);

impl<'a> Store<'a> {
    pub(super) fn new(append: &'a dyn Append) -> Self {
        Self(append)
    }
}

impl Output for Store<'_> {
    fn write(&self, samples: &[Written]) -> Result<Vec<(usize, String)>, String> {
        let mut refused = Vec::new();
        let mut positions = Vec::with_capacity(samples.len());
        let mut taken = Vec::with_capacity(samples.len());
        for (position, sample) in samples.iter().enumerate() {
            match self.0.resolve(&sample.labels) {
                Ok(series) => {
                    positions.push(position);
                    taken.push(Sample {
                        series,
                        at: sample.at,
                        value: match &sample.histogram {
                            Some(histogram) => Value::Histogram(Arc::clone(histogram)),
                            None => Value::Float(sample.value),
                        },
                        start: None,
                    });
                }
                Err(why) => refused.push((position, why.to_string())),
            }
        }
        let outcome = self.0.append(&taken).map_err(|error| error.to_string())?;
        let outcome = outcome.refused.into_iter();
        refused.extend(outcome.map(|(at, why)| (positions[at], why.to_string())));
        refused.sort_by_key(|(position, _)| *position);
        Ok(refused)
    }
}

/// Reads from the store.
pub(super) struct Samples<'a>(pub(super) &'a dyn Read);

impl Source for Samples<'_> {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        self.0.select(matchers, hints)
    }
}
