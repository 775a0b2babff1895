//! Durations and their arithmetic.

use super::expr::precedence;
use super::{Parser, Step};
use crate::promql::ast::{AggregateOp, BinaryOp, Duration, DurationNode, Number, Span};
use crate::promql::lex::{Keyword, Kind};
use crate::promql::parse::MAX_DEPTH;

/// The longest duration either way: 64 bits of nanoseconds.
const MAX_SECONDS: f64 = 9_223_372_036.854_776;

impl Parser<'_> {
    pub(super) fn positive_duration(&mut self) -> Step<Duration> {
        let duration = self.duration(0)?;
        if let DurationNode::Number(number) = duration.node
            && number.value <= 0.0
        {
            self.error(duration.span, "duration must be greater than 0");
        }
        Ok(duration)
    }

    /// Arithmetic of operators that bind at least as tightly as `least`.
    pub(super) fn duration(&mut self, least: u8) -> Step<Duration> {
        self.deeper(|parser| {
            let lhs = parser.duration_operand(false)?;
            parser.duration_operators(lhs, least)
        })
    }

    fn duration_operators(&mut self, mut lhs: Duration, least: u8) -> Step<Duration> {
        while let Kind::Operator(op) = *self.kind() {
            let arithmetic = matches!(
                op,
                BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::Div
                    | BinaryOp::Mod
                    | BinaryOp::Pow
            );
            let level = precedence(op);
            if !arithmetic || level < least {
                break;
            }
            let sign = self.next();
            let rhs = self.duration(if op == BinaryOp::Pow {
                level
            } else {
                level + 1
            })?;
            self.experimental(&lhs);
            let zero = matches!(rhs.node, DurationNode::Number(n) if n.value == 0.0);
            if zero && op == BinaryOp::Div {
                self.error(sign.span, "division by zero");
            } else if zero && op == BinaryOp::Mod {
                self.error(sign.span, "modulo by zero");
            }
            let span = lhs.span.to(rhs.span);
            lhs = Duration::new(span, DurationNode::Binary(op, Box::new(lhs), Box::new(rhs)));
            if lhs.depth > MAX_DEPTH {
                return self.too_deep();
            }
        }
        Ok(lhs)
    }

    /// What may follow `offset`: operators after a plain duration belong to the expression.
    pub(super) fn offset_duration(&mut self) -> Step<Duration> {
        let parenthesised = self.is("(");
        let duration = self.duration_operand(true)?;
        if parenthesised {
            self.duration_operators(duration, 0)
        } else {
            Ok(duration)
        }
    }

    /// `alone` if operators behind it are no part of the duration.
    fn duration_operand(&mut self, alone: bool) -> Step<Duration> {
        match self.kind().clone() {
            Kind::Number | Kind::Duration => {
                let token = self.next();
                let number = self.number(&token);
                self.checked(token.span, token.span, number)
            }
            Kind::Operator(sign @ (BinaryOp::Add | BinaryOp::Sub)) => {
                let token = self.next();
                let inner = self.deeper(|parser| {
                    let inner = parser.duration_operand(alone)?;
                    if alone {
                        Ok(inner)
                    } else {
                        parser.duration_operators(inner, super::expr::SIGN)
                    }
                })?;
                let span = Span::new(token.span.start, inner.span.end);
                let minus = sign == BinaryOp::Sub;
                match inner.node {
                    DurationNode::Number(mut number) => {
                        if minus {
                            number.value = -number.value;
                        }
                        self.checked(span, token.span, number)
                    }
                    _ if minus => Ok(Duration::new(span, DurationNode::Negative(Box::new(inner)))),
                    _ => Ok(inner),
                }
            }
            Kind::Keyword(word @ (Keyword::Step | Keyword::Range)) => {
                let start = self.next();
                self.expect("(")?;
                let end = self.expect(")")?;
                let node = if word == Keyword::Step {
                    DurationNode::Step
                } else {
                    DurationNode::Range
                };
                Ok(Duration::new(start.span.to(end.span), node))
            }
            Kind::Aggregator(op @ (AggregateOp::Min | AggregateOp::Max)) => {
                let start = self.next();
                self.expect("(")?;
                let a = Box::new(self.duration(0)?);
                self.expect(",")?;
                let b = Box::new(self.duration(0)?);
                let end = self.expect(")")?;
                let node = if op == AggregateOp::Min {
                    DurationNode::Min(a, b)
                } else {
                    DurationNode::Max(a, b)
                };
                Ok(Duration::new(start.span.to(end.span), node))
            }
            Kind::Sign("(") => {
                self.next();
                let mut inner = self.duration(0)?;
                self.expect(")")?;
                self.experimental(&inner);
                inner.wrapped = !matches!(inner.node, DurationNode::Number(_));
                Ok(inner)
            }
            _ => self.unexpected(),
        }
    }

    fn checked(&mut self, span: Span, at: Span, mut number: Number) -> Step<Duration> {
        if number.value.abs() > MAX_SECONDS {
            self.error(at, "duration out of range");
            number.value = 0.0;
        }
        Ok(Duration::new(span, DurationNode::Number(number)))
    }

    fn experimental(&mut self, duration: &Duration) {
        if !self.options.duration_expressions {
            self.error(
                duration.span,
                "experimental duration expression is not enabled",
            );
        }
    }
}
