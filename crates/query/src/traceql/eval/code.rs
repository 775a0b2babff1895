//! Expressions made ready: patterns compiled, comparisons with nil told apart.

use super::field::View;
use super::{compare, compute};
use crate::traceql::ast::{Expr, Field, Node, Op};
use crate::traceql::value::Value;
use regex::Regex;

/// Memory that a compiled pattern may take.
const PATTERN_MAX_BYTES: usize = 1 << 20;

/// A pattern as the language means it: it matches the whole text.
pub(in crate::traceql) fn pattern(text: &str) -> Result<Regex, String> {
    let made = crate::go_regex::whole(text, PATTERN_MAX_BYTES);
    made.map_err(|e| format!("the pattern {text:?}: {e}"))
}

/// An expression that can be evaluated.
pub(in crate::traceql) enum Code {
    Constant(Value),
    Field(Field),
    Negative(Box<Self>),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    /// `= nil`, or not.
    Nil(Box<Self>, bool),
    /// `=~`, or not.
    Match(Box<Self>, Regex, bool),
    Compare(Op, Box<Self>, Box<Self>),
    Compute(Op, Box<Self>, Box<Self>),
}

impl Code {
    pub(in crate::traceql) fn of(expr: &Expr) -> Self {
        let boxed = |expr: &Expr| Box::new(Self::of(expr));
        match &expr.node {
            Node::Literal(value) => Self::Constant(value.clone()),
            Node::Field(field) => Self::Field(field.clone()),
            Node::Negative(inner) => Self::Negative(boxed(inner)),
            Node::Not(inner) => Self::Not(boxed(inner)),
            Node::Binary(Op::And, lhs, rhs) => Self::And(boxed(lhs), boxed(rhs)),
            Node::Binary(Op::Or, lhs, rhs) => Self::Or(boxed(lhs), boxed(rhs)),
            Node::Binary(op @ (Op::Match | Op::NoMatch), lhs, rhs) => match &rhs.node {
                Node::Literal(Value::Text(text)) => match pattern(text) {
                    Ok(pattern) => Self::Match(boxed(lhs), pattern, *op == Op::Match),
                    Err(_) => Self::Constant(Value::Bool(false)),
                },
                // Only checked queries come here: a pattern is a text.
                _ => Self::Constant(Value::Bool(false)),
            },
            Node::Binary(op @ (Op::Eq | Op::Ne), lhs, rhs) => {
                let nil = |expr: &Expr| expr.node == Node::Literal(Value::Nil);
                match (nil(lhs), nil(rhs)) {
                    (_, true) => Self::Nil(boxed(lhs), *op == Op::Eq),
                    (true, _) => Self::Nil(boxed(rhs), *op == Op::Eq),
                    _ => Self::Compare(*op, boxed(lhs), boxed(rhs)),
                }
            }
            Node::Binary(op, lhs, rhs) if op.compares() => {
                Self::Compare(*op, boxed(lhs), boxed(rhs))
            }
            Node::Binary(op, lhs, rhs) => Self::Compute(*op, boxed(lhs), boxed(rhs)),
        }
    }

    /// Whether it is true of a span.
    pub(in crate::traceql) fn holds(&self, view: &View<'_>, span: u32) -> bool {
        match self {
            Self::And(lhs, rhs) => lhs.holds(view, span) && rhs.holds(view, span),
            Self::Or(lhs, rhs) => lhs.holds(view, span) || rhs.holds(view, span),
            Self::Not(inner) => match &**inner {
                // The negation of an attribute that is not there is not true either.
                field @ Self::Field(_) => field.value(view, span) == Value::Bool(false),
                inner => !inner.holds(view, span),
            },
            Self::Nil(inner, nil) => (inner.value(view, span) == Value::Nil) == *nil,
            Self::Match(inner, pattern, positive) => {
                matches(&inner.value(view, span), pattern, *positive)
            }
            Self::Compare(op, lhs, rhs) => {
                compare(*op, &lhs.value(view, span), &rhs.value(view, span))
            }
            other => other.value(view, span) == Value::Bool(true),
        }
    }

    pub(in crate::traceql) fn value(&self, view: &View<'_>, span: u32) -> Value {
        match self {
            Self::Constant(value) => value.clone(),
            Self::Field(field) => view.field(field, span),
            Self::Negative(inner) => compute(Op::Sub, &Value::Int(0), &inner.value(view, span)),
            Self::Compute(op, lhs, rhs) => {
                compute(*op, &lhs.value(view, span), &rhs.value(view, span))
            }
            truth => Value::Bool(truth.holds(view, span)),
        }
    }
}

fn matches(value: &Value, pattern: &Regex, positive: bool) -> bool {
    match value {
        Value::Text(text) => pattern.is_match(text) == positive,
        Value::List(list) if positive => list.iter().any(|v| matches(v, pattern, true)),
        Value::List(list) => list.iter().all(|v| matches(v, pattern, false)),
        _ => false,
    }
}
