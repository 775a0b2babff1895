//! Series of samples.

use std::sync::Arc;

use super::histogram::Histogram;
use super::labels::Labels;

/// The bits of the value that ends a series: it was there and is gone.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The value that marks the end of a series.
pub fn stale() -> f64 {
    f64::from_bits(STALE)
}

/// Whether a value marks the end of a series.
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

/// Plain samples in two columns of the same length, in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Milliseconds since the epoch.
    pub times: Vec<i64>,
    /// The values.
    pub values: Vec<f64>,
}

impl Samples {
    /// None, with room for some.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self {
            times: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
        }
    }

    /// Adds a sample behind the others.
    #[inline]
    pub fn push(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The samples as pairs.
    pub fn iter(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.times.iter().copied().zip(self.values.iter().copied())
    }
}

/// A histogram at a time, in milliseconds since the epoch.
pub type HistogramSample = (i64, Arc<Histogram>);

/// How the plain samples of a series stand for others that were not read: each one for those of an
/// interval of time that ends with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Downsampled {
    /// How long the intervals are, in milliseconds; they begin right behind its multiples.
    pub resolution_ms: i64,
    /// For how many samples each one stands, markers of staleness left out.
    pub counts: Vec<u32>,
    /// Whether windows may begin or end within an interval.
    pub cut: bool,
    /// Whether the function needs more than what is left of the samples.
    pub lossy: bool,
}

/// A series: what it is, and its samples.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// What it is.
    pub labels: Labels,
    /// Its plain samples.
    pub floats: Samples,
    /// Its histograms, in order of time.
    pub histograms: Vec<HistogramSample>,
    /// Set where plain samples stand for others.
    pub downsampled: Option<Box<Downsampled>>,
    /// Whether the name has lost its meaning and goes at the end of the query.
    pub(crate) drop_name: bool,
}

impl Series {
    /// A series without samples.
    pub fn new(labels: Labels) -> Self {
        Self {
            labels,
            ..Self::default()
        }
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// What it weighs in the limit of a query: one for a plain sample, more for a histogram.
    pub(crate) fn weight(&self) -> usize {
        self.floats.len()
            + self
                .histograms
                .iter()
                .map(|(_, h)| h.weight())
                .sum::<usize>()
    }

    #[inline]
    pub(crate) fn push(&mut self, time: i64, value: Value) {
        match value {
            Value::Float(value) => self.floats.push(time, value),
            Value::Histogram(histogram) => self.histograms.push((time, histogram)),
        }
    }
}

/// One value: a number or a histogram.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Float(f64),
    Histogram(Arc<Histogram>),
}
