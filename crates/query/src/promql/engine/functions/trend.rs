//! Where values are heading: linear regression and double exponential smoothing.

use super::super::EvalError;
use super::super::window::Window;
use super::range::Call;
use crate::promql::histogram::add_compensated;
use crate::promql::series::Value;

type Answer = Result<Option<Value>, EvalError>;

/// Whether there are enough plain samples; histograms beside them are remarked on.
fn enough(call: &Call<'_, '_>, window: &Window<'_>) -> bool {
    if !window.values.is_empty() && !window.histograms.is_empty() {
        call.ignore_histograms();
    }
    window.values.len() >= 2
}

/// The slope per second, and the value at `at`, of the line of least squares.
fn line(window: &Window<'_>, at: i64) -> (f64, f64) {
    let first = window.values[0];
    if window.values.iter().all(|value| *value == first) {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    // Sums of x, y, xy and xx with their errors.
    let mut sums = [(0.0, 0.0); 4];
    let mut count = 0.0;
    for (time, y) in window.times.iter().zip(window.values) {
        count += 1.0;
        let x = (time - at) as f64 / 1e3;
        for (sum, add) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
            *sum = add_compensated(add, sum.0, sum.1);
        }
    }
    let [x, y, xy, xx] = sums.map(|(sum, error)| sum + error);
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}

pub(super) fn deriv(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    if !enough(call, window) {
        return Ok(None);
    }
    // Times near the samples keep the products small.
    let (slope, _) = line(window, window.times[0]);
    Ok(Some(Value::Float(slope)))
}

pub(super) fn predict(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    if !enough(call, window) {
        return Ok(None);
    }
    let (slope, now) = line(window, call.time);
    Ok(Some(Value::Float(slope * call.params[0] + now)))
}

pub(super) fn smoothing(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    let (factor, trend_factor) = (call.params[0], call.params[1]);
    for (name, short, value) in [("smoothing", "sf", factor), ("trend", "tf", trend_factor)] {
        if value <= 0.0 || value >= 1.0 {
            return EvalError::query(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {value:.6}"
            ));
        }
    }
    if !enough(call, window) {
        return Ok(None);
    }
    let mut before = 0.0;
    let mut smoothed = window.values[0];
    let mut trend = window.values[1] - window.values[0];
    for (at, value) in window.values[1..].iter().enumerate() {
        let raw = factor * value;
        if at > 0 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        let kept = (1.0 - factor) * (smoothed + trend);
        (before, smoothed) = (smoothed, raw + kept);
    }
    Ok(Some(Value::Float(smoothed)))
}
