//! Selectors: series from the source, one after the other.

use std::sync::Arc;

use super::window::{Edge, Steps, without_stale};
use super::{Eval, EvalError, Hints, Stream};
use crate::promql::annotation;
use crate::promql::ast::{At, Edges, Shift, Span, VectorSelector};
use crate::promql::histogram::{Histogram, ResetHint};
use crate::promql::series::{Downsampled, HistogramSample, Samples, Series, is_stale};
use crate::promql::text::format_duration;

const MS: i64 = 1_000_000;

/// The times a selector looks at for the steps of its evaluation: with `@` one for all.
#[derive(Clone, Copy)]
pub(super) struct Lookup {
    steps: Steps,
    pinned: Option<i64>,
    pub(super) offset: i64,
}

impl Lookup {
    pub(super) fn new(shift: &Shift, steps: Steps) -> Self {
        let pinned = match shift.at {
            Some(At::Time(time)) => Some(time),
            _ => None,
        };
        Self {
            steps,
            pinned,
            offset: shift.offset_ns / MS,
        }
    }

    /// Where to look at a step.
    pub(super) fn at(&self, step: i64) -> i64 {
        self.pinned.unwrap_or(step).saturating_sub(self.offset)
    }

    /// The first and the last time looked at.
    pub(super) fn bounds(&self) -> (i64, i64) {
        let last = self.steps.last();
        (self.at(self.steps.start), self.at(last))
    }
}

/// The series of a selector with their samples from `start` to `end`.
pub(super) fn pull<'e>(
    eval: &'e Eval<'_>,
    selector: &VectorSelector,
    hints: Hints<'_>,
) -> Result<Stream<'e>, EvalError> {
    let series = eval
        .source
        .select(&selector.matchers, &hints)
        .map_err(EvalError::Source)?;
    let counts_only = selector.counts_only;
    let (range, function) = (hints.range, hints.function.to_owned());
    Ok(Box::new(series.map(move |one| {
        eval.check()?;
        let mut one = one.map_err(EvalError::Source)?;
        if let Some(down) = &one.downsampled {
            remark(eval, down, &function);
            if range == 0 || function.is_empty() {
                one.downsampled = None;
            }
        }
        if counts_only {
            drop_buckets(&mut one);
        }
        drop(eval.hold(one.weight())?);
        Ok(one)
    })))
}

/// Says that not all samples were read. It concerns the query as a whole.
fn remark(eval: &Eval<'_>, down: &Downsampled, function: &str) {
    let resolution = format_duration(down.resolution_ms);
    let span = Span::new(0, 0);
    eval.annotate(if down.lossy {
        annotation::samples_gone(&resolution, function, span)
    } else {
        annotation::downsampled(&resolution, span)
    });
}

/// Keeps counts and sums alone. What the buckets tell about resets is found out before.
fn drop_buckets(one: &mut Series) {
    let mut before: Option<Arc<Histogram>> = None;
    for (_, histogram) in &mut one.histograms {
        let mut reduced = Histogram {
            hint: histogram.hint,
            count: histogram.count,
            sum: histogram.sum,
            ..Histogram::default()
        };
        if !histogram.is_stale() {
            if let (ResetHint::Unknown, Some(before)) = (histogram.hint, &before) {
                let reset = histogram.resets(before);
                reduced.hint = if reset {
                    ResetHint::Reset
                } else {
                    ResetHint::NotReset
                };
            }
            before = Some(Arc::clone(histogram));
        }
        *histogram = Arc::new(reduced);
    }
}

/// In the place of a function: values between samples are wanted.
const SMOOTHED: &str = "smoothed";

/// The newest sample of each series at every step.
pub(super) fn instant<'e>(
    eval: &'e Eval<'_>,
    selector: &'e VectorSelector,
    steps: Steps,
    function: &'static str,
) -> Result<Stream<'e>, EvalError> {
    let lookback = eval.settings.lookback_ms;
    let lookup = Lookup::new(&selector.shift, steps);
    let (first, last) = lookup.bounds();
    let smoothed = selector.edges == Edges::Smoothed;
    let hints = Hints {
        start: first.saturating_sub(lookback) + 1,
        end: if smoothed {
            last.saturating_add(lookback)
        } else {
            last
        },
        step: steps.apart(),
        range: 0,
        function: if smoothed { SMOOTHED } else { function },
    };
    let series = pull(eval, selector, hints)?;
    let series = series.map(move |one| {
        let mut one = one?;
        if smoothed {
            return smooth(one, lookback, lookup, steps);
        }
        let (floats, histograms) = newest(&one, lookback, lookup, steps, |_, value| value);
        one.floats = floats;
        one.histograms = histograms;
        Ok(one)
    });
    Ok(Box::new(series.filter(|one| {
        one.as_ref().map_or(true, |one| !one.is_empty())
    })))
}

/// Like [`instant`], but the values are the times of the samples, in seconds.
pub(super) fn timestamps<'e>(
    eval: &'e Eval<'_>,
    selector: &'e VectorSelector,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let lookback = eval.settings.lookback_ms;
    let lookup = Lookup::new(&selector.shift, steps);
    let (first, last) = lookup.bounds();
    let start = first.saturating_sub(lookback) + 1;
    let hints = Hints {
        start,
        end: last,
        step: steps.apart(),
        range: 0,
        function: "timestamp",
    };
    let series = pull(eval, selector, hints)?;
    Ok(Box::new(series.map(move |one| {
        let mut one = one?;
        one.floats = sample_times(&one, lookback, lookup, steps);
        one.histograms.clear();
        Ok(one)
    })))
}

/// The times of the samples found at the steps, in seconds.
pub(super) fn sample_times(one: &Series, lookback: i64, lookup: Lookup, steps: Steps) -> Samples {
    let (mut floats, histograms) =
        newest(one, lookback, lookup, steps, |time, _| time as f64 / 1000.0);
    let mut cursor = 0;
    for (step, _) in &histograms {
        let wanted = lookup.at(*step);
        while one
            .histograms
            .get(cursor + 1)
            .is_some_and(|(time, _)| *time <= wanted)
        {
            cursor += 1;
        }
        floats.push(*step, one.histograms[cursor].0 as f64 / 1000.0);
    }
    if !histograms.is_empty() {
        let mut pairs: Vec<(i64, f64)> = floats.iter().collect();
        pairs.sort_by_key(|(time, _)| *time);
        let (times, values) = pairs.into_iter().unzip();
        floats = Samples { times, values };
    }
    floats
}

/// For each step the newest sample that is not too old, unless it ends the series.
fn newest(
    one: &Series,
    lookback: i64,
    lookup: Lookup,
    steps: Steps,
    value_of: impl Fn(i64, f64) -> f64,
) -> (Samples, Vec<HistogramSample>) {
    let times = &one.floats.times;
    let mut floats = match times.is_empty() {
        true => Samples::default(),
        // Sparse samples fill few steps.
        false => Samples::with_capacity(steps.count().min(times.len().saturating_mul(32))),
    };
    let mut histograms = Vec::new();
    if one.histograms.is_empty() {
        let mut edge = Edge::default();
        for step in steps.times() {
            let wanted = lookup.at(step);
            let Some(at) = edge.behind(times, wanted).checked_sub(1) else {
                continue;
            };
            let (time, value) = (times[at], one.floats.values[at]);
            if time > wanted.saturating_sub(lookback) && !is_stale(value) {
                floats.push(step, value_of(time, value));
            }
        }
        return (floats, histograms);
    }
    let (mut float, mut histogram) = (0, 0);
    for step in steps.times() {
        let wanted = lookup.at(step);
        let oldest = wanted.saturating_sub(lookback);
        while times.get(float).is_some_and(|time| *time <= wanted) {
            float += 1;
        }
        while one
            .histograms
            .get(histogram)
            .is_some_and(|(time, _)| *time <= wanted)
        {
            histogram += 1;
        }
        let last_float = float
            .checked_sub(1)
            .map(|at| (times[at], one.floats.values[at]));
        let last_histogram = histogram.checked_sub(1).map(|at| &one.histograms[at]);
        let float_time = last_float.map_or(i64::MIN, |(time, _)| time);
        match last_histogram {
            Some((time, found)) if *time > float_time => {
                if *time > oldest && !found.is_stale() {
                    histograms.push((step, Arc::clone(found)));
                }
            }
            _ => {
                if let Some((time, value)) = last_float
                    && time > oldest
                    && !is_stale(value)
                {
                    floats.push(step, value_of(time, value));
                }
            }
        }
    }
    (floats, histograms)
}

/// The value between two samples at a time.
pub(super) fn interpolate(a: (i64, f64), b: (i64, f64), time: i64, counter: bool) -> f64 {
    let start = if counter && b.1 < a.1 { 0.0 } else { a.1 };
    start + (b.1 - start) * (time - a.0) as f64 / (b.0 - a.0) as f64
}

/// `smoothed`: values between the sample before and the one after.
fn smooth(
    mut one: Series,
    lookback: i64,
    lookup: Lookup,
    steps: Steps,
) -> Result<Series, EvalError> {
    without_stale(&mut one);
    let samples = std::mem::take(&mut one.floats);
    for step in steps.times() {
        let wanted = lookup.at(step);
        let (from, to) = (
            wanted.saturating_sub(lookback),
            wanted.saturating_add(lookback),
        );
        if one
            .histograms
            .iter()
            .any(|(time, _)| *time > from && *time <= to)
        {
            return EvalError::query(
                "smoothed and anchored modifiers do not work with native histograms",
            );
        }
        let low = samples.times.partition_point(|time| *time <= from);
        let high = samples.times.partition_point(|time| *time <= to);
        let next = samples.times.partition_point(|time| *time < wanted);
        let sample = |at: usize| (samples.times[at], samples.values[at]);
        if next < high && samples.times[next] == wanted {
            one.floats.push(step, samples.values[next]);
        } else if next > low && next < high {
            let value = interpolate(sample(next - 1), sample(next), wanted, false);
            one.floats.push(step, value);
        } else if next > low {
            one.floats.push(step, samples.values[next - 1]);
        }
    }
    one.histograms.clear();
    Ok(one)
}
