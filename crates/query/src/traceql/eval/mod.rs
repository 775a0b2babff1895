//! Evaluation: expressions over a span, then sets of spans of one trace, one trace at a time.

mod code;
mod field;
mod sets;

pub(super) use code::{Code, pattern};
pub(super) use field::View;
pub(super) use sets::{Program, Set};

use super::ast::Op;
use super::value::Value;

/// What bounds a query, beside the limits of its answer.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    /// The most spans that are looked at.
    pub max_spans: usize,
    /// Asked from time to time; yes ends the query.
    pub stop: Option<&'a dyn Fn() -> bool>,
}

impl Default for Budget<'_> {
    fn default() -> Self {
        Self {
            max_spans: 50_000_000,
            stop: None,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The limit is reached.
    #[error("the query looks at more than {0} spans: narrow its time or its filter")]
    TooManySpans(usize),
    /// The limit is reached.
    #[error("the query makes more than {0} series: group by less")]
    TooManySeries(usize),
    /// The caller stopped it, or its time is over.
    #[error("the query was stopped")]
    Stopped,
    /// The query is of the other sort.
    #[error("{0}")]
    Sort(&'static str),
    /// The steps are no steps.
    #[error("{0}")]
    Range(String),
    /// The spans cannot be read.
    #[error("read spans: {0}")]
    Source(String),
}

/// Counts what is looked at.
pub(super) struct Meter<'a> {
    budget: Budget<'a>,
    pub(super) spans: usize,
}

impl<'a> Meter<'a> {
    pub(super) fn new(budget: Budget<'a>) -> Self {
        Self { budget, spans: 0 }
    }

    pub(super) fn count(&mut self, spans: usize) -> Result<(), EvalError> {
        self.spans += spans;
        if self.spans > self.budget.max_spans {
            return Err(EvalError::TooManySpans(self.budget.max_spans));
        }
        match self.budget.stop {
            Some(stop) if stop() => Err(EvalError::Stopped),
            _ => Ok(()),
        }
    }
}

/// Computes with two numbers; nil where that is not possible.
pub(super) fn compute(op: Op, lhs: &Value, rhs: &Value) -> Value {
    use Value::{Duration, Float, Int};
    let (Some(a), Some(b)) = (lhs.number(), rhs.number()) else {
        return Value::Nil;
    };
    if let (Int(a), Int(b)) = (lhs, rhs) {
        let whole = match op {
            Op::Add => a.checked_add(*b),
            Op::Sub => a.checked_sub(*b),
            Op::Mul => a.checked_mul(*b),
            Op::Div => a.checked_div(*b),
            Op::Mod => a.checked_rem(*b),
            _ => u32::try_from(*b).ok().and_then(|b| a.checked_pow(b)),
        };
        if let Some(whole) = whole {
            return Int(whole);
        }
        if *b == 0 {
            return Value::Nil;
        }
    }
    let result = match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Mod => a % b,
        _ => a.powf(b),
    };
    let durations = (matches!(lhs, Duration(_)), matches!(rhs, Duration(_)));
    let duration = match op {
        Op::Add | Op::Sub | Op::Mod => durations.0 || durations.1,
        Op::Mul | Op::Div => durations.0 != durations.1 && (op == Op::Mul || durations.0),
        _ => false,
    };
    match duration {
        true => Duration(result as i64),
        false => Float(result),
    }
}

/// Whether a comparison holds. Of lists it holds where it holds for one member; `!=` where it
/// holds for all.
pub(super) fn compare(op: Op, lhs: &Value, rhs: &Value) -> bool {
    match (lhs, rhs) {
        (Value::List(list), other) if op == Op::Ne => {
            list.iter().all(|value| compare(op, value, other))
        }
        (other, Value::List(list)) if op == Op::Ne => {
            list.iter().all(|value| compare(op, other, value))
        }
        (Value::List(list), other) => list.iter().any(|value| compare(op, value, other)),
        (other, Value::List(list)) => list.iter().any(|value| compare(op, other, value)),
        _ => match lhs.order(rhs) {
            None => false,
            Some(order) => match op {
                Op::Eq => order.is_eq(),
                Op::Ne => order.is_ne(),
                Op::Lt => order.is_lt(),
                Op::Le => order.is_le(),
                Op::Gt => order.is_gt(),
                _ => order.is_ge(),
            },
        },
    }
}
