//! Sums and differences of histograms.
//!
//! Two exponential histograms meet in the coarser schema and in a zero bucket wide enough for
//! both; two with bounds of their own meet in the bounds they share.

use std::sync::Arc;

use super::bounds::{CUSTOM, exponential};
use super::{Cell, Histogram, Layout, ResetHint};

/// One histogram has exponential buckets, the other bounds of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot merge histograms with exponential and custom buckets")]
pub struct Incompatible;

/// What had to be given up to merge two histograms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Merged {
    /// One said there was a reset, the other that there was none.
    pub(crate) resets_collide: bool,
    /// Bounds were reduced to the shared ones.
    pub(crate) bounds_reconciled: bool,
}

impl Histogram {
    /// Adds another histogram.
    ///
    /// # Errors
    /// One has bounds of its own and the other has none.
    pub fn accumulate(&mut self, other: &Histogram) -> Result<(), Incompatible> {
        self.add(other).map(drop)
    }
}

impl<C: Cell> Layout<C> {
    /// Adds another histogram.
    pub(crate) fn add(&mut self, other: &Histogram) -> Result<Merged, Incompatible> {
        self.merge(other, false)
    }

    /// Subtracts another histogram.
    pub(crate) fn subtract(&mut self, other: &Histogram) -> Result<Merged, Incompatible> {
        self.merge(other, true)
    }

    fn merge(&mut self, other: &Histogram, minus: bool) -> Result<Merged, Incompatible> {
        if self.is_custom() != other.is_custom() {
            return Err(Incompatible);
        }
        let mut merged = Merged {
            resets_collide: self.merge_hint(other.hint),
            bounds_reconciled: false,
        };
        let sign = |cell: C| if minus { cell.negated() } else { cell };
        let mut other = other.map(C::from);
        if !self.is_custom() {
            let zero = self.reconcile_zero(&other);
            self.zero_count.add(sign(zero));
        }
        self.count.add(sign(other.count));
        self.sum.add(sign(other.sum));
        if self.is_custom() {
            if self.bounds == other.bounds {
                self.positive = add_sides(&self.positive, &other.positive, sign);
            } else {
                merged.bounds_reconciled = true;
                let shared = shared_bounds(&self.bounds, &other.bounds);
                let mut target = vec![C::from(0.0); shared.len() + 1];
                map_to(&mut target, &shared, &self.positive, &self.bounds, |cell| {
                    cell
                });
                map_to(&mut target, &shared, &other.positive, &other.bounds, sign);
                self.positive = (0..)
                    .zip(target)
                    .filter(|(_, c)| *c != C::from(0.0))
                    .collect();
                self.bounds = shared;
            }
            return Ok(merged);
        }
        if other.schema < self.schema {
            self.coarsen(other.schema);
        } else if other.schema > self.schema {
            other.coarsen(self.schema);
        }
        let (schema, zero) = (self.schema, self.zero_threshold);
        for side in [&mut other.positive, &mut other.negative] {
            let within = side
                .iter()
                .take_while(|(at, _)| exponential(*at, schema) <= zero)
                .count();
            side.drain(..within);
        }
        self.positive = add_sides(&self.positive, &other.positive, sign);
        self.negative = add_sides(&self.negative, &other.negative, sign);
        Ok(merged)
    }

    fn merge_hint(&mut self, other: ResetHint) -> bool {
        match (self.hint, other) {
            (a, b) if a == b => false,
            (ResetHint::Gauge, _)
            | (ResetHint::Unknown, ResetHint::Reset | ResetHint::NotReset) => false,
            (_, ResetHint::Gauge) => {
                self.hint = ResetHint::Gauge;
                false
            }
            (_, ResetHint::Unknown) => {
                self.hint = ResetHint::Unknown;
                false
            }
            _ => {
                self.hint = ResetHint::Unknown;
                true
            }
        }
    }

    /// Merges buckets until the schema is reached; only for exponential schemas.
    pub(crate) fn coarsen(&mut self, schema: i32) {
        if self.is_custom() || schema == CUSTOM || schema >= self.schema {
            return;
        }
        let shift = (self.schema - schema).min(31);
        for side in [&mut self.positive, &mut self.negative] {
            let mut out: Vec<(i32, C)> = Vec::with_capacity(side.len());
            for (index, count) in side.iter() {
                let target = ((index - 1) >> shift) + 1;
                match out.last_mut() {
                    Some((last, sum)) if *last == target => sum.add(*count),
                    _ => out.push((target, *count)),
                }
            }
            *side = out;
        }
        self.schema = schema;
    }

    /// Widens the own zero bucket until both agree; gives the other's count in it.
    fn reconcile_zero(&mut self, other: &Self) -> C {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold != self.zero_threshold {
            if self.zero_threshold > threshold {
                (count, threshold) = other.zero_count_within(self.zero_threshold);
            }
            if threshold > self.zero_threshold {
                (self.zero_count, self.zero_threshold) = self.zero_count_within(threshold);
                self.drop_within_zero();
            }
            if threshold.is_nan() || self.zero_threshold.is_nan() {
                break;
            }
        }
        count
    }

    /// The count of a zero bucket of at least that width, and its width: where the threshold falls
    /// into a populated bucket, the whole bucket is taken in.
    pub(crate) fn zero_count_within(&self, threshold: f64) -> (C, f64) {
        let mut threshold = threshold;
        if threshold <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold.max(threshold));
        }
        'widen: loop {
            let mut zero = self.zero_count;
            for (index, count) in &self.positive {
                if self.bound(index - 1) >= threshold {
                    break;
                }
                zero.add(*count);
                let upper = self.bound(*index);
                if upper > threshold {
                    if count.value() != 0.0 {
                        threshold = upper;
                    }
                    break;
                }
            }
            for (index, count) in &self.negative {
                if self.bound(index - 1) >= threshold {
                    break;
                }
                zero.add(*count);
                let far = self.bound(*index);
                if far > threshold {
                    if count.value() != 0.0 {
                        // The positive side was counted for a smaller threshold.
                        threshold = far;
                        continue 'widen;
                    }
                    break;
                }
            }
            return (zero, threshold);
        }
    }

    fn drop_within_zero(&mut self) {
        let (schema, zero) = (self.schema, self.zero_threshold);
        for side in [&mut self.positive, &mut self.negative] {
            side.retain(|(index, count)| {
                exponential(index - 1, schema) >= zero && count.value() != 0.0
            });
        }
    }
}

fn add_sides<C: Cell>(a: &[(i32, C)], b: &[(i32, C)], sign: impl Fn(C) -> C) -> Vec<(i32, C)> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.0 == y.0 => {
                let mut sum = x.1;
                sum.add(sign(y.1));
                out.push((x.0, sum));
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x.0 < y.0 => {
                out.push(**x);
                a.next();
            }
            (Some(x), None) => {
                out.push(**x);
                a.next();
            }
            (_, Some(y)) => {
                out.push((y.0, sign(y.1)));
                b.next();
            }
            (None, None) => return out,
        }
    }
}

/// The bounds that both have.
pub(super) fn shared_bounds(a: &[f64], b: &[f64]) -> Arc<[f64]> {
    let mut others = b.iter().peekable();
    a.iter()
        .filter(|bound| {
            while others.next_if(|other| *other < *bound).is_some() {}
            others.peek() == Some(bound)
        })
        .copied()
        .collect()
}

/// Adds buckets to the targets that hold them; the last target is open.
pub(super) fn map_to<C: Cell>(
    target: &mut [C],
    shared: &[f64],
    side: &[(i32, C)],
    bounds: &[f64],
    sign: impl Fn(C) -> C,
) {
    let mut at = 0;
    for (index, count) in side {
        let bound = usize::try_from(*index)
            .ok()
            .and_then(|index| bounds.get(index));
        let slot = match bound {
            None => shared.len(),
            Some(bound) => {
                while at < shared.len() && shared[at] < *bound {
                    at += 1;
                }
                at
            }
        };
        target[slot].add(sign(*count));
    }
}
