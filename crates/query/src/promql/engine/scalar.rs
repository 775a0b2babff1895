//! Scalars: one number per step.

use super::window::Steps;
use super::{Eval, EvalError, stream};
use crate::promql::ast::{BinaryOp, Expr, Node};

/// The number at every step.
pub(super) fn values(eval: &Eval<'_>, expr: &Expr, steps: Steps) -> Result<Vec<f64>, EvalError> {
    let count = steps.count();
    if expr.hoist && count > 1 {
        return Ok(vec![values_at(eval, expr, steps.first())?[0]; count]);
    }
    values_at(eval, expr, steps)
}

fn values_at(eval: &Eval<'_>, expr: &Expr, steps: Steps) -> Result<Vec<f64>, EvalError> {
    let count = steps.count();
    match &expr.node {
        Node::Number(number) => Ok(vec![number.value; count]),
        Node::Paren(inner) | Node::Unary(false, inner) => values(eval, inner, steps),
        Node::Unary(true, inner) => Ok(values(eval, inner, steps)?
            .into_iter()
            .map(|value| -value)
            .collect()),
        Node::Binary(binary) => {
            let lhs = values(eval, &binary.lhs, steps)?;
            let rhs = values(eval, &binary.rhs, steps)?;
            Ok(lhs
                .into_iter()
                .zip(rhs)
                .map(|(a, b)| compute(binary.op, a, b))
                .collect())
        }
        Node::Call(function, args) => match (function.name, args.first()) {
            ("time", _) => Ok(steps.times().map(|time| time as f64 / 1000.0).collect()),
            ("pi", _) => Ok(vec![std::f64::consts::PI; count]),
            (_, Some(vector)) => of_vector(eval, vector, steps),
            _ => EvalError::query("expression is no scalar"),
        },
        _ => EvalError::query("expression is no scalar"),
    }
}

/// The value of the only plain sample of a step; none and several are no number.
fn of_vector(eval: &Eval<'_>, vector: &Expr, steps: Steps) -> Result<Vec<f64>, EvalError> {
    let mut found = vec![false; steps.count()];
    let mut out = vec![f64::NAN; steps.count()];
    for one in stream::stream(eval, vector, steps)? {
        for (time, value) in one?.floats.iter() {
            let at = steps.index(time);
            out[at] = if found[at] { f64::NAN } else { value };
            found[at] = true;
        }
    }
    Ok(out)
}

/// An operator between two numbers; comparisons give 1 or 0.
pub(super) fn compute(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => power(a, b),
        BinaryOp::Atan2 => a.atan2(b),
        op => f64::from(u8::from(compares(op, a, b))),
    }
}

/// A power with the special cases of IEEE 754 (and of Go).
pub(super) fn power(a: f64, b: f64) -> f64 {
    a.powf(b)
}

/// Whether a comparison holds.
pub(super) fn compares(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::Ge => a >= b,
        _ => false,
    }
}
