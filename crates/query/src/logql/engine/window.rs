//! What a function makes of the values in its window.

use crate::logql::ast::RangeOp;

/// The value of a window of `(nanoseconds, value)` pairs in order of time, which is not empty.
/// `range_ns` is its length and `end_ns` its last time; `None` where there is no result.
pub(super) fn value(
    op: RangeOp,
    param: f64,
    window: &[(i64, f64)],
    end_ns: i64,
    range_ns: i64,
) -> Option<f64> {
    let seconds = range_ns as f64 / 1e9;
    let values = || window.iter().map(|(_, value)| *value);
    let count = window.len() as f64;
    Some(match op {
        RangeOp::SumOverTime => sum(values()),
        RangeOp::Rate => sum(values()) / seconds,
        RangeOp::AvgOverTime => sum(values()) / count,
        RangeOp::MinOverTime => extreme(values(), |new, old| new < old),
        RangeOp::MaxOverTime => extreme(values(), |new, old| new > old),
        RangeOp::FirstOverTime => window.first()?.1,
        RangeOp::LastOverTime => window.last()?.1,
        RangeOp::StdvarOverTime => variance(values()),
        RangeOp::StddevOverTime => variance(values()).sqrt(),
        RangeOp::QuantileOverTime => quantile(param, values().collect()),
        RangeOp::RateCounter => return counter_rate(window, end_ns, range_ns),
        RangeOp::CountOverTime
        | RangeOp::BytesRate
        | RangeOp::BytesOverTime
        | RangeOp::AbsentOverTime => count,
    })
}

/// Adds with the error of each step carried along (Neumaier).
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    for value in values {
        let next = sum + value;
        if next.is_infinite() {
            lost = 0.0;
        } else if sum.abs() >= value.abs() {
            lost += (sum - next) + value;
        } else {
            lost += (value - next) + sum;
        }
        sum = next;
    }
    sum + lost
}

fn extreme(values: impl Iterator<Item = f64>, better: impl Fn(f64, f64) -> bool) -> f64 {
    values.fold(f64::NAN, |old, new| {
        if old.is_nan() || better(new, old) {
            new
        } else {
            old
        }
    })
}

fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}

fn quantile(of: f64, mut values: Vec<f64>) -> f64 {
    if of.is_nan() {
        return f64::NAN;
    }
    if of < 0.0 {
        return f64::NEG_INFINITY;
    }
    if of > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(f64::total_cmp);
    let rank = of * (values.len() as f64 - 1.0);
    let low = rank.floor() as usize;
    let high = (low + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[low] * (1.0 - weight) + values[high] * weight
}

/// The rate of a counter: falls are resets, and the increase is extended to the edges of the
/// window as PromQL does.
fn counter_rate(window: &[(i64, f64)], end_ns: i64, range_ns: i64) -> Option<f64> {
    let [(first_at, first), .., (last_at, last)] = window else {
        return None;
    };
    let mut increase = last - first;
    for pair in window.windows(2) {
        if pair[1].1 < pair[0].1 {
            increase += pair[0].1;
        }
    }
    let seconds = |ns: i64| ns as f64 / 1e9;
    let sampled = seconds(last_at - first_at);
    if sampled <= 0.0 {
        return None;
    }
    let between = sampled / (window.len() as f64 - 1.0);
    let threshold = between * 1.1;
    let mut to_start = seconds(first_at - (end_ns - range_ns));
    let mut to_end = seconds(end_ns - last_at);
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if increase > 0.0 && *first >= 0.0 {
        // A counter does not start below zero.
        to_start = to_start.min(sampled * (first / increase));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    Some(increase * factor / seconds(range_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let window = [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)];
        let of = |op, param| value(op, param, &window, 3, 4);
        assert_eq!(of(RangeOp::QuantileOverTime, 0.5), Some(2.5));
        assert_eq!(of(RangeOp::StdvarOverTime, 0.0), Some(1.25));
        assert_eq!(of(RangeOp::MaxOverTime, 0.0), Some(4.0));
        assert_eq!(of(RangeOp::FirstOverTime, 0.0), Some(1.0));
        assert_eq!(sum([1e100, 1.0, -1e100].into_iter()), 1.0);
    }

    #[test]
    fn counters() {
        let second = 1_000_000_000;
        let window: Vec<(i64, f64)> = (1..=6)
            .map(|at| (at * 10 * second, at as f64 * 5.0))
            .collect();
        let rate = counter_rate(&window, 60 * second, 60 * second).expect("a rate");
        assert!((rate - 0.5).abs() < 1e-9, "{rate}");
    }
}
