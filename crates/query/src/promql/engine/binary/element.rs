//! One operator, two values.

use std::sync::Arc;

use super::super::{Eval, scalar};
use crate::promql::annotation::{self, Operation as What};
use crate::promql::ast::{BinaryOp, Span};
use crate::promql::histogram::{Histogram, ResetHint};
use crate::promql::series::{Samples, Series, Value};

/// Whether the result is something else than what was measured.
pub(super) fn changes_meaning(op: BinaryOp) -> bool {
    !op.compares() && !op.is_set()
}

/// What came of an operator.
pub(super) enum Outcome {
    /// A value, and whether a comparison holds (an operation always does).
    Value { result: Value, keep: bool },
    /// A comparison that types do not allow; with `bool` it is still no value.
    Refused,
}

/// An operator at its place in the query.
#[derive(Clone, Copy)]
pub(super) struct Operation<'e, 'a> {
    pub(super) eval: &'e Eval<'a>,
    pub(super) op: BinaryOp,
    pub(super) span: Span,
}

impl Operation<'_, '_> {
    pub(super) fn apply(&self, lhs: &Value, rhs: &Value) -> Outcome {
        match (lhs, rhs) {
            (Value::Float(a), Value::Float(b)) => self.floats(*a, *b),
            (Value::Float(a), Value::Histogram(b)) => match self.op {
                BinaryOp::Mul => scaled(b, |h| h.scale(*a)),
                _ => self.refuse("float", "histogram"),
            },
            (Value::Histogram(a), Value::Float(b)) => match self.op {
                BinaryOp::Mul => scaled(a, |h| h.scale(*b)),
                BinaryOp::Div => scaled(a, |h| h.divide(*b)),
                _ => self.refuse("histogram", "float"),
            },
            (Value::Histogram(a), Value::Histogram(b)) => self.histograms(a, b),
        }
    }

    fn floats(&self, a: f64, b: f64) -> Outcome {
        if self.op.compares() {
            let keep = scalar::compares(self.op, a, b);
            return Outcome::Value {
                result: Value::Float(a),
                keep,
            };
        }
        Outcome::Value {
            result: Value::Float(scalar::compute(self.op, a, b)),
            keep: true,
        }
    }

    fn histograms(&self, a: &Arc<Histogram>, b: &Arc<Histogram>) -> Outcome {
        let same = |wanted: bool| Outcome::Value {
            result: Value::Histogram(Arc::clone(a)),
            keep: a.same(b) == wanted,
        };
        match self.op {
            BinaryOp::Eq => same(true),
            BinaryOp::Ne => same(false),
            BinaryOp::Add => self.merged(a, b, What::Addition),
            BinaryOp::Sub => self.merged(a, b, What::Subtraction),
            _ => self.refuse("histogram", "histogram"),
        }
    }

    fn merged(&self, a: &Histogram, b: &Histogram, what: What) -> Outcome {
        let mut result = a.clone();
        let merged = match what {
            What::Subtraction => result.subtract(b),
            _ => result.add(b),
        };
        let Ok(merged) = merged else {
            self.eval
                .annotate(annotation::incompatible_layout(self.op.text(), self.span));
            return Outcome::Refused;
        };
        if matches!(what, What::Subtraction) {
            result.hint = ResetHint::Gauge;
        }
        if merged.resets_collide {
            self.eval
                .annotate(annotation::resets_collide(what, self.span));
        }
        if merged.bounds_reconciled {
            self.eval
                .annotate(annotation::bounds_reconciled(what, self.span));
        }
        result.compact();
        Outcome::Value {
            result: Value::Histogram(Arc::new(result)),
            keep: true,
        }
    }

    fn refuse(&self, left: &str, right: &str) -> Outcome {
        let operator = self.op.text();
        self.eval.annotate(annotation::incompatible_types(
            left, operator, right, self.span,
        ));
        Outcome::Refused
    }
}

fn scaled(histogram: &Histogram, change: impl Fn(&mut Histogram)) -> Outcome {
    let mut result = histogram.clone();
    change(&mut result);
    result.compact();
    Outcome::Value {
        result: Value::Histogram(Arc::new(result)),
        keep: true,
    }
}

/// Puts samples that were added out of order into order.
pub(super) fn in_order(series: &mut Series) {
    if !series.floats.times.is_sorted() {
        let mut samples: Vec<(i64, f64)> = series.floats.iter().collect();
        samples.sort_by_key(|(time, _)| *time);
        let (times, values) = samples.into_iter().unzip();
        series.floats = Samples { times, values };
    }
    series.histograms.sort_by_key(|(time, _)| *time);
}
