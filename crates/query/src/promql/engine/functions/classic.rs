//! Quantiles and fractions of classic histograms: cumulative counts by upper bound.

/// A bucket with the observations up to its bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// Relative differences this small between neighbours come from rounding.
const TOLERANCE: f64 = 1e-12;

/// The bound a label states.
pub(super) fn bound(label: &str) -> Option<f64> {
    let bare = label.trim_start_matches(['+', '-']);
    let starts = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let word = ["inf", "infinity", "nan"].contains(&bare.to_ascii_lowercase().as_str());
    (starts || word).then(|| label.parse().ok()).flatten()
}

/// Sorted buckets, those of the same bound added up; none if the last one is not endless.
fn in_order(mut buckets: Vec<Bucket>) -> Option<Vec<Bucket>> {
    buckets.sort_by(|a, b| {
        a.upper
            .partial_cmp(&b.upper)
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    if buckets.last()?.upper != f64::INFINITY {
        return None;
    }
    let mut out: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match out.last_mut() {
            Some(last) if last.upper == bucket.upper => last.count += bucket.count,
            _ => out.push(bucket),
        }
    }
    Some(out)
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// Lifts counts that fall from one bucket to the next; says where and by how much, unless
/// rounding explains it.
fn monotonic(buckets: &mut [Bucket]) -> Option<(f64, f64, f64)> {
    let mut forced: Option<(f64, f64, f64)> = None;
    let mut previous = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if nearly_equal(previous, count) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let (lowest, highest, difference) =
                forced.unwrap_or((f64::INFINITY, f64::NEG_INFINITY, 0.0));
            forced = Some((
                lowest.min(bucket.upper),
                highest.max(bucket.upper),
                difference.max(previous - count),
            ));
        } else {
            previous = count;
        }
    }
    forced
}

/// The value below which the share `q` of the observations lies, and what had to be lifted.
pub(super) fn quantile(q: f64, buckets: Vec<Bucket>) -> (f64, Option<(f64, f64, f64)>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    let Some(mut buckets) = in_order(buckets) else {
        return (f64::NAN, None);
    };
    let forced = monotonic(&mut buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = q * observations;
    // By halves, as upstream does: it matters where counts are no numbers.
    let (mut at, mut end) = (0, last);
    while at < end {
        let middle = (at + end) / 2;
        if buckets[middle].count >= rank {
            end = middle;
        } else {
            at = middle + 1;
        }
    }
    let value = if at == last {
        buckets[last - 1].upper
    } else if at == 0 && buckets[0].upper <= 0.0 {
        buckets[0].upper
    } else {
        let (mut start, mut count) = (0.0, buckets[at].count);
        if at > 0 {
            start = buckets[at - 1].upper;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (buckets[at].upper - start) * (rank / count)
    };
    (value, forced)
}

/// The share of the observations between two values.
pub(super) fn fraction(lower: f64, upper: f64, buckets: Vec<Bucket>) -> f64 {
    let Some(buckets) = in_order(buckets) else {
        return f64::NAN;
    };
    let all = buckets[buckets.len() - 1].count;
    if all == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut below, mut from, mut to) = (0.0, None, None);
    // Without negative bounds there is nothing below zero.
    let mut start = if buckets[0].upper <= 0.0 {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    for bucket in &buckets {
        let at = |value: f64| {
            if start == f64::NEG_INFINITY {
                // Nothing can be said about where in an endless bucket a value lies.
                return bucket.count;
            }
            below + (bucket.count - below) * (value - start) / (bucket.upper - start)
        };
        for (edge, value) in [(&mut from, lower), (&mut to, upper)] {
            if edge.is_none() && start >= value {
                *edge = Some(below);
            } else if edge.is_none() && start < value && bucket.upper > value {
                *edge = Some(at(value));
            }
        }
        if from.is_some() && to.is_some() {
            break;
        }
        below = bucket.count;
        start = bucket.upper;
    }
    let edge = |edge: Option<f64>| {
        edge.filter(|rank| rank.is_nan() || *rank <= all)
            .unwrap_or(all)
    };
    (edge(to) - edge(from)) / all
}
