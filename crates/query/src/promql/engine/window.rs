//! The times an expression is evaluated at, and windows that slide over samples.

use crate::promql::series::{HistogramSample, Samples, Series, is_stale};

/// The times of an evaluation, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) step: i64,
}

impl Steps {
    /// How many there are.
    pub(super) fn count(self) -> usize {
        if self.end < self.start {
            return 0;
        }
        let steps = self.end.abs_diff(self.start) / self.step.unsigned_abs().max(1);
        usize::try_from(steps)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    }

    /// All of them.
    pub(super) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.count() as i64).map(move |at| self.start + at * self.step)
    }

    /// The last one.
    pub(super) fn last(self) -> i64 {
        self.start + (self.count() as i64 - 1).max(0) * self.step
    }

    /// Which one a time is.
    pub(super) fn index(self, time: i64) -> usize {
        ((time - self.start) / self.step) as usize
    }

    /// The first one alone.
    pub(super) fn first(self) -> Self {
        Self {
            end: self.start,
            ..self
        }
    }
}

/// The samples of a window: later than its start, not later than its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a> {
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    pub(super) histograms: &'a [HistogramSample],
}

impl Window<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty() && self.histograms.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.times.len() + self.histograms.len()
    }
}

/// A window over one series whose edges only move forwards.
pub(super) struct Sliding<'a> {
    floats: &'a Samples,
    histograms: &'a [HistogramSample],
    float_edges: (usize, usize),
    histogram_edges: (usize, usize),
}

impl<'a> Sliding<'a> {
    pub(super) fn new(series: &'a Series) -> Self {
        Self {
            floats: &series.floats,
            histograms: &series.histograms,
            float_edges: (0, 0),
            histogram_edges: (0, 0),
        }
    }

    /// The samples in `(from, to]`; neither edge may lie before the last one.
    pub(super) fn at(&mut self, from: i64, to: i64) -> Window<'a> {
        let times = &self.floats.times;
        let (low, high) = slide(self.float_edges, from, to, |at| times.get(at).copied());
        self.float_edges = (low, high);
        let histograms = self.histograms;
        let time = |at: usize| histograms.get(at).map(|(time, _)| *time);
        let (first, last) = slide(self.histogram_edges, from, to, time);
        self.histogram_edges = (first, last);
        Window {
            times: &times[low..high],
            values: &self.floats.values[low..high],
            histograms: &histograms[first..last],
        }
    }
}

fn slide(
    (mut low, mut high): (usize, usize),
    from: i64,
    to: i64,
    time: impl Fn(usize) -> Option<i64>,
) -> (usize, usize) {
    while time(low).is_some_and(|time| time <= from) {
        low += 1;
    }
    high = high.max(low);
    while time(high).is_some_and(|time| time <= to) {
        high += 1;
    }
    (low, high)
}

/// Drops the markers that end a series: ranges do not hold them.
pub(super) fn without_stale(series: &mut Series) {
    if series.floats.values.iter().any(|value| is_stale(*value)) {
        let kept = series.floats.iter().filter(|(_, value)| !is_stale(*value));
        let (times, values) = kept.unzip();
        series.floats = Samples { times, values };
    }
    series
        .histograms
        .retain(|(_, histogram)| !histogram.is_stale());
}
