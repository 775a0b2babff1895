//! Native histograms: sparse buckets of observations, with their arithmetic.
//!
//! Buckets are pairs of index and count, in order of the index. What the layout of spans in other
//! programs says is in the indices alone, so two histograms are equal if their pairs are.

mod arithmetic;
mod bounds;
mod buckets;
mod cell;
mod quantile;
mod reset;

use std::sync::Arc;

pub use arithmetic::Incompatible;
pub(crate) use arithmetic::Merged;
pub use bounds::CUSTOM;
pub use buckets::Bucket;
pub use cell::Cell;
pub(crate) use cell::{Compensated, add_compensated};
pub(crate) use quantile::{Findings, fraction, quantile};

/// What is known about a reset between a histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Nothing: it has to be found out.
    #[default]
    Unknown,
    /// There was a reset.
    Reset,
    /// There was none.
    NotReset,
    /// It is no counter.
    Gauge,
}

/// A histogram; `C` is a plain number, or one with its rounding error.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout<C> {
    /// About the histogram before.
    pub hint: ResetHint,
    /// -4 to 8 for exponential buckets, [`CUSTOM`] for bounds of its own.
    pub schema: i32,
    /// Observations this close to zero are in the zero bucket.
    pub zero_threshold: f64,
    /// How many those are.
    pub zero_count: C,
    /// All observations.
    pub count: C,
    /// Their sum.
    pub sum: C,
    /// Buckets above zero, by index.
    pub positive: Vec<(i32, C)>,
    /// Buckets below zero, by index, the one next to zero first.
    pub negative: Vec<(i32, C)>,
    /// Upper bounds if the schema is [`CUSTOM`], ascending.
    pub bounds: Arc<[f64]>,
}

/// A histogram of plain numbers.
pub type Histogram = Layout<f64>;

impl<C: Cell> Default for Layout<C> {
    fn default() -> Self {
        Self {
            hint: ResetHint::Unknown,
            schema: 0,
            zero_threshold: 0.0,
            zero_count: C::from(0.0),
            count: C::from(0.0),
            sum: C::from(0.0),
            positive: Vec::new(),
            negative: Vec::new(),
            bounds: Arc::from([]),
        }
    }
}

impl<C: Cell> Layout<C> {
    /// Whether it has bounds of its own.
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM
    }

    /// The same in other numbers.
    pub(crate) fn map<D>(&self, to: impl Fn(C) -> D) -> Layout<D> {
        let side = |side: &[(i32, C)]| side.iter().map(|(at, c)| (*at, to(*c))).collect();
        Layout {
            hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: to(self.zero_count),
            count: to(self.count),
            sum: to(self.sum),
            positive: side(&self.positive),
            negative: side(&self.negative),
            bounds: Arc::clone(&self.bounds),
        }
    }

    fn each(&mut self, mut change: impl FnMut(&mut C)) {
        change(&mut self.zero_count);
        change(&mut self.count);
        change(&mut self.sum);
        for (_, count) in self.positive.iter_mut().chain(&mut self.negative) {
            change(count);
        }
    }

    /// Multiplies every count and the sum.
    pub fn scale(&mut self, factor: f64) {
        self.each(|c| c.scale(factor));
        if factor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// Divides every count and the sum; division by zero leaves no buckets.
    pub fn divide(&mut self, divisor: f64) {
        self.each(|c| c.divide(divisor));
        if divisor == 0.0 {
            self.positive.clear();
            self.negative.clear();
        } else if divisor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// Drops empty buckets.
    pub fn compact(&mut self) {
        self.positive.retain(|(_, count)| count.value() != 0.0);
        self.negative.retain(|(_, count)| count.value() != 0.0);
    }
}

impl Histogram {
    /// Whether it marks the end of a series.
    pub fn is_stale(&self) -> bool {
        super::series::is_stale(self.sum)
    }

    /// How many plain samples it weighs in the limit of a query.
    pub(crate) fn weight(&self) -> usize {
        let spans = |side: &[(i32, f64)]| {
            side.windows(2)
                .filter(|pair| pair[0].0 + 1 != pair[1].0)
                .count()
                + usize::from(!side.is_empty())
        };
        let words = spans(&self.positive)
            + spans(&self.negative)
            + self.positive.len()
            + self.negative.len()
            + self.bounds.len();
        (168 + words * 8 + 8) / 16
    }

    /// Whether any number is infinite.
    pub(crate) fn overflows(&self) -> bool {
        let sides = self.positive.iter().chain(&self.negative);
        self.zero_count.is_infinite()
            || self.count.is_infinite()
            || self.sum.is_infinite()
            || sides.into_iter().any(|(_, count)| count.is_infinite())
            || self.bounds.iter().any(|bound| bound.is_infinite())
    }

    /// Whether both are the same data, bit by bit.
    pub fn same(&self, other: &Self) -> bool {
        let bits = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let side = |a: &[(i32, f64)], b: &[(i32, f64)]| {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.0 == y.0 && bits(x.1, y.1))
        };
        self.schema == other.schema
            && bits(self.count, other.count)
            && bits(self.sum, other.sum)
            && (!self.is_custom() || self.bounds == other.bounds)
            && self.zero_threshold == other.zero_threshold
            && bits(self.zero_count, other.zero_count)
            && side(&self.negative, &other.negative)
            && side(&self.positive, &other.positive)
    }
}

impl std::fmt::Display for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use super::text::format_general as number;
        write!(
            f,
            "{{count:{}, sum:{}",
            number(self.count),
            number(self.sum)
        )?;
        for bucket in self.plain_buckets().filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}
