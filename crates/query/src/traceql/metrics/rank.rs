//! What is done with series once they are there.

use super::MetricSeries;
use crate::traceql::ast::{Op, SeriesStage};
use crate::traceql::eval::compare;
use crate::traceql::value::Value;

pub(super) fn apply(stage: &SeriesStage, series: &mut Vec<MetricSeries>) {
    match stage {
        SeriesStage::Top(count) => keep(series, *count, false),
        SeriesStage::Bottom(count) => keep(series, *count, true),
        SeriesStage::Filter(op, bound) => filter(series, *op, bound),
    }
    series.retain(|one| one.values.iter().any(Option::is_some));
}

/// Keeps the points of the greatest, or the least, at each step; the first of equals.
fn keep(series: &mut [MetricSeries], count: usize, least: bool) {
    let steps = series.iter().map(|one| one.values.len()).max().unwrap_or(0);
    for step in 0..steps {
        let value = |one: &MetricSeries| one.values.get(step).copied().flatten();
        let mut order: Vec<(usize, f64)> = series
            .iter()
            .enumerate()
            .filter_map(|(at, one)| Some((at, value(one)?)))
            .collect();
        order.sort_by(|a, b| match least {
            true => a.1.total_cmp(&b.1),
            false => b.1.total_cmp(&a.1),
        });
        for (at, _) in order.into_iter().skip(count) {
            series[at].values[step] = None;
        }
    }
}

fn filter(series: &mut [MetricSeries], op: Op, bound: &Value) {
    // Durations in series are seconds.
    let bound = match bound {
        Value::Duration(ns) => Value::Float(*ns as f64 / 1e9),
        other => other.clone(),
    };
    for value in series.iter_mut().flat_map(|one| &mut one.values) {
        *value = value.filter(|v| compare(op, &Value::Float(*v), &bound));
    }
}
