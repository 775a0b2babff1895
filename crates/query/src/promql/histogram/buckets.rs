//! Buckets with their bounds.

use super::bounds::exponential;
use super::{Cell, Histogram, Layout};

/// A range of values and how many observations fell into it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to it.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to it.
    pub upper_inclusive: bool,
    /// The observations.
    pub count: f64,
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::promql::text::format_general as number;
        f.write_str(if self.lower_inclusive { "[" } else { "(" })?;
        write!(f, "{},{}", number(self.lower), number(self.upper))?;
        f.write_str(if self.upper_inclusive { "]" } else { ")" })?;
        write!(f, ":{}", number(self.count))
    }
}

impl<C: Cell> Layout<C> {
    /// The upper bound of a bucket on the positive side.
    pub(crate) fn bound(&self, index: i32) -> f64 {
        if !self.is_custom() {
            return exponential(index, self.schema);
        }
        match usize::try_from(index) {
            Ok(at) => self.bounds.get(at).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        }
    }
}

impl Histogram {
    fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (self.bound(index - 1), self.bound(index));
        let custom = self.is_custom();
        Bucket {
            lower,
            upper,
            lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
            upper_inclusive: custom || upper > 0.0,
            count,
        }
    }

    fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (-self.bound(index), -self.bound(index - 1));
        Bucket {
            lower,
            upper,
            lower_inclusive: lower < 0.0,
            upper_inclusive: upper > 0.0,
            count,
        }
    }

    fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// All buckets from the lowest up, with the bounds of their schema.
    pub fn plain_buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let below = self.negative.iter().rev();
        let above = self.positive.iter();
        below
            .map(|(index, count)| self.negative_bucket(*index, *count))
            .chain((!self.is_custom()).then(|| self.zero_bucket()))
            .chain(above.map(|(index, count)| self.positive_bucket(*index, *count)))
    }

    /// All buckets from the lowest up. Where one overlaps the zero bucket, it is cut there.
    pub fn buckets(&self) -> Vec<Bucket> {
        let zero = self.zero_threshold;
        let mut out = Vec::with_capacity(self.negative.len() + self.positive.len() + 1);
        for (index, count) in self.negative.iter().rev() {
            let mut bucket = self.negative_bucket(*index, *count);
            if bucket.upper < 0.0 && bucket.upper > -zero {
                bucket.upper = -zero;
            }
            out.push(bucket);
        }
        if self.zero_count > 0.0 {
            out.push(self.zero_bucket());
        }
        for (index, count) in &self.positive {
            let mut bucket = self.positive_bucket(*index, *count);
            if bucket.lower > 0.0 && bucket.lower < zero {
                bucket.lower = zero;
            }
            out.push(bucket);
        }
        out
    }
}
