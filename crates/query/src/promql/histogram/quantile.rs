//! Quantiles and fractions of native histograms.

use super::{Bucket, Histogram};

/// What a reader should know about a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Findings {
    None,
    /// Observations that are no numbers were taken as infinitely large.
    Skewed,
    /// The quantile falls among observations that are no numbers.
    NotANumber,
    /// Observations that are no numbers belong to no fraction.
    Excluded,
}

/// A histogram with observations on one side only has nothing beyond zero.
fn cut_zero_bucket(of: &Histogram, bucket: &mut Bucket) {
    if of.negative.is_empty() && !of.positive.is_empty() {
        bucket.lower = 0.0;
    } else if of.positive.is_empty() && !of.negative.is_empty() {
        bucket.upper = 0.0;
    }
}

/// The value below which the share `q` of the observations lies.
///
/// Inside exponential buckets the interpolation is exponential, in the zero bucket and in custom
/// ones it is linear.
pub(crate) fn quantile(q: f64, of: &Histogram) -> (f64, Findings) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, Findings::None);
    }
    if q > 1.0 {
        return (f64::INFINITY, Findings::None);
    }
    if of.count == 0.0 || q.is_nan() {
        return (f64::NAN, Findings::None);
    }
    let buckets = of.buckets();
    // Observations that are no numbers are in no bucket, so counting starts from below.
    let upwards = of.sum.is_nan() || q < 0.5;
    let mut rank = if upwards {
        q * of.count
    } else {
        (1.0 - q) * of.count
    };
    let order: Box<dyn Iterator<Item = &Bucket>> = if upwards {
        Box::new(buckets.iter())
    } else {
        Box::new(buckets.iter().rev())
    };
    let mut bucket = Bucket {
        lower: 0.0,
        upper: 0.0,
        lower_inclusive: false,
        upper_inclusive: false,
        count: 0.0,
    };
    let mut count = 0.0;
    let mut rest = order;
    for next in rest.by_ref() {
        bucket = *next;
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    if of.is_custom() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, Findings::None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, Findings::None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        cut_zero_bucket(of, &mut bucket);
    }
    // Rounding may have counted more than there are.
    count = count.min(of.count);
    if count < rank {
        if of.sum.is_nan() {
            return (f64::NAN, Findings::NotANumber);
        }
        return (bucket.upper, Findings::None);
    }
    rank = if upwards {
        rank - (count - bucket.count)
    } else {
        count - rank
    };
    let mut findings = Findings::None;
    if of.sum.is_nan() {
        let mut last = bucket;
        for next in rest {
            last = *next;
            count += last.count;
        }
        if count < of.count {
            findings = Findings::Skewed;
        }
        // Upstream interpolates in the last bucket it looked at.
        bucket = last;
    }
    let share = rank / bucket.count;
    if of.is_custom() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (
            bucket.lower + (bucket.upper - bucket.lower) * share,
            findings,
        );
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let value = if bucket.lower > 0.0 {
        (lower + (upper - lower) * share).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - share)).exp2()
    };
    (value, findings)
}

/// The share of the observations between two values.
pub(crate) fn fraction(lower: f64, upper: f64, of: &Histogram) -> (f64, Findings) {
    if of.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, Findings::None);
    }
    if lower >= upper {
        return (0.0, Findings::None);
    }
    let (mut rank, mut count) = (0.0, 0.0);
    let (mut from, mut to) = (None, None);
    let buckets = of.buckets();
    let mut rest = buckets.iter();
    for next in rest.by_ref() {
        let mut bucket = *next;
        count += bucket.count;
        let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if around_zero {
            cut_zero_bucket(of, &mut bucket);
        }
        let linear = of.is_custom() || around_zero;
        let rank_at = |value: f64| interpolate(&bucket, value, linear, rank);
        for (edge, value) in [(&mut from, lower), (&mut to, upper)] {
            if edge.is_none() && bucket.lower >= value {
                *edge = Some(rank);
            }
        }
        if from.is_some() && to.is_some() {
            break;
        }
        for (edge, value) in [(&mut from, lower), (&mut to, upper)] {
            if edge.is_none() && bucket.lower < value && bucket.upper > value {
                *edge = Some(if linear && bucket.lower == f64::NEG_INFINITY {
                    // Nothing can be said about where in an endless bucket a value lies.
                    bucket.count
                } else {
                    rank_at(value)
                });
            }
        }
        if from.is_some() && to.is_some() {
            break;
        }
        rank += bucket.count;
    }
    let mut findings = Findings::None;
    if of.sum.is_nan() {
        count += rest.map(|bucket| bucket.count).sum::<f64>();
        if count < of.count {
            findings = Findings::Excluded;
        }
    } else {
        count = of.count;
    }
    let edge = |edge: Option<f64>| {
        edge.filter(|rank| rank.is_nan() || *rank <= count)
            .unwrap_or(count)
    };
    ((edge(to) - edge(from)) / of.count, findings)
}

/// How many observations lie below a value inside a bucket, given those below the bucket.
fn interpolate(bucket: &Bucket, value: f64, linear: bool, below: f64) -> f64 {
    if linear {
        return below + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let at = value.abs().log2();
    let share = if value > 0.0 {
        (at - lower) / (upper - lower)
    } else {
        1.0 - ((at - upper) / (lower - upper))
    };
    below + bucket.count * share
}
