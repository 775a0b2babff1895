//! The numbers in histograms: plain ones, and ones that carry their rounding error.

/// Adds with Neumaier's form of compensated summation: the new sum and the new error.
///
/// Upstream keeps it out of line, since a compiler of Go may fuse a multiplication with an addition,
/// and other bits come out; compilers of Rust may not. Both choices are without a jump: which number
/// is the larger one follows no pattern.
#[inline]
pub(crate) fn add_compensated(add: f64, sum: f64, error: f64) -> (f64, f64) {
    let total = sum + add;
    let (large, small) = match sum.abs() >= add.abs() {
        true => (sum, add),
        false => (add, sum),
    };
    let lost = error + ((large - total) + small);
    (total, if total.is_infinite() { 0.0 } else { lost })
}

/// A number that can be added up.
pub trait Cell: Copy + From<f64> + PartialEq {
    /// Adds another one, error and all.
    fn add(&mut self, other: Self);
    /// Its negative.
    fn negated(self) -> Self;
    /// Multiplies it.
    fn scale(&mut self, factor: f64);
    /// Divides it.
    fn divide(&mut self, divisor: f64);
    /// The number without its error.
    fn value(self) -> f64;
}

impl Cell for f64 {
    fn add(&mut self, other: Self) {
        *self += other;
    }

    fn negated(self) -> Self {
        -self
    }

    fn scale(&mut self, factor: f64) {
        *self *= factor;
    }

    fn divide(&mut self, divisor: f64) {
        *self /= divisor;
    }

    fn value(self) -> f64 {
        self
    }
}

/// A sum with the error that rounding has made so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Compensated {
    pub(crate) sum: f64,
    pub(crate) error: f64,
}

impl From<f64> for Compensated {
    fn from(sum: f64) -> Self {
        Self { sum, error: 0.0 }
    }
}

impl Cell for Compensated {
    fn add(&mut self, other: Self) {
        for part in [other.sum, other.error] {
            (self.sum, self.error) = add_compensated(part, self.sum, self.error);
        }
    }

    fn negated(self) -> Self {
        Self {
            sum: -self.sum,
            error: -self.error,
        }
    }

    fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.error *= factor;
    }

    fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        self.error /= divisor;
    }

    fn value(self) -> f64 {
        self.sum
    }
}
