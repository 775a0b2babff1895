//! Aggregations: series come in one after the other, groups keep one cell per step.

mod cell;
mod count_values;
mod histogram;
mod ranked;

use indexmap::IndexMap;

use super::window::Steps;
use super::{Eval, EvalError, Stream, scalar, stream};
use crate::promql::annotation;
use crate::promql::ast::{Aggregate, AggregateOp, Expr};
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
    let named = |name: &str| grouping.iter().any(|label| label == name);
    labels.filtered(|name| {
        if without {
            !named(name) && name != NAME
        } else {
            named(name)
        }
    })
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

struct Group {
    cells: Vec<Option<Cell>>,
}

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
    let mut groups: IndexMap<Labels, Group> = IndexMap::new();
    let mut holds = Vec::new();
    for one in stream::stream(eval, &aggregate.expr, steps)? {
        let one = one?;
        let key = group_of(aggregate, &one.labels);
        if !groups.contains_key(&key) {
            holds.push(eval.hold(steps.count())?);
        }
        let group = groups.entry(key).or_insert_with(|| Group {
            cells: (0..steps.count()).map(|_| None).collect(),
        });
        let mut put = |time: i64, value: Value| {
            let cell = &mut group.cells[steps.index(time)];
            match cell {
                Some(cell) => cell.add(&place, value, &one),
                None => *cell = Cell::new(&place, value, &one),
            }
        };
        for (time, value) in one.floats.iter() {
            put(time, Value::Float(value));
        }
        for (time, histogram) in &one.histograms {
            put(*time, Value::Histogram(std::sync::Arc::clone(histogram)));
        }
    }
    let mut out = Vec::with_capacity(groups.len());
    for (labels, group) in groups {
        let mut series = Series::new(labels);
        for ((time, cell), param) in steps.times().zip(group.cells).zip(&params) {
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
