//! Expressions as streams of series.

use std::sync::Arc;

use super::window::Steps;
use super::{Eval, EvalError, Stream, aggregate, binary, functions, scalar, select};
use crate::promql::ast::{Expr, Node, ValueType};
use crate::promql::labels::Labels;
use crate::promql::series::{Samples, Series};

/// The series of a vector (or of a scalar, as one series without labels) at all steps.
pub(super) fn stream<'e>(
    eval: &'e Eval<'_>,
    expr: &'e Expr,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    eval.check()?;
    if expr.hoist && steps.count() > 1 {
        let once = each_step(eval, expr, steps.first())?;
        return Ok(Box::new(
            once.map(move |one| one.map(|one| repeated(one, steps))),
        ));
    }
    each_step(eval, expr, steps)
}

fn each_step<'e>(
    eval: &'e Eval<'_>,
    expr: &'e Expr,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    if expr.value_type() == ValueType::Scalar {
        let mut one = Series::new(Labels::default());
        let values = scalar::values(eval, expr, steps)?;
        one.floats = Samples {
            times: steps.times().collect(),
            values,
        };
        return Ok(Box::new(std::iter::once(Ok(one))));
    }
    match &expr.node {
        Node::Paren(inner) => stream(eval, inner, steps),
        Node::Unary(minus, inner) => {
            let inner = stream(eval, inner, steps)?;
            if *minus {
                eval.settle(negated(eval, inner))
            } else {
                Ok(inner)
            }
        }
        Node::Vector(selector) => select::instant(eval, selector, steps, ""),
        Node::Call(function, args) => functions::call(eval, function, args, steps),
        Node::Aggregate(aggregate) => aggregate::aggregate(eval, expr, aggregate, steps),
        Node::Binary(inner) => binary::binary(eval, expr, inner, steps),
        Node::Matrix(_)
        | Node::Subquery(_)
        | Node::String(_)
        | Node::Number(_)
        | Node::Duration(_) => EvalError::query("expression is no vector"),
    }
}

/// One value at every step.
fn repeated(one: Series, steps: Steps) -> Series {
    let mut out = Series {
        floats: Samples::default(),
        histograms: Vec::new(),
        ..one.clone()
    };
    if let Some(value) = one.floats.values.first() {
        out.floats = Samples {
            times: steps.times().collect(),
            values: vec![*value; steps.count()],
        };
    } else if let Some((_, histogram)) = one.histograms.first() {
        out.histograms = steps
            .times()
            .map(|time| (time, Arc::clone(histogram)))
            .collect();
    }
    out
}

fn negated<'e>(eval: &'e Eval<'_>, stream: Stream<'e>) -> Stream<'e> {
    Box::new(stream.map(move |one| {
        let mut one = one?;
        for value in &mut one.floats.values {
            *value = -*value;
        }
        for (_, histogram) in &mut one.histograms {
            Arc::make_mut(histogram).scale(-1.0);
        }
        one.labels = eval.renamed(one.labels);
        one.drop_name = true;
        Ok(one)
    }))
}
