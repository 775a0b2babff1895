//! Operators between vectors, and between a vector and a scalar.

mod element;
mod set;
mod vectors;

use super::window::Steps;
use super::{Eval, EvalError, Stream, scalar, stream};
use crate::promql::ast::{Binary, Expr, ValueType};
use crate::promql::series::{Series, Value};
use element::{Operation, Outcome};

pub(super) fn binary<'e>(
    eval: &'e Eval<'_>,
    expr: &'e Expr,
    binary: &'e Binary,
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
    match (scalar(&binary.lhs), scalar(&binary.rhs)) {
        (false, false) if binary.op.is_set() => set::set(eval, binary, steps),
        (false, false) => vectors::vectors(eval, expr, binary, steps),
        (false, true) => with_scalar(eval, expr, binary, steps, false),
        _ => with_scalar(eval, expr, binary, steps, true),
    }
}

/// An operator with a scalar on one side; `swapped` if the scalar is the left one.
fn with_scalar<'e>(
    eval: &'e Eval<'_>,
    expr: &'e Expr,
    binary: &'e Binary,
    steps: Steps,
    swapped: bool,
) -> Result<Stream<'e>, EvalError> {
    let (vector, number) = if swapped {
        (&binary.rhs, &binary.lhs)
    } else {
        (&binary.lhs, &binary.rhs)
    };
    let numbers = scalar::values(eval, number, steps)?;
    let series = stream::stream(eval, vector, steps)?;
    let op = Operation {
        eval,
        op: binary.op,
        span: expr.span,
    };
    let changes = element::changes_meaning(binary.op) || binary.bool;
    let out = series.map(move |one| {
        let one = one?;
        let mut out = Series {
            drop_name: one.drop_name,
            ..Series::new(one.labels)
        };
        let mut put = |time: i64, value: Value| {
            let number = Value::Float(numbers[steps.index(time)]);
            let outcome = if swapped {
                op.apply(&number, &value)
            } else {
                op.apply(&value, &number)
            };
            let Outcome::Value { mut result, keep } = outcome else {
                return;
            };
            // A comparison keeps the value of the vector, on whichever side it stands.
            if swapped && binary.op.compares() {
                result = value;
            }
            if binary.bool {
                out.push(time, Value::Float(f64::from(u8::from(keep))));
            } else if keep {
                out.push(time, result);
            }
        };
        for (time, value) in one.floats.iter() {
            put(time, Value::Float(value));
        }
        for (time, histogram) in one.histograms {
            put(time, Value::Histogram(histogram));
        }
        element::in_order(&mut out);
        if changes {
            out.labels = eval.renamed(out.labels);
            out.drop_name = true;
        }
        Ok(out)
    });
    let out = Box::new(out.filter(|one| one.as_ref().map_or(true, |one| !one.is_empty())));
    if changes { eval.settle(out) } else { Ok(out) }
}
