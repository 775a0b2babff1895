//! What is kept of the spans of one series and interval.

use crate::traceql::ast::MetricsFunction;
use crate::traceql::value::Value;
use std::collections::BTreeMap;

/// Neighbouring buckets of quantiles differ by this factor: an error of 1 % at most.
const FACTOR: f64 = 1.02;

pub(super) enum Cell {
    Count(u64),
    Least(f64),
    Greatest(f64),
    Sum(f64),
    Mean(f64, u64),
    /// Logarithmic buckets; of zero and below in the lowest.
    Quantiles(BTreeMap<i32, u64>, u64),
    /// Upper bounds that are powers of two, as exponents.
    Histogram(BTreeMap<i32, u64>),
}

/// Durations count in seconds.
pub(super) fn number(value: Option<&Value>) -> f64 {
    match value {
        Some(Value::Duration(ns)) => *ns as f64 / 1e9,
        Some(value) => value.number().unwrap_or(0.0),
        None => 0.0,
    }
}

impl Cell {
    pub(super) fn new(function: Option<&MetricsFunction>) -> Self {
        match function {
            Some(MetricsFunction::Min(_)) => Self::Least(f64::INFINITY),
            Some(MetricsFunction::Max(_)) => Self::Greatest(f64::NEG_INFINITY),
            Some(MetricsFunction::Sum(_)) => Self::Sum(0.0),
            Some(MetricsFunction::Avg(_)) => Self::Mean(0.0, 0),
            Some(MetricsFunction::Quantile(..)) => Self::Quantiles(BTreeMap::new(), 0),
            Some(MetricsFunction::Histogram(_)) => Self::Histogram(BTreeMap::new()),
            _ => Self::Count(0),
        }
    }

    pub(super) fn add(&mut self, value: Option<&Value>) {
        let n = number(value);
        match self {
            Self::Count(count) => *count += 1,
            Self::Least(least) => *least = least.min(n),
            Self::Greatest(greatest) => *greatest = greatest.max(n),
            Self::Sum(sum) => *sum += n,
            Self::Mean(sum, count) => {
                *sum += n;
                *count += 1;
            }
            Self::Quantiles(buckets, count) => {
                let bucket = if n > 0.0 {
                    (n.ln() / FACTOR.ln()).ceil() as i32
                } else {
                    i32::MIN
                };
                *buckets.entry(bucket).or_default() += 1;
                *count += 1;
            }
            Self::Histogram(buckets) => {
                let bucket = if n > 0.0 {
                    n.log2().ceil() as i32
                } else {
                    i32::MIN
                };
                *buckets.entry(bucket).or_default() += 1;
            }
        }
    }

    pub(super) fn count(&self) -> f64 {
        match self {
            Self::Count(count) => *count as f64,
            _ => 0.0,
        }
    }

    pub(super) fn value(&self) -> Option<f64> {
        match self {
            Self::Least(n) | Self::Greatest(n) | Self::Sum(n) => Some(*n),
            Self::Mean(sum, count) => Some(sum / *count as f64),
            _ => None,
        }
    }

    /// The value below which so large a share lies.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let Self::Quantiles(buckets, count) = self else {
            return None;
        };
        let rank = ((share * *count as f64).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, inside) in buckets {
            below += inside;
            if below >= rank {
                // The middle of the bucket, by ratio.
                let middle = || FACTOR.powf(f64::from(*bucket) - 0.5);
                return Some(if *bucket == i32::MIN { 0.0 } else { middle() });
            }
        }
        None
    }

    pub(super) fn bounds(&self) -> Vec<f64> {
        match self {
            Self::Histogram(buckets) => buckets.keys().map(|e| bound(*e)).collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn bucket(&self, upper: f64) -> f64 {
        match self {
            Self::Histogram(buckets) => {
                let found = buckets.iter().find(|(e, _)| bound(**e) == upper);
                found.map_or(0.0, |(_, count)| *count as f64)
            }
            _ => 0.0,
        }
    }
}

fn bound(exponent: i32) -> f64 {
    if exponent == i32::MIN {
        0.0
    } else {
        2f64.powi(exponent)
    }
}
