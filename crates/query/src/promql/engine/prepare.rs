//! What is settled before an evaluation: durations, `start()` and `end()`, and which parts give
//! the same at every step.

use super::EvalError;
use crate::promql::ast::{At, BinaryOp, Duration, DurationNode, Expr, Node, Shift};

/// Functions whose result depends on the time of evaluation even if their arguments do not.
const TIME_BOUND: [&str; 11] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
];

/// A copy of the tree, ready to be evaluated from `start` to `end`.
pub(super) fn prepare(expr: &Expr, start: i64, end: i64, step: i64) -> Result<Expr, EvalError> {
    let mut expr = expr.clone();
    let query = Query { start, end, step };
    query.settle(&mut expr)?;
    reduce(
        &mut expr,
        Needs {
            counts: false,
            buckets: false,
        },
    );
    let invariance = mark(&mut expr);
    expr.hoist = invariance.wrap;
    Ok(expr)
}

struct Query {
    start: i64,
    end: i64,
    step: i64,
}

impl Query {
    fn settle(&self, expr: &mut Expr) -> Result<(), EvalError> {
        match &mut expr.node {
            Node::Vector(selector) => self.shift(&mut selector.shift)?,
            Node::Matrix(matrix) => {
                self.shift(&mut matrix.selector.shift)?;
                if let Some(range) = &matrix.range {
                    matrix.range_ns = self.resolve(range, false)?;
                }
            }
            Node::Subquery(sub) => {
                self.settle(&mut sub.expr)?;
                self.shift(&mut sub.shift)?;
                if let Some(step) = &sub.step {
                    sub.step_ns = self.resolve(step, false)?;
                }
                if let Some(range) = &sub.range {
                    sub.range_ns = self.resolve(range, false)?;
                }
            }
            Node::Call(_, args) => args.iter_mut().try_for_each(|arg| self.settle(arg))?,
            Node::Aggregate(aggregate) => {
                self.settle(&mut aggregate.expr)?;
                if let Some(param) = &mut aggregate.param {
                    self.settle(param)?;
                }
            }
            Node::Binary(binary) => {
                self.settle(&mut binary.lhs)?;
                self.settle(&mut binary.rhs)?;
            }
            Node::Unary(_, inner) | Node::Paren(inner) => self.settle(inner)?,
            Node::Number(_) | Node::String(_) | Node::Duration(_) => {}
        }
        Ok(())
    }

    fn shift(&self, shift: &mut Shift) -> Result<(), EvalError> {
        if let Some(offset) = &shift.offset {
            shift.offset_ns = self.resolve(offset, true)?;
        }
        shift.at = match shift.at {
            Some(At::Start) => Some(At::Time(self.start)),
            Some(At::End) => Some(At::Time(self.end)),
            other => other,
        };
        Ok(())
    }

    /// A duration in nanoseconds, to the millisecond.
    fn resolve(&self, duration: &Duration, negative: bool) -> Result<i64, EvalError> {
        let seconds = self.seconds(duration)?;
        let fault = |what: &str| {
            let span = duration.span;
            EvalError::query(format!("{}:{}: {what}", span.start, span.end))
        };
        if seconds <= 0.0 && !negative {
            return fault("duration must be greater than 0");
        }
        if seconds.abs() >= 9_223_372_036.0 || seconds.is_nan() {
            return fault("duration is out of range");
        }
        Ok((seconds * 1000.0) as i64 * 1_000_000)
    }

    fn seconds(&self, duration: &Duration) -> Result<f64, EvalError> {
        let zero = |what: &str| {
            let span = duration.span;
            EvalError::query(format!("{}:{}: {what} by zero", span.start, span.end))
        };
        Ok(match &duration.node {
            DurationNode::Number(number) => number.value,
            DurationNode::Step => self.step as f64 / 1000.0,
            DurationNode::Range => (self.end - self.start) as f64 / 1000.0,
            DurationNode::Negative(inner) => -self.seconds(inner)?,
            DurationNode::Min(a, b) => self.seconds(a)?.min(self.seconds(b)?),
            DurationNode::Max(a, b) => self.seconds(a)?.max(self.seconds(b)?),
            DurationNode::Binary(op, a, b) => {
                let (a, b) = (self.seconds(a)?, self.seconds(b)?);
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div if b == 0.0 => return zero("division"),
                    BinaryOp::Div => a / b,
                    BinaryOp::Mod if b == 0.0 => return zero("modulo"),
                    BinaryOp::Mod => a % b,
                    _ => a.powf(b),
                }
            }
        })
    }
}

/// What the functions around a selector need of histograms.
#[derive(Clone, Copy)]
struct Needs {
    counts: bool,
    buckets: bool,
}

/// Marks selectors of whose histograms only counts and sums are looked at. Subqueries need the
/// buckets to find resets.
fn reduce(expr: &mut Expr, needs: Needs) {
    match &mut expr.node {
        Node::Vector(selector) => selector.counts_only = needs.counts && !needs.buckets,
        Node::Matrix(matrix) => matrix.selector.counts_only = needs.counts && !needs.buckets,
        Node::Subquery(sub) => reduce(
            &mut sub.expr,
            Needs {
                buckets: true,
                ..needs
            },
        ),
        Node::Call(function, args) => {
            let needs = match function.name {
                "histogram_count" | "histogram_sum" | "histogram_avg" => Needs {
                    counts: true,
                    ..needs
                },
                "histogram_quantile" | "histogram_fraction" => Needs {
                    buckets: true,
                    ..needs
                },
                _ => needs,
            };
            args.iter_mut().for_each(|arg| reduce(arg, needs));
        }
        Node::Aggregate(aggregate) => {
            reduce(&mut aggregate.expr, needs);
            if let Some(param) = &mut aggregate.param {
                reduce(param, needs);
            }
        }
        Node::Binary(binary) => {
            reduce(&mut binary.lhs, needs);
            reduce(&mut binary.rhs, needs);
        }
        Node::Unary(_, inner) | Node::Paren(inner) => reduce(inner, needs),
        Node::Number(_) | Node::String(_) | Node::Duration(_) => {}
    }
}

/// Whether an expression is the same at every step, and whether evaluating it once pays.
#[derive(Clone, Copy)]
struct Invariance {
    same: bool,
    wrap: bool,
}

impl Invariance {
    fn both(yes: bool) -> Self {
        Self {
            same: yes,
            wrap: yes,
        }
    }
}

/// Marks the highest expressions that are the same at every step.
fn mark(expr: &mut Expr) -> Invariance {
    match &mut expr.node {
        Node::Number(_) | Node::String(_) | Node::Duration(_) => Invariance {
            same: true,
            wrap: false,
        },
        Node::Vector(selector) => Invariance::both(selector.shift.at.is_some()),
        Node::Matrix(matrix) => Invariance {
            same: matrix.selector.shift.at.is_some(),
            wrap: false,
        },
        Node::Subquery(sub) => {
            sub.expr.hoist = mark(&mut sub.expr).same;
            Invariance {
                same: sub.shift.at.is_some(),
                wrap: false,
            }
        }
        Node::Paren(inner) | Node::Unary(_, inner) => mark(inner),
        Node::Aggregate(aggregate) => {
            let inner = mark(&mut aggregate.expr);
            let param = aggregate.param.as_mut().map_or(
                Invariance {
                    same: true,
                    wrap: false,
                },
                mark,
            );
            if inner.same && param.same {
                return inner;
            }
            aggregate.expr.hoist = inner.wrap;
            if let Some(expr) = &mut aggregate.param {
                expr.hoist = param.wrap;
            }
            Invariance::both(false)
        }
        Node::Binary(binary) => {
            let (lhs, rhs) = (mark(&mut binary.lhs), mark(&mut binary.rhs));
            if lhs.same && rhs.same {
                return Invariance::both(true);
            }
            binary.lhs.hoist = lhs.wrap;
            binary.rhs.hoist = rhs.wrap;
            Invariance::both(false)
        }
        Node::Call(function, args) => {
            let marks: Vec<Invariance> = args.iter_mut().map(mark).collect();
            if !TIME_BOUND.contains(&function.name) && marks.iter().all(|mark| mark.same) {
                return Invariance::both(true);
            }
            for (arg, mark) in args.iter_mut().zip(marks) {
                arg.hoist = mark.wrap;
            }
            Invariance::both(false)
        }
    }
}
