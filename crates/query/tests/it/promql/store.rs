//! A small store that keeps what scripts load, as upstream's test storage would give it back.

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_query::promql::{
    CUSTOM, Hints, Histogram, Labels, Matcher, NAME, Notated, ResetHint, Series, Source,
};

#[derive(Default)]
pub(super) struct Store {
    series: Vec<Series>,
}

impl Store {
    fn series(&mut self, labels: &Labels) -> &mut Series {
        let at = self
            .series
            .iter()
            .position(|series| series.labels == *labels);
        let at = at.unwrap_or_else(|| {
            self.series.push(Series::new(labels.clone()));
            self.series.len() - 1
        });
        &mut self.series[at]
    }

    /// Adds samples that are `step` milliseconds apart, from 0.
    pub(super) fn load(&mut self, labels: &Labels, values: &[Notated], step: i64) {
        let series = self.series(labels);
        for (time, value) in (0..).map(|at| at * step).zip(values) {
            match value {
                Notated::Gap => {}
                Notated::Float(value) => series.floats.push(time, *value),
                Notated::Histogram(histogram, _) => append(series, time, (**histogram).clone()),
            }
        }
    }

    /// Adds the native histograms with custom bounds that classic ones convert to.
    pub(super) fn load_converted(&mut self, loaded: &[(Labels, Vec<Notated>)], step: i64) {
        let mut found: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
        for (labels, values) in loaded {
            let name = labels.get(NAME);
            let suffix = ["_bucket", "_count", "_sum"]
                .into_iter()
                .find(|s| name.ends_with(s));
            let Some(suffix) = suffix else { continue };
            let le = labels.get("le").parse::<f64>();
            if suffix == "_bucket" && le.as_ref().map_or(true, |le| le.is_nan()) {
                continue;
            }
            let base: Labels = labels
                .iter()
                .filter(|(name, _)| *name != "le")
                .map(|(label, value)| {
                    let base = value.strip_suffix(suffix).unwrap_or(value);
                    (label, if label == NAME { base } else { value })
                })
                .collect();
            let by_time = found.entry(base).or_default();
            for (time, value) in (0..).map(|at| at * step).zip(values) {
                let Notated::Float(value) = value else {
                    continue;
                };
                let classic = by_time.entry(time).or_default();
                match suffix {
                    "_bucket" => classic.buckets.push((*le.as_ref().unwrap(), *value)),
                    "_count" => classic.count = Some(*value),
                    _ => classic.sum = *value,
                }
            }
        }
        for (labels, by_time) in found {
            let series = self.series(&labels);
            for (time, classic) in by_time {
                append(series, time, classic.convert());
            }
        }
    }
}

#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Classic {
    fn convert(mut self) -> Histogram {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let highest = self.buckets.last().map_or(0.0, |(_, count)| *count);
        let count = self.count.unwrap_or(highest);
        if self
            .buckets
            .last()
            .is_none_or(|(le, _)| *le != f64::INFINITY)
        {
            self.buckets.push((f64::INFINITY, count));
        }
        let bounds: Vec<f64> = self.buckets[..self.buckets.len() - 1]
            .iter()
            .map(|b| b.0)
            .collect();
        let mut before = 0.0;
        let mut positive = Vec::new();
        for (at, (_, cumulative)) in (0..).zip(&self.buckets) {
            positive.push((at, cumulative - before));
            before = *cumulative;
        }
        let mut out = Histogram {
            schema: CUSTOM,
            count,
            sum: self.sum,
            positive,
            bounds: bounds.into(),
            ..Histogram::default()
        };
        out.compact();
        out
    }
}

/// Within a chunk of the store there are no resets; where a chunk begins, nothing is known.
fn append(series: &mut Series, time: i64, mut histogram: Histogram) {
    let last = series.histograms.last();
    let interrupted = series
        .floats
        .times
        .last()
        .is_some_and(|float| last.is_some_and(|(time, _)| float > time));
    let gauge = histogram.hint == ResetHint::Gauge;
    if !gauge {
        let continues = last.is_some_and(|(_, before)| {
            let plain = Histogram {
                hint: ResetHint::Unknown,
                ..histogram.clone()
            };
            !interrupted
                && before.hint != ResetHint::Gauge
                && histogram.hint != ResetHint::Reset
                && (histogram.is_stale()
                    || (!before.is_stale()
                        && plain.schema == before.schema
                        && plain.zero_threshold == before.zero_threshold
                        && plain.bounds == before.bounds
                        && !plain.resets(before)))
        });
        histogram.hint = if continues {
            ResetHint::NotReset
        } else {
            ResetHint::Unknown
        };
    }
    series.histograms.push((time, Arc::new(histogram)));
}

impl Source for Store {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        let matchers = matchers.to_vec();
        let (start, end) = (hints.start, hints.end);
        let found = self.series.iter().filter(move |series| {
            matchers
                .iter()
                .all(|matcher| matcher.matches(series.labels.get(&matcher.name)))
        });
        Ok(Box::new(found.map(move |series| {
            let mut out = Series::new(series.labels.clone());
            for (time, value) in series
                .floats
                .iter()
                .filter(|(t, _)| (start..=end).contains(t))
            {
                out.floats.push(time, value);
            }
            let inside = |(time, _): &&(i64, Arc<Histogram>)| (start..=end).contains(time);
            out.histograms = series.histograms.iter().filter(inside).cloned().collect();
            Ok(out)
        })))
    }
}
