//! Whether a counter started anew between two histograms.

use super::arithmetic::{map_to, shared_bounds};
use super::bounds::exponential;
use super::{Histogram, ResetHint};

impl Histogram {
    /// Whether this one cannot be `previous` with observations added.
    pub fn resets(&self, previous: &Self) -> bool {
        match self.hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.is_custom() {
            if !previous.is_custom() {
                return true;
            }
            if self.bounds != previous.bounds {
                return self.resets_in_shared_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (zero, threshold) = previous.zero_count_within(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero {
            // A populated bucket that lies across the new threshold could not have been there.
            return true;
        }
        let mut before = previous.clone();
        before.coarsen(self.schema);
        shrinks(
            &self.above_zero(&self.positive),
            &self.above_zero(&before.positive),
        ) || shrinks(
            &self.above_zero(&self.negative),
            &self.above_zero(&before.negative),
        )
    }

    /// The buckets that do not lie in the own zero bucket.
    fn above_zero(&self, side: &[(i32, f64)]) -> Vec<(i32, f64)> {
        let inside = |(index, _): &&(i32, f64)| {
            !self.is_custom()
                && self.zero_threshold != 0.0
                && exponential(*index, self.schema) <= self.zero_threshold
        };
        side.iter().skip_while(inside).copied().collect()
    }

    fn resets_in_shared_bounds(&self, previous: &Self) -> bool {
        let shared = shared_bounds(&self.bounds, &previous.bounds);
        let counts = |of: &Self| {
            let mut target = vec![0.0; shared.len() + 1];
            map_to(&mut target, &shared, &of.positive, &of.bounds, |count| {
                count
            });
            target
        };
        counts(self)
            .iter()
            .zip(counts(previous))
            .any(|(now, before)| *now < before)
    }
}

/// Whether any bucket holds less than before.
fn shrinks(now: &[(i32, f64)], before: &[(i32, f64)]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|(index, count)| {
        while now.next_if(|(at, _)| at < index).is_some() {}
        match now.peek() {
            Some((at, current)) if at == index => current < count,
            _ => *count != 0.0,
        }
    })
}
