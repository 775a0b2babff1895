//! Spans that stand for a point of a series: the ones that took longest, or of which most was
//! measured.

use super::MetricSeries;
use super::cell::number;
use crate::traceql::model::{Span, SpanId, TraceId};
use crate::traceql::value::Value;
use std::collections::BTreeMap;

/// Examples are gathered in so many more places than are told, as they are shared out in the end.
const SPARE: usize = 8;

/// A span behind a point of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub span: SpanId,
    /// When it began, in nanoseconds since the epoch.
    pub at_ns: u64,
    /// What was measured of it; the point's own value where spans are only counted.
    pub value: f64,
}

/// The longest span of each interval and size of one group.
#[derive(Default)]
pub(super) struct Examples(BTreeMap<(usize, i32), (f64, Example)>);

/// How many examples there may still be.
pub(super) struct Room(usize);

impl Room {
    pub(super) fn of(wanted: usize) -> Self {
        Self(wanted.saturating_mul(SPARE))
    }
}

impl Examples {
    /// Takes a span of an interval; `sized` where spans of other sizes are of other series.
    pub(super) fn see(
        &mut self,
        step: usize,
        sized: bool,
        value: Option<&Value>,
        (trace, span): (TraceId, &Span),
        room: &mut Room,
    ) {
        let measured = value.map(|value| number(Some(value)));
        let size = match measured {
            Some(n) if sized && n > 0.0 => n.log2().ceil() as i32,
            _ => 0,
        };
        let rank = measured.unwrap_or(span.duration_ns as f64);
        let place = self.0.entry((step, size));
        let example = || Example {
            trace,
            span: span.id,
            at_ns: span.start_ns,
            value: measured.unwrap_or(f64::NAN),
        };
        match place {
            std::collections::btree_map::Entry::Occupied(mut known) => {
                if rank > known.get().0 {
                    known.insert((rank, example()));
                }
            }
            std::collections::btree_map::Entry::Vacant(free) if room.0 > 0 => {
                room.0 -= 1;
                free.insert((rank, example()));
            }
            std::collections::btree_map::Entry::Vacant(_) => {}
        }
    }

    /// Shares them out among the series of the group: each goes to the one whose point is nearest
    /// to it, and from above where these are bounds.
    pub(super) fn share(self, series: &mut [MetricSeries], bounds: &[f64]) {
        for ((step, _), (_, mut example)) in self.0 {
            let point = |one: &MetricSeries| one.values.get(step).copied().flatten();
            let at = match bounds {
                [] => {
                    let near = series.iter().enumerate().filter_map(|(at, one)| {
                        let value = point(one)?;
                        let far = (value - example.value).abs();
                        Some((at, if far.is_nan() { 0.0 } else { far }))
                    });
                    near.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
                }
                bounds => bounds.iter().position(|bound| example.value <= *bound),
            };
            let Some(one) = at.and_then(|at| series.get_mut(at)) else {
                continue;
            };
            if example.value.is_nan() {
                example.value = point(one).unwrap_or(0.0);
            }
            one.examples.push((step, example));
        }
    }
}

/// Leaves so many in all, one after the other of each series, and none where there is no point.
pub(super) fn keep(series: &mut [MetricSeries], most: usize) {
    for one in series.iter_mut() {
        let values = &one.values;
        let there = |step: usize| values.get(step).copied().flatten().is_some();
        one.examples.retain(|(step, _)| there(*step));
    }
    let (mut left, mut round) = (most, 0);
    let longest = series.iter().map(|one| one.examples.len()).max();
    let longest = longest.unwrap_or(0);
    let mut kept = vec![0; series.len()];
    while left > 0 && round < longest {
        for (one, kept) in series.iter().zip(&mut kept) {
            if one.examples.len() > round && left > 0 {
                *kept += 1;
                left -= 1;
            }
        }
        round += 1;
    }
    for (one, kept) in series.iter_mut().zip(kept) {
        thin(&mut one.examples, kept);
    }
}

/// Leaves so many of a list, from all over it.
fn thin<T>(list: &mut Vec<T>, count: usize) {
    let all = list.len();
    let mut at = 0;
    list.retain(|_| {
        // As many as are due up to here.
        let due = |n: usize| (n * count).div_ceil(all.max(1));
        let stays = due(at + 1) > due(at);
        at += 1;
        stays
    });
}

#[cfg(test)]
mod tests {
    use super::thin;

    #[test]
    fn what_is_left_is_from_all_over() {
        for (all, count) in [(10, 3), (3, 3), (7, 1), (5, 0), (100, 99), (1, 1)] {
            let mut list: Vec<usize> = (0..all).collect();
            thin(&mut list, count);
            assert_eq!(list.len(), count, "{all} {count}");
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
