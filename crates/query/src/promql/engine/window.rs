//! The times an expression is evaluated at, and windows that slide over samples.

use std::collections::VecDeque;

use super::Hints;
use crate::promql::series::{HistogramSample, Samples, Series, is_stale};

/// So many values are looked at without a jump.
const MANY: usize = 64;

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

    /// Between two of them, as a plain selector's source is told.
    pub(super) fn apart(self) -> i64 {
        match self.count() {
            0 | 1 => Hints::ONCE,
            _ => self.step,
        }
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

    /// When one of them is.
    pub(super) fn time(self, step: usize) -> i64 {
        self.start + step as i64 * self.step
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
    /// For how many samples each plain one stands; empty where each is one.
    pub(super) counts: &'a [u32],
    /// Plain samples stand for some that may lie beyond the edges.
    pub(super) cut: bool,
    /// Of how many plain samples the one before, within the window too, is known to differ as the
    /// function asks; none where that was not looked for.
    pub(super) marked: Option<usize>,
    /// Which plain sample no other one beats, where that was looked for.
    pub(super) best: Option<usize>,
}

impl Window<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty() && self.histograms.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.times.len() + self.histograms.len()
    }

    /// For how many samples they stand.
    pub(super) fn count(&self) -> u64 {
        if self.counts.is_empty() {
            return self.len() as u64;
        }
        let counts = self.counts.iter().map(|count| u64::from(*count));
        counts.sum::<u64>() + self.histograms.len() as u64
    }
}

/// A window over one series whose edges only move forwards.
pub(super) struct Sliding<'a> {
    floats: &'a Samples,
    counts: &'a [u32],
    cut: bool,
    histograms: &'a [HistogramSample],
    float_edges: (Edge, Edge),
    histogram_edges: (usize, usize),
    /// Which values differ from the one before, where that was looked for, and the first and the
    /// last of them that count.
    marks: Option<(Vec<usize>, usize, usize)>,
    best: Option<Best>,
}

/// The samples of a window that none behind them beats, in order: the first is the best one.
struct Best {
    beats: fn(f64, f64) -> bool,
    places: VecDeque<usize>,
    /// The first sample that was not looked at.
    next: usize,
}

impl Best {
    /// The best one of a window that only moves forwards, by its place. Numbers beat what is none.
    fn of(&mut self, values: &[f64], (low, high): (usize, usize)) -> Option<usize> {
        while self.places.front().is_some_and(|at| *at < low) {
            self.places.pop_front();
        }
        for at in self.next.max(low)..high {
            if values[at].is_nan() {
                continue;
            }
            let beaten = |last: &usize| (self.beats)(values[at], values[*last]);
            while self.places.back().is_some_and(beaten) {
                self.places.pop_back();
            }
            self.places.push_back(at);
        }
        self.next = self.next.max(high);
        let best = self.places.front().copied();
        best.or(high.checked_sub(1))
            .and_then(|at| at.checked_sub(low))
    }
}

impl<'a> Sliding<'a> {
    pub(super) fn new(series: &'a Series) -> Self {
        Self {
            floats: &series.floats,
            counts: series.downsampled.as_ref().map_or(&[], |one| &one.counts),
            cut: series.downsampled.as_ref().is_some_and(|one| one.cut),
            histograms: &series.histograms,
            float_edges: Default::default(),
            histogram_edges: (0, 0),
            marks: None,
            best: None,
        }
    }

    /// Windows that tell which sample is the best one.
    pub(super) fn ranking(series: &'a Series, beats: fn(f64, f64) -> bool) -> Self {
        Self {
            best: Some(Best {
                beats,
                places: VecDeque::new(),
                next: 0,
            }),
            ..Self::new(series)
        }
    }

    /// Windows that tell how many values `differ` from the one before.
    pub(super) fn marking(series: &'a Series, differ: impl Fn(f64, f64) -> bool) -> Self {
        let values = &series.floats.values;
        let mut marks = Vec::new();
        let pairs = |from: usize, to: usize| values[from - 1..].iter().zip(&values[from..to]);
        for from in (1..values.len()).step_by(MANY) {
            let to = values.len().min(from + MANY);
            // Without a jump, several at once: mostly there is none.
            let any = pairs(from, to).fold(false, |any, (a, b)| any | differ(*a, *b));
            if any {
                let at = (from..to).zip(pairs(from, to));
                marks.extend(at.filter(|(_, (a, b))| differ(**a, **b)).map(|(at, _)| at));
            }
        }
        Self {
            marks: Some((marks, 0, 0)),
            ..Self::new(series)
        }
    }

    /// The samples in `(from, to]`; neither edge may lie before the last one.
    #[inline]
    pub(super) fn at(&mut self, from: i64, to: i64) -> Window<'a> {
        let times = &self.floats.times;
        let low = self.float_edges.0.behind(times, from);
        self.float_edges.1.at = self.float_edges.1.at.max(low);
        let high = self.float_edges.1.behind(times, to);
        let histograms = self.histograms;
        let (mut first, mut last) = self.histogram_edges;
        if !histograms.is_empty() {
            let time = |at: usize| histograms.get(at).map(|(time, _)| *time);
            (first, last) = slide(self.histogram_edges, from, to, time);
            self.histogram_edges = (first, last);
        }
        let marked = self.marks.as_mut().map(|(marks, first, end)| {
            while marks.get(*first).is_some_and(|at| *at <= low) {
                *first += 1;
            }
            *end = (*end).max(*first);
            while marks.get(*end).is_some_and(|at| *at < high) {
                *end += 1;
            }
            *end - *first
        });
        let values = &self.floats.values;
        let best = self.best.as_mut();
        Window {
            best: best.and_then(|best| best.of(values, (low, high))),
            marked,
            times: &times[low..high],
            values: &values[low..high],
            histograms: &histograms[first..last],
            counts: self.counts.get(low..high).unwrap_or_default(),
            cut: self.cut,
        }
    }
}

/// A place in times that only moves forwards.
#[derive(Clone, Copy, Default)]
pub(super) struct Edge {
    at: usize,
    /// How far it moved the last time: as far the next time, mostly.
    moved: usize,
}

impl Edge {
    /// Moves to the first time behind `bound`.
    #[inline]
    pub(super) fn behind(&mut self, times: &[i64], bound: i64) -> usize {
        let begin = self.at;
        let guess = begin + self.moved;
        if guess > begin && times.get(guess - 1).is_some_and(|time| *time <= bound) {
            self.at = guess;
        }
        while times.get(self.at).is_some_and(|time| *time <= bound) {
            self.at += 1;
        }
        self.moved = self.at - begin;
        self.at
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
    let stale = |values: &[f64]| {
        values
            .iter()
            .fold(false, |any, value| any | is_stale(*value))
    };
    if series.floats.values.chunks(MANY).any(stale) {
        if let Some(down) = &mut series.downsampled {
            let mut values = series.floats.values.iter();
            let mut kept = || values.next().is_none_or(|value| !is_stale(*value));
            down.counts.retain(|_| kept());
        }
        let kept = series.floats.iter().filter(|(_, value)| !is_stale(*value));
        let (times, values) = kept.unzip();
        series.floats = Samples { times, values };
    }
    series
        .histograms
        .retain(|(_, histogram)| !histogram.is_stale());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_that_move_tell_what_a_look_at_them_tells(
            samples in prop::collection::vec(
                (1i64..4, prop_oneof![Just(f64::NAN), Just(-0.0), (-2i32..3).prop_map(f64::from)]),
                0..200,
            ),
            moves in prop::collection::vec((0i64..12, 0i64..12), 0..60),
        ) {
            let mut series = Series::default();
            let mut time = 0;
            for (step, value) in samples {
                time += step;
                series.floats.push(time, value);
            }
            let ways: [fn(f64, f64) -> bool; 4] =
                [|a, b| a > b, |a, b| a < b, |a, b| a >= b, |a, b| a <= b];
            for beats in ways {
                let mut sliding = Sliding::ranking(&series, beats);
                let (mut from, mut to) = (0, 0);
                for (low, high) in &moves {
                    from += low;
                    to = (to + high).max(from);
                    let window = sliding.at(from, to);
                    let mut best: Option<usize> = None;
                    for (at, value) in window.values.iter().enumerate() {
                        let now = best.map(|at| window.values[at]);
                        if now.is_none_or(|now| beats(*value, now) || now.is_nan()) {
                            best = Some(at);
                        }
                    }
                    prop_assert_eq!(window.best, best);
                }
            }
            for differ in ways {
                let mut sliding = Sliding::marking(&series, differ);
                let (mut from, mut to) = (0, 0);
                for (low, high) in &moves {
                    from += low;
                    to = (to + high).max(from);
                    let window = sliding.at(from, to);
                    let pairs = window.values.windows(2);
                    let count = pairs.filter(|pair| differ(pair[0], pair[1])).count();
                    prop_assert_eq!(window.marked, Some(count));
                }
            }
        }
    }
}
