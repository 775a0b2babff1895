//! What can be said of the samples of a range without regard to their spacing.

use std::sync::Arc;

use super::super::EvalError;
use super::super::aggregate::{Mean, Running};
use super::super::window::Window;
use super::range::Call;
use crate::promql::annotation::{self, Operation};
use crate::promql::histogram::add_compensated;
use crate::promql::series::Value;

type Answer = Result<Option<Value>, EvalError>;

fn float(value: f64) -> Answer {
    Ok(Some(Value::Float(value)))
}

/// The value below which the share `q` of the values lies; sorts them.
pub(in super::super) fn quantile_of(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| {
        a.partial_cmp(b)
            .unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
    });
    let last = (values.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Adds up the histograms of a window that holds nothing else.
fn histograms(call: &Call<'_, '_>, window: &Window<'_>, averages: bool) -> Answer {
    let Some(((_, first), rest)) = window.histograms.split_first() else {
        return Ok(None);
    };
    let mut running = Running::new(first, averages);
    for (_, histogram) in rest {
        if running.add(histogram).is_err() {
            call.mixed_schemas();
            return Ok(None);
        }
    }
    if running.resets_collide() {
        call.eval.annotate(annotation::resets_collide(
            Operation::Aggregation,
            call.span,
        ));
    }
    if running.bounds_reconciled {
        call.eval.annotate(annotation::bounds_reconciled(
            Operation::Aggregation,
            call.span,
        ));
    }
    Ok(Some(Value::Histogram(Arc::new(running.finish()))))
}

/// Whether there are plain samples alone; nothing if both kinds are there.
fn plain(call: &Call<'_, '_>, window: &Window<'_>) -> Option<bool> {
    if !window.values.is_empty() && !window.histograms.is_empty() {
        call.mixed_samples();
        return None;
    }
    Some(!window.values.is_empty())
}

pub(super) fn avg(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    if !window.counts.is_empty() && window.histograms.is_empty() {
        // The values are sums.
        return float(total(window.values) / window.count() as f64);
    }
    match (plain(call, window), window.values.split_first()) {
        (Some(true), Some((first, rest))) => {
            let mut mean = Mean::new(*first);
            rest.iter().for_each(|value| mean.add(*value));
            float(mean.finish())
        }
        (Some(false), _) => histograms(call, window, true),
        _ => Ok(None),
    }
}

fn total(values: &[f64]) -> f64 {
    let (sum, error) = values.iter().fold((0.0, 0.0), |(sum, error), value| {
        add_compensated(*value, sum, error)
    });
    if sum.is_infinite() { sum } else { sum + error }
}

pub(super) fn sum(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    match plain(call, window) {
        Some(true) => float(total(window.values)),
        Some(false) => histograms(call, window, false),
        None => Ok(None),
    }
}

pub(super) fn count(_: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    float(window.count() as f64)
}

pub(super) fn present(_: &Call<'_, '_>, _: &Window<'_>) -> Answer {
    float(1.0)
}

pub(super) fn first(_: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    let plain = window.times.first().zip(window.values.first());
    Ok(match (window.histograms.first(), plain) {
        (Some((time, _)), Some((earlier, value))) if earlier < time => Some(Value::Float(*value)),
        (Some((_, histogram)), _) => Some(Value::Histogram(Arc::clone(histogram))),
        (None, plain) => plain.map(|(_, value)| Value::Float(*value)),
    })
}

pub(super) fn last(_: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    let plain = window.times.last().zip(window.values.last());
    Ok(match (window.histograms.last(), plain) {
        (Some((time, _)), Some((later, value))) if later > time => Some(Value::Float(*value)),
        (Some((_, histogram)), _) => Some(Value::Histogram(Arc::clone(histogram))),
        (None, plain) => plain.map(|(_, value)| Value::Float(*value)),
    })
}

pub(super) fn time_of_first(_: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    let histogram = window.histograms.first().map(|(time, _)| *time);
    let time = window
        .times
        .first()
        .copied()
        .into_iter()
        .chain(histogram)
        .min();
    float(time.unwrap_or(0) as f64 / 1000.0)
}

pub(super) fn time_of_last(_: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    let histogram = window.histograms.last().map(|(time, _)| *time);
    let time = window
        .times
        .last()
        .copied()
        .into_iter()
        .chain(histogram)
        .max();
    float(time.unwrap_or(0) as f64 / 1000.0)
}

/// The plain samples; histograms beside them are remarked on.
fn floats<'w>(call: &Call<'_, '_>, window: &Window<'w>) -> Option<&'w [f64]> {
    if window.values.is_empty() {
        return None;
    }
    if !window.histograms.is_empty() {
        call.ignore_histograms();
    }
    Some(window.values)
}

/// The sample that no other one beats, with its time in seconds.
fn best(
    call: &Call<'_, '_>,
    window: &Window<'_>,
    beats: fn(f64, f64) -> bool,
) -> Option<(f64, f64)> {
    let values = floats(call, window)?;
    if let Some(at) = window.best {
        return Some((window.times[at] as f64 / 1000.0, values[at]));
    }
    let (mut at, mut best) = (0, values[0]);
    for (next, value) in values.iter().enumerate() {
        if beats(*value, best) || best.is_nan() {
            (at, best) = (next, *value);
        }
    }
    Some((window.times[at] as f64 / 1000.0, best))
}

pub(super) fn max(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(best(call, window, |a, b| a > b).map(|(_, value)| Value::Float(value)))
}

pub(super) fn min(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(best(call, window, |a, b| a < b).map(|(_, value)| Value::Float(value)))
}

pub(super) fn time_of_max(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(best(call, window, |a, b| a >= b).map(|(time, _)| Value::Float(time)))
}

pub(super) fn time_of_min(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(best(call, window, |a, b| a <= b).map(|(time, _)| Value::Float(time)))
}

pub(super) fn quantile(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    if window.values.is_empty() {
        return Ok(None);
    }
    let q = call.params[0];
    if q.is_nan() || !(0.0..=1.0).contains(&q) {
        call.eval
            .annotate(annotation::invalid_quantile(q, call.span));
    }
    let Some(values) = floats(call, window) else {
        return Ok(None);
    };
    float(quantile_of(q, &mut values.to_vec()))
}

pub(super) fn mad(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    let Some(values) = floats(call, window) else {
        return Ok(None);
    };
    let mut values = values.to_vec();
    let median = quantile_of(0.5, &mut values);
    values
        .iter_mut()
        .for_each(|value| *value = (*value - median).abs());
    float(quantile_of(0.5, &mut values))
}

fn variance(call: &Call<'_, '_>, window: &Window<'_>) -> Option<f64> {
    let values = floats(call, window)?;
    let (mut count, mut mean, mut mean_error) = (0.0, 0.0, 0.0);
    let (mut squares, mut squares_error) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - (mean + mean_error);
        (mean, mean_error) = add_compensated(delta / count, mean, mean_error);
        let add = delta * (value - (mean + mean_error));
        (squares, squares_error) = add_compensated(add, squares, squares_error);
    }
    Some((squares + squares_error) / count)
}

pub(super) fn stdvar(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(variance(call, window).map(Value::Float))
}

pub(super) fn stddev(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(variance(call, window).map(|variance| Value::Float(variance.sqrt())))
}
