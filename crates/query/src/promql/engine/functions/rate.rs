//! How fast values change: over the range, extrapolated to its edges, or between the last two.

use std::sync::Arc;

use super::super::EvalError;
use super::super::matrix::Extended;
use super::super::window::Window;
use super::range::Call;
use crate::promql::annotation::{self, Operation};
use crate::promql::ast::Edges;
use crate::promql::histogram::{Histogram, ResetHint};
use crate::promql::series::{HistogramSample, Value};

type Answer = Result<Option<Value>, EvalError>;

pub(super) fn rate(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(change(call, window, true, true))
}

pub(super) fn increase(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(change(call, window, true, false))
}

pub(super) fn delta(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(change(call, window, false, false))
}

pub(super) fn irate(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(last_change(call, window, true))
}

pub(super) fn idelta(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(last_change(call, window, false))
}

fn change(
    call: &Call<'_, '_>,
    window: &Window<'_>,
    counter: bool,
    per_second: bool,
) -> Option<Value> {
    if call.edges != Edges::Plain {
        return extended(call, window, counter, per_second).map(Value::Float);
    }
    if !window.histograms.is_empty() && !window.values.is_empty() {
        call.mixed_samples();
        return None;
    }
    if window.histograms.len() > 1 {
        let times = (
            window.histograms[0].0,
            window.histograms[window.histograms.len() - 1].0,
        );
        let mut result = of_histograms(call, window.histograms, counter)?;
        let first = window.histograms[0].1.count;
        let start = (result.count > 0.0 && first >= 0.0).then(|| first / result.count);
        let gaps = window.histograms.len() - 1;
        result.scale(factor(
            call,
            times,
            gaps,
            start.filter(|_| counter),
            per_second,
        ));
        return Some(Value::Histogram(Arc::new(result)));
    }
    let (first, rest) = window.values.split_first()?;
    let last = rest.last()?;
    let mut result = last - first;
    if counter && window.marked != Some(0) {
        let mut previous = *first;
        for value in rest {
            if *value < previous {
                result += previous;
            }
            previous = *value;
        }
    }
    let times = (window.times[0], window.times[window.times.len() - 1]);
    let start = (counter && result > 0.0 && *first >= 0.0).then(|| first / result);
    if window.counts.is_empty() {
        result *= factor(call, times, rest.len(), start, per_second);
    } else {
        let gaps = window.counts[1..].iter().map(|count| *count as usize).sum();
        let reach = |count: Option<&u32>| match window.cut {
            true => f64::from(count.copied().unwrap_or(1).max(1)),
            false => 1.0,
        };
        let reach = (reach(window.counts.first()), reach(window.counts.last()));
        result *= factor_beyond(call, times, gaps, start, per_second, reach);
    }
    Some(Value::Float(result))
}

/// By how much a change between the first and the last sample stands for one over the range.
///
/// If a sample lies about where one is expected next to an edge, the series is taken to go on to
/// the edge; otherwise to begin or end half a gap away. A counter begins at zero at the latest:
/// `start` is its first value by the change.
fn factor(
    call: &Call<'_, '_>,
    times: (i64, i64),
    gaps: usize,
    start: Option<f64>,
    per_second: bool,
) -> f64 {
    factor_beyond(call, times, gaps, start, per_second, (1.0, 1.0))
}

/// Like [`factor`], where the samples next to the edges are expected within several gaps: they
/// stand for that many.
fn factor_beyond(
    call: &Call<'_, '_>,
    (first, last): (i64, i64),
    gaps: usize,
    start: Option<f64>,
    per_second: bool,
    reach: (f64, f64),
) -> f64 {
    let mut to_start = (first - call.range.0) as f64 / 1000.0;
    let mut to_end = (call.range.1 - last) as f64 / 1000.0;
    let sampled = (last - first) as f64 / 1000.0;
    let gap = sampled / gaps as f64;
    let near = gap * 1.1;
    if to_start >= near * reach.0 {
        to_start = gap / 2.0;
    }
    if let Some(start) = start {
        let to_zero = sampled * start;
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= near * reach.1 {
        to_end = gap / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= call.seconds;
    }
    factor
}

/// The change between the values at the very edges of the range.
fn extended(
    call: &Call<'_, '_>,
    window: &Window<'_>,
    counter: bool,
    per_second: bool,
) -> Option<f64> {
    let (times, values) = (window.times, window.values);
    let smoothed = call.edges == Edges::Smoothed;
    let edges = Extended::new(times, call.range.0, call.range.1, smoothed)?;
    let (left, right) = edges.values(times, values, counter);
    let mut result = right - left;
    if counter {
        let mut correction = 0.0;
        let mut previous = left;
        for value in values[edges.inside(times)].iter().chain([&right]) {
            if *value < previous {
                correction += previous;
            }
            previous = *value;
        }
        result += correction;
    }
    Some(if per_second {
        result / call.seconds
    } else {
        result
    })
}

/// The change of histograms over a range; none if they do not go together.
fn of_histograms(
    call: &Call<'_, '_>,
    points: &[HistogramSample],
    counter: bool,
) -> Option<Histogram> {
    let gauge = |histogram: &Histogram| histogram.hint == ResetHint::Gauge;
    let (first, last) = (&points[0].1, &points[points.len() - 1].1);
    let mut remarks = Vec::new();
    let not_counter = annotation::not_counter(call.metric, call.span);
    if counter && (gauge(first) || gauge(last)) {
        remarks.push(not_counter.clone());
    }
    // After a reset the first histogram does not matter, nor does its layout.
    let mut previous = Arc::clone(first);
    if counter && points[1].1.resets(first) {
        let second = &points[1].1;
        previous = Arc::new(Histogram {
            schema: second.schema,
            bounds: Arc::clone(&second.bounds),
            ..Histogram::default()
        });
    }
    let custom = previous.is_custom();
    if last.is_custom() != custom {
        remarks
            .into_iter()
            .for_each(|remark| call.eval.annotate(remark));
        call.mixed_schemas();
        return None;
    }
    let mut schema = last.schema.min(previous.schema);
    if counter {
        for (_, histogram) in &points[1..points.len() - 1] {
            if gauge(histogram) {
                remarks.push(not_counter.clone());
            }
            schema = schema.min(histogram.schema);
            if histogram.is_custom() != custom {
                call.mixed_schemas();
                return None;
            }
        }
    }
    let mut result = (**last).clone();
    result.coarsen(schema);
    // If the histograms do not go together, that alone is told.
    let reconciled = |of: Operation| annotation::bounds_reconciled(of, call.span);
    match result.subtract(&previous) {
        Ok(merged) if merged.bounds_reconciled => remarks.push(reconciled(Operation::Subtraction)),
        Ok(_) => {}
        Err(_) => {
            call.mixed_schemas();
            return None;
        }
    }
    if counter {
        for (_, histogram) in &points[1..] {
            if histogram.resets(&previous) {
                match result.add(&previous) {
                    Ok(merged) if merged.bounds_reconciled => {
                        remarks.push(reconciled(Operation::Addition))
                    }
                    Ok(_) => {}
                    Err(_) => {
                        call.mixed_schemas();
                        return None;
                    }
                }
            }
            previous = Arc::clone(histogram);
        }
    } else if !gauge(first) || !gauge(last) {
        remarks.push(annotation::not_gauge(call.metric, call.span));
    }
    remarks
        .into_iter()
        .for_each(|remark| call.eval.annotate(remark));
    result.hint = ResetHint::Gauge;
    result.compact();
    Some(result)
}

/// The last two samples, of whichever kind.
fn last_two(window: &Window<'_>) -> Option<[(i64, Value); 2]> {
    let from = window.times.len().saturating_sub(2);
    let mut samples: Vec<(i64, Value)> = window.times[from..]
        .iter()
        .zip(&window.values[from..])
        .map(|(time, value)| (*time, Value::Float(*value)))
        .collect();
    let from = window.histograms.len().saturating_sub(2);
    for (time, histogram) in &window.histograms[from..] {
        samples.push((*time, Value::Histogram(Arc::clone(histogram))));
    }
    samples.sort_by_key(|(time, _)| *time);
    let last = samples.pop()?;
    Some([samples.pop()?, last])
}

fn last_change(call: &Call<'_, '_>, window: &Window<'_>, counter: bool) -> Option<Value> {
    if let ([.., earlier, later], [.., before, now], []) =
        (window.times, window.values, window.histograms)
    {
        let change = match counter && now < before {
            true => *now,
            false => now - before,
        };
        let seconds = (later - earlier) as f64 / 1000.0;
        let change = if counter { change / seconds } else { change };
        return (later != earlier).then_some(Value::Float(change));
    }
    let [(earlier, before), (later, now)] = last_two(window)?;
    let seconds = (later - earlier) as f64 / 1000.0;
    if later == earlier {
        return None;
    }
    match (before, now) {
        (Value::Float(before), Value::Float(now)) => {
            let reset = counter && now < before;
            let change = if reset { now } else { now - before };
            Some(Value::Float(if counter {
                change / seconds
            } else {
                change
            }))
        }
        (Value::Histogram(before), Value::Histogram(now)) => {
            let gauges = [&before, &now].map(|h| h.hint == ResetHint::Gauge);
            if counter && gauges.contains(&true) {
                call.eval
                    .annotate(annotation::not_counter(call.metric, call.span));
            }
            if !counter && gauges.contains(&false) {
                call.eval
                    .annotate(annotation::not_gauge(call.metric, call.span));
            }
            let mut result = (*now).clone();
            if !counter || !now.resets(&before) {
                let Ok(merged) = result.subtract(&before) else {
                    call.mixed_schemas();
                    return None;
                };
                if merged.bounds_reconciled {
                    let of = Operation::Subtraction;
                    call.eval
                        .annotate(annotation::bounds_reconciled(of, call.span));
                }
            }
            result.hint = ResetHint::Gauge;
            result.compact();
            if counter {
                result.divide(seconds);
            }
            Some(Value::Histogram(Arc::new(result)))
        }
        _ => {
            call.mixed_samples();
            None
        }
    }
}
