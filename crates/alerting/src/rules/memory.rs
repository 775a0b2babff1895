//! Samples in memory, for tests of rules.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_query::promql::{Hints, Histogram, Labels, Matcher, Series, Source};

use super::group::{Output, Written};

/// Series by their labels. A sample that is not newer than the last one is refused, as in a store.
#[derive(Debug, Default)]
pub struct Memory(RefCell<BTreeMap<Labels, Series>>);

impl Memory {
    /// Adds one sample; whether it was taken.
    pub fn push(
        &self,
        labels: &Labels,
        at: i64,
        value: f64,
        histogram: Option<Arc<Histogram>>,
    ) -> Result<(), String> {
        let mut all = self.0.borrow_mut();
        let series = all
            .entry(labels.clone())
            .or_insert_with(|| Series::new(labels.clone()));
        let last_float = series.floats.iter().last();
        let last_histogram = series.histograms.last().map(|(at, _)| *at);
        let last = last_float.map(|(at, _)| at).max(last_histogram);
        if last.is_some_and(|last| at < last) {
            return Err("out of order sample".to_owned());
        }
        if last == Some(at) {
            let same = last_float.is_some_and(|(t, v)| t == at && v.to_bits() == value.to_bits());
            return match same && histogram.is_none() {
                true => Ok(()),
                false => Err("duplicate sample for timestamp".to_owned()),
            };
        }
        match histogram {
            Some(histogram) => series.histograms.push((at, histogram)),
            None => series.floats.push(at, value),
        }
        Ok(())
    }
}

impl Output for Memory {
    fn write(&self, samples: &[Written]) -> Result<Vec<(usize, String)>, String> {
        let mut refused = Vec::new();
        for (position, sample) in samples.iter().enumerate() {
            let histogram = sample.histogram.clone();
            if let Err(why) = self.push(&sample.labels, sample.at, sample.value, histogram) {
                refused.push((position, why));
            }
        }
        Ok(refused)
    }
}

impl Source for Memory {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        let within = |at: i64| (hints.start..=hints.end).contains(&at);
        let all = self.0.borrow();
        let mut found = Vec::new();
        for series in all.values() {
            if !matchers
                .iter()
                .all(|m| m.matches(series.labels.get(&m.name)))
            {
                continue;
            }
            let mut part = Series::new(series.labels.clone());
            for (at, value) in series.floats.iter().filter(|(at, _)| within(*at)) {
                part.floats.push(at, value);
            }
            let histograms = series.histograms.iter().filter(|(at, _)| within(*at));
            part.histograms = histograms.cloned().collect();
            if !part.is_empty() {
                found.push(Ok(part));
            }
        }
        Ok(Box::new(found.into_iter()))
    }
}
