//! Aggregations: series come in one after the other, groups keep one cell per step.

mod cell;
mod count_values;
mod histogram;
mod ranked;

use indexmap::IndexMap;

use super::row::{self, Row};
use super::window::Steps;
use super::{Eval, EvalError, Stream, scalar, stream};
use crate::promql::annotation;
use crate::promql::ast::{Aggregate, AggregateOp, Expr};
use crate::promql::hash::Texts;
use crate::promql::labels::{Labels, NAME};
use crate::promql::series::{Series, Value};
use cell::{Cell, Place};

pub(super) use cell::Mean;
pub(super) use histogram::Running;

pub(super) fn aggregate<'e>(
    eval: &'e Eval<'_>,
    expr: &'e Expr,
    aggregate: &'e Aggregate,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let series = match aggregate.op {
        AggregateOp::CountValues => count_values::count_values(eval, aggregate, steps)?,
        AggregateOp::Topk
        | AggregateOp::Bottomk
        | AggregateOp::Limitk
        | AggregateOp::LimitRatio => ranked::ranked(eval, expr, aggregate, steps)?,
        _ => summed(eval, aggregate, steps)?,
    };
    Ok(Box::new(series.into_iter().map(Ok)))
}

/// The labels that name the group of a series.
fn group_of(aggregate: &Aggregate, labels: &Labels) -> Labels {
    group_by(labels, &aggregate.grouping, aggregate.without)
}

fn group_by(labels: &Labels, grouping: &[String], without: bool) -> Labels {
    labels.filtered(|name| keeps(grouping, without, name))
}

/// Whether a label is one of those that name the group.
fn keeps(grouping: &[String], without: bool, name: &str) -> bool {
    let named = grouping.iter().any(|label| label == name);
    if without {
        !named && name != NAME
    } else {
        named
    }
}

/// The parameter of every step.
fn params(eval: &Eval<'_>, aggregate: &Aggregate, steps: Steps) -> Result<Vec<f64>, EvalError> {
    match &aggregate.param {
        Some(param) => scalar::values(eval, param, steps),
        None => Ok(vec![0.0; steps.count()]),
    }
}

/// The smallest and the largest parameter, and whether one is no number.
fn extremes(params: &[f64]) -> (f64, f64, bool) {
    if params.iter().any(|param| param.is_nan()) {
        return (f64::NAN, f64::NAN, true);
    }
    let min = params.iter().copied().fold(f64::MAX, f64::min);
    let max = params.iter().copied().fold(-f64::MAX, f64::max);
    (min, max, false)
}

/// A cell takes as much as some samples. Upstream counts the samples of all series of a group as
/// well as its result, so that what it answers is seldom refused here.
const CELL_WEIGHT: usize = 2;

fn summed(eval: &Eval<'_>, aggregate: &Aggregate, steps: Steps) -> Result<Vec<Series>, EvalError> {
    let params = params(eval, aggregate, steps)?;
    if aggregate.op == AggregateOp::Quantile {
        warn_of_quantiles(eval, aggregate, &params);
    }
    let place = Place {
        eval,
        op: aggregate.op,
        span: aggregate.expr.span,
    };
    // By the text of the labels, which is written to one place for all series: no labels are made
    // but those of the groups.
    let mut groups: IndexMap<Box<str>, Row<Option<Cell>>, Texts> = IndexMap::default();
    let mut key = String::new();
    let mut hold = eval.hold(0)?;
    for one in stream::stream(eval, &aggregate.expr, steps)? {
        let one = one?;
        let (names, without) = (&aggregate.grouping, aggregate.without);
        one.labels
            .filter_into(&mut key, |name| keeps(names, without, name));
        let at = match groups.get_index_of(key.as_str()) {
            Some(at) => at,
            None => groups.insert_full(key.as_str().into(), Row::default()).0,
        };
        let row = &mut groups[at];
        if let Some(range) = row::range(steps, &one) {
            row.cover(range, CELL_WEIGHT, (eval, &mut hold))?;
        }
        if aggregate.op == AggregateOp::Quantile {
            eval.hold_more(&mut hold, one.floats.len())?;
        }
        let (first, cells) = row.cells();
        let (mut step, mut reached) = (0, steps.start + first as i64 * steps.step);
        for (time, value) in one.floats.iter() {
            while reached < time {
                step += 1;
                reached += steps.step;
            }
            match &mut cells[step] {
                Some(cell) => cell.add_float(&place, value, &one),
                cell => *cell = Cell::new(&place, Value::Float(value), &one),
            }
        }
        for (time, histogram) in &one.histograms {
            let value = Value::Histogram(std::sync::Arc::clone(histogram));
            match &mut cells[steps.index(*time) - first] {
                Some(cell) => cell.add(&place, value, &one),
                cell => {
                    eval.hold_more(&mut hold, histogram.weight())?;
                    *cell = Cell::new(&place, value, &one);
                }
            }
        }
    }
    let mut out = Vec::with_capacity(groups.len());
    for (labels, row) in groups {
        let mut series = Series::new(Labels::of_text(&labels));
        let params = &params[row.first()..];
        for ((time, cell), param) in row.into_times(steps).zip(params) {
            let Some(cell) = cell else { continue };
            let drop_name = cell.drops_name();
            if let Some(value) = cell.finish(&place, *param) {
                series.drop_name = drop_name;
                series.push(time, value);
            }
        }
        if !series.is_empty() {
            out.push(series);
        }
    }
    Ok(out)
}

fn warn_of_quantiles(eval: &Eval<'_>, aggregate: &Aggregate, params: &[f64]) {
    let span = aggregate
        .param
        .as_ref()
        .map_or(aggregate.expr.span, |param| param.span);
    let (min, max, nan) = extremes(params);
    if nan {
        eval.annotate(annotation::invalid_quantile(f64::NAN, span));
    }
    if max > 1.0 {
        eval.annotate(annotation::invalid_quantile(max, span));
    }
    if min < 0.0 {
        eval.annotate(annotation::invalid_quantile(min, span));
    }
}
