//! How often a value changed, and how often a counter started anew.

use std::sync::Arc;

use super::super::EvalError;
use super::super::window::Window;
use super::range::Call;
use crate::promql::ast::Edges;
use crate::promql::series::Value;

type Answer = Result<Option<Value>, EvalError>;

/// Whether a counter has started anew.
#[inline]
pub(super) fn falls(before: f64, now: f64) -> bool {
    now < before
}

/// Whether a value is another one.
#[inline]
pub(super) fn changed(before: f64, now: f64) -> bool {
    now != before && !(now.is_nan() && before.is_nan())
}

pub(super) fn resets(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(count(call, window, |before, now| match (before, now) {
        (Value::Float(before), Value::Float(now)) => falls(*before, *now),
        (Value::Histogram(before), Value::Histogram(now)) => now.resets(before),
        _ => true,
    }))
}

pub(super) fn changes(call: &Call<'_, '_>, window: &Window<'_>) -> Answer {
    Ok(count(call, window, |before, now| match (before, now) {
        (Value::Float(before), Value::Float(now)) => changed(*before, *now),
        (Value::Histogram(before), Value::Histogram(now)) => !now.same(before),
        _ => true,
    }))
}

/// How many neighbours `differ`.
fn count(
    call: &Call<'_, '_>,
    window: &Window<'_>,
    differ: impl Fn(&Value, &Value) -> bool,
) -> Option<Value> {
    if let (Some(marked), Edges::Plain, []) = (window.marked, call.edges, window.histograms) {
        return Some(Value::Float(marked as f64));
    }
    let mut from = 0;
    if call.edges == Edges::Anchored {
        // The last sample before the range stands at its start.
        let start = call.range.0;
        let last = window.times.len().checked_sub(1)?;
        if window.times[last] <= start {
            return None;
        }
        from = window.times[..last]
            .partition_point(|time| *time <= start)
            .saturating_sub(1);
    }
    let floats = window.times[from..].iter().zip(&window.values[from..]);
    let mut floats = floats
        .map(|(time, value)| (*time, Value::Float(*value)))
        .peekable();
    let mut histograms = window
        .histograms
        .iter()
        .map(|(time, histogram)| (*time, Value::Histogram(Arc::clone(histogram))))
        .peekable();
    let mut before: Option<Value> = None;
    let mut count = 0;
    loop {
        let float_first = match (floats.peek(), histograms.peek()) {
            (Some((a, _)), Some((b, _))) => a < b,
            (first, _) => first.is_some(),
        };
        let next = if float_first {
            floats.next()
        } else {
            histograms.next()
        };
        let Some((_, now)) = next else { break };
        if before.as_ref().is_some_and(|before| differ(before, &now)) {
            count += 1;
        }
        before = Some(now);
    }
    Some(Value::Float(f64::from(count)))
}
