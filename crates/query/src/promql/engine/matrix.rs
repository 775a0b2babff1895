//! Range selectors and subqueries: series with their samples, to slide windows over.

use std::sync::Arc;

use super::select::{Lookup, interpolate, pull};
use super::window::{Sliding, Steps, Window, without_stale};
use super::{Eval, EvalError, Hints, Stream, stream};
use crate::promql::ast::{Edges, Expr, Node, Subquery};
use crate::promql::histogram::ResetHint;
use crate::promql::labels::Labels;
use crate::promql::matcher::Matcher;
use crate::promql::series::{Samples, Series};

const MS: i64 = 1_000_000;

/// A range vector: a stream of series, and how wide the windows over it are.
pub(super) struct Ranges<'e> {
    pub(super) series: Stream<'e>,
    pub(super) lookup: Lookup,
    pub(super) range_ms: i64,
    pub(super) range_seconds: f64,
    pub(super) edges: Edges,
    /// How far the windows reach beyond the range, before and after.
    margin: (i64, i64),
}

impl Ranges<'_> {
    /// The first and the last edge of the range of a step, without margins.
    pub(super) fn range_at(&self, step: i64) -> (i64, i64) {
        let end = self.lookup.at(step);
        (end.saturating_sub(self.range_ms), end)
    }
}

/// The window of a step, margins included.
pub(super) fn window_at<'s>(
    sliding: &mut Sliding<'s>,
    (start, end): (i64, i64),
    margin: (i64, i64),
) -> Window<'s> {
    sliding.at(start.saturating_sub(margin.0), end.saturating_add(margin.1))
}

impl Ranges<'_> {
    pub(super) fn margin(&self) -> (i64, i64) {
        self.margin
    }
}

/// The range vector of an argument.
pub(super) fn ranges<'e>(
    eval: &'e Eval<'_>,
    expr: &'e Expr,
    steps: Steps,
    function: &'static str,
) -> Result<Ranges<'e>, EvalError> {
    match &expr.unwrapped().node {
        Node::Matrix(matrix) => {
            let range_ms = matrix.range_ns / MS;
            let edges = matrix.selector.edges;
            let lookback = eval.settings.lookback_ms;
            let margin = match edges {
                Edges::Plain => (0, 0),
                Edges::Anchored => (lookback, 0),
                Edges::Smoothed => (lookback, lookback),
            };
            let lookup = Lookup::new(&matrix.selector.shift, steps);
            let (first, last) = lookup.bounds();
            let hints = Hints {
                start: first.saturating_sub(range_ms).saturating_sub(margin.0) + 1,
                end: last.saturating_add(margin.1),
                step: steps.step,
                range: range_ms,
                // Beyond plain edges single samples are looked at.
                function: match edges {
                    Edges::Plain => function,
                    Edges::Anchored | Edges::Smoothed => "",
                },
            };
            let series = pull(eval, &matrix.selector, hints)?;
            let series = series.map(|one| {
                one.map(|mut one| {
                    without_stale(&mut one);
                    one
                })
            });
            Ok(Ranges {
                series: Box::new(series),
                lookup,
                range_ms,
                range_seconds: matrix.range_ns as f64 / 1e9,
                edges,
                margin,
            })
        }
        Node::Subquery(sub) => {
            let lookup = Lookup::new(&sub.shift, steps);
            let (first, last) = lookup.bounds();
            Ok(Ranges {
                series: evaluated(eval, sub, first, last)?,
                lookup,
                range_ms: sub.range_ns / MS,
                range_seconds: sub.range_ns as f64 / 1e9,
                edges: Edges::Plain,
                margin: (0, 0),
            })
        }
        _ => EvalError::query("expression is no range vector"),
    }
}

/// The series of a subquery whose ranges end from `first` to `last`, at multiples of its step.
fn evaluated<'e>(
    eval: &'e Eval<'_>,
    sub: &'e Subquery,
    first: i64,
    last: i64,
) -> Result<Stream<'e>, EvalError> {
    let range = sub.range_ns / MS;
    let step = if sub.step_ns == 0 {
        (eval.settings.default_step_ms)(range).max(1)
    } else {
        (sub.step_ns / MS).max(1)
    };
    let from = first.saturating_sub(range);
    let mut start = step.saturating_mul(from / step);
    if start <= from {
        start = start.saturating_add(step);
    }
    let steps = Steps {
        start,
        end: last,
        step,
    };
    if steps.count() == 0 {
        return Ok(Box::new(std::iter::empty()));
    }
    eval.check_steps(steps)?;
    let series = stream::stream(eval, &sub.expr, steps)?;
    Ok(Box::new(series.map(|one| {
        let mut one = one?;
        // Between the samples of a subquery there may be others: what they knew about resets
        // says nothing here.
        for (_, histogram) in &mut one.histograms {
            if matches!(histogram.hint, ResetHint::Reset | ResetHint::NotReset) {
                Arc::make_mut(histogram).hint = ResetHint::Unknown;
            }
        }
        Ok(one)
    })))
}

/// The samples of a range vector that is the whole query.
pub(super) fn raw(eval: &Eval<'_>, expr: &Expr, steps: Steps) -> Result<Vec<Series>, EvalError> {
    let ranges = ranges(eval, expr, steps, "")?;
    let range = ranges.range_at(steps.start);
    let (margin, edges) = (ranges.margin(), ranges.edges);
    let mut out = Vec::new();
    for one in ranges.series {
        let mut one = one?;
        let mut sliding = Sliding::new(&one);
        let window = window_at(&mut sliding, range, margin);
        let histograms = window.histograms.to_vec();
        let mut floats = Samples {
            times: window.times.to_vec(),
            values: window.values.to_vec(),
        };
        if edges != Edges::Plain {
            if !histograms.is_empty() {
                return EvalError::query("anchored modifier is not supported with histograms");
            }
            if !floats.is_empty() {
                floats = extended(&floats, range, edges == Edges::Smoothed);
            }
        }
        one.floats = floats;
        one.histograms = histograms;
        if !one.is_empty() {
            drop(eval.hold(one.weight())?);
            out.push(one);
        }
    }
    Ok(out)
}

/// The samples inside a range and one at each of its edges.
fn extended(samples: &Samples, (start, end): (i64, i64), smoothed: bool) -> Samples {
    let edges = Extended::new(&samples.times, start, end, smoothed);
    let Some(edges) = edges else {
        return Samples::default();
    };
    let (left, right) = edges.values(&samples.times, &samples.values, false);
    let mut out = Samples::default();
    out.push(start, left);
    for at in edges.inside(&samples.times) {
        out.push(samples.times[at], samples.values[at]);
    }
    out.push(end, right);
    out
}

/// Which samples an extended range rests on.
#[derive(Clone, Copy)]
pub(super) struct Extended {
    first: usize,
    last: usize,
    start: i64,
    end: i64,
    smoothed: bool,
}

impl Extended {
    /// None if nothing is later than the start.
    pub(super) fn new(times: &[i64], start: i64, end: i64, smoothed: bool) -> Option<Self> {
        let mut last = times.len().checked_sub(1)?;
        let first = times[..last]
            .partition_point(|time| *time <= start)
            .saturating_sub(1);
        if smoothed {
            last = times[..last].partition_point(|time| *time < end);
        }
        (times[last] > start).then_some(Self {
            first,
            last,
            start,
            end,
            smoothed,
        })
    }

    /// The values at both edges.
    pub(super) fn values(&self, times: &[i64], values: &[f64], counter: bool) -> (f64, f64) {
        let sample = |at: usize| (times[at], values[at]);
        let left = if self.smoothed && times[self.first] < self.start {
            interpolate(
                sample(self.first),
                sample(self.first + 1),
                self.start,
                counter,
            )
        } else {
            values[self.first]
        };
        let right = if self.smoothed && self.last > 0 && times[self.last] > self.end {
            interpolate(sample(self.last - 1), sample(self.last), self.end, counter)
        } else {
            values[self.last]
        };
        (left, right)
    }

    /// The samples between the edges.
    pub(super) fn inside(&self, times: &[i64]) -> std::ops::Range<usize> {
        let first = if times[self.first] <= self.start {
            self.first + 1
        } else {
            self.first
        };
        let end = if times[self.last] >= self.end {
            self.last
        } else {
            self.last + 1
        };
        first..end.max(first)
    }
}

/// The labels that a selector fixes exactly: those of the series that is absent.
pub(super) fn fixed_labels(expr: &Expr) -> Labels {
    let matchers: &[Matcher] = match &expr.unwrapped().node {
        Node::Vector(selector) => &selector.matchers,
        Node::Matrix(matrix) => &matrix.selector.matchers,
        _ => &[],
    };
    let mut seen: Vec<&str> = Vec::new();
    let mut out = Labels::default();
    for matcher in matchers.iter().filter(|matcher| matcher.name != "__name__") {
        if matcher.op == crate::promql::matcher::MatchOp::Equal
            && !seen.contains(&matcher.name.as_str())
        {
            out = out.with(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            out = out.with(&matcher.name, "");
        }
    }
    out
}
