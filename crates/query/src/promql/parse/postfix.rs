//! What follows an operand: ranges, `offset`, `@`, `anchored`, `smoothed`.

use super::{Parser, Step};
use crate::promql::ast::{
    At, BinaryOp, Duration, DurationNode, Edges, Expr, MatrixSelector, Node, Shift, Span, Subquery,
};
use crate::promql::lex::{Keyword, Kind};

const AFTER_SELECTOR: &str = "must be preceded by an instant vector selector or range vector \
     selector or a subquery";

impl Parser<'_> {
    pub(super) fn postfix(&mut self, mut expr: Expr) -> Step<Expr> {
        loop {
            expr = match self.kind() {
                Kind::Sign("[") => self.range(expr)?,
                Kind::Sign("@") => self.at_modifier(expr)?,
                Kind::Keyword(Keyword::Offset) => self.offset(expr)?,
                Kind::Keyword(Keyword::Anchored) => self.edges(expr, Edges::Anchored)?,
                Kind::Keyword(Keyword::Smoothed) => self.edges(expr, Edges::Smoothed)?,
                _ => return Ok(expr),
            };
        }
    }

    fn range(&mut self, expr: Expr) -> Step<Expr> {
        let open = self.next();
        let range = self.within(
            "subquery or range selector",
            "number, duration, step(), or range()",
            Self::positive_duration,
        )?;
        let (range_ns, range) = split(range);
        if self.accept(":") {
            return self.subquery(expr, range_ns, range);
        }
        if !self.is("]") {
            return self.unexpected_in("subquery or range", "\":\" or \"]\"");
        }
        let close = self.next();
        let brackets = open.span.to(close.span);
        let Node::Vector(selector) = expr.node else {
            self.error(brackets, "ranges only allowed for vector selectors");
            return self.node(expr.span.to(close.span), Node::String(String::new()));
        };
        if selector.shift.offset_ns != 0 {
            self.error(brackets, "no offset modifiers allowed before range");
        } else if matches!(selector.shift.at, Some(At::Time(_))) {
            self.error(brackets, "no @ modifiers allowed before range");
        }
        let span = Span::new(expr.span.start, close.span.end);
        let selector_span = expr.span;
        let matrix = MatrixSelector {
            selector,
            selector_span,
            range_ns,
            range,
        };
        self.node(span, Node::Matrix(Box::new(matrix)))
    }

    fn subquery(&mut self, expr: Expr, range_ns: i64, range: Option<Box<Duration>>) -> Step<Expr> {
        let (mut step_ns, mut step) = (0, None);
        if !self.is("]") {
            let expected = "number, duration, step(), range(), or \"]\"";
            let given = self.within("subquery selector", expected, Self::positive_duration)?;
            (step_ns, step) = split(given);
            if !self.is("]") {
                return self.unexpected_in("subquery selector", "\"]\"");
            }
        }
        let close = self.next();
        let span = Span::new(expr.span.start, close.span.end);
        let shift = Shift::default();
        let subquery = Subquery {
            expr,
            range_ns,
            range,
            step_ns,
            step,
            shift,
        };
        self.node(span, Node::Subquery(Box::new(subquery)))
    }

    fn offset(&mut self, mut expr: Expr) -> Step<Expr> {
        self.next();
        let offset = self.within(
            "offset",
            "number, duration, step(), or range()",
            Self::offset_duration,
        )?;
        let (offset_ns, offset) = split(offset);
        let end = self.tokens[self.at - 1].span.end;
        let span = expr.span;
        let message = match shift_of(&mut expr.node) {
            None => Some(format!("offset modifier {AFTER_SELECTOR}")),
            Some(shift) => {
                let twice = shift.offset_ns != 0 || shift.offset.is_some();
                if offset.is_some() {
                    shift.offset = offset;
                } else {
                    shift.offset_ns = offset_ns;
                }
                expr.span.end = end;
                twice.then(|| "offset may not be set multiple times".to_owned())
            }
        };
        if let Some(message) = message {
            self.error(span, message);
        }
        Ok(expr)
    }

    fn at_modifier(&mut self, mut expr: Expr) -> Step<Expr> {
        self.next();
        let at = self.within("@", "timestamp", Self::at_time)?;
        let span = expr.span;
        let at = match at {
            Ok(at) => at,
            Err(seconds) => match time(seconds) {
                Some(ms) => At::Time(ms),
                None => {
                    let shown = format_fixed(seconds);
                    self.error(
                        span,
                        format!("timestamp out of bounds for @ modifier: {shown}"),
                    );
                    At::Time(0)
                }
            },
        };
        let end = self.tokens[self.at - 1].span.end;
        match shift_of(&mut expr.node) {
            None => self.error(span, format!("@ modifier {AFTER_SELECTOR}")),
            Some(shift) if shift.at.is_some() => {
                self.error(span, "@ <timestamp> may not be set multiple times");
            }
            Some(shift) => {
                shift.at = Some(at);
                expr.span.end = end;
            }
        }
        Ok(expr)
    }

    /// `start()`, `end()`, or else a number of seconds.
    fn at_time(&mut self) -> Step<Result<At, f64>> {
        let at = match self.kind() {
            Kind::Keyword(Keyword::Start) => At::Start,
            Kind::Keyword(Keyword::End) => At::End,
            _ => {
                let minus = match self.kind() {
                    Kind::Operator(BinaryOp::Sub) => Some(true),
                    Kind::Operator(BinaryOp::Add) => Some(false),
                    _ => None,
                };
                if minus.is_some() {
                    self.next();
                }
                if !matches!(self.kind(), Kind::Number | Kind::Duration) {
                    return self.unexpected();
                }
                let token = self.next();
                let value = self.number(&token).value;
                return Ok(Err(if minus == Some(true) { -value } else { value }));
            }
        };
        self.next();
        self.expect("(")?;
        self.expect(")")?;
        Ok(Ok(at))
    }

    fn edges(&mut self, mut expr: Expr, edges: Edges) -> Step<Expr> {
        self.next();
        let name = if edges == Edges::Anchored {
            "anchored"
        } else {
            "smoothed"
        };
        let span = expr.span;
        if !self.options.extended_range_selectors {
            self.error(
                span,
                format!("{name} modifier is experimental and not enabled"),
            );
            return Ok(expr);
        }
        let set = match &mut expr.node {
            Node::Vector(selector) => &mut selector.edges,
            Node::Matrix(matrix) => &mut matrix.selector.edges,
            Node::Subquery(_) => {
                self.error(
                    span,
                    format!("{name} modifier is not supported for subqueries"),
                );
                return Ok(expr);
            }
            _ => {
                self.error(span, format!("{name} modifier not implemented"));
                return Ok(expr);
            }
        };
        let clash = *set != Edges::Plain && *set != edges;
        *set = edges;
        if clash {
            self.error(
                span,
                "anchored and smoothed modifiers cannot be used together",
            );
        }
        Ok(expr)
    }
}

fn shift_of(node: &mut Node) -> Option<&mut Shift> {
    match node {
        Node::Vector(selector) => Some(&mut selector.shift),
        Node::Matrix(matrix) => Some(&mut matrix.selector.shift),
        Node::Subquery(subquery) => Some(&mut subquery.shift),
        _ => None,
    }
}

/// A duration as nanoseconds if it is a plain one, as an expression otherwise.
fn split(duration: Duration) -> (i64, Option<Box<Duration>>) {
    match duration.node {
        DurationNode::Number(number) => ((number.value * 1e9).round() as i64, None),
        _ => (0, Some(Box::new(duration))),
    }
}

/// Seconds as milliseconds, if they are a time at all.
fn time(seconds: f64) -> Option<i64> {
    let possible = seconds.is_finite() && seconds < i64::MAX as f64 && seconds > i64::MIN as f64;
    possible.then(|| (seconds * 1000.0).round() as i64)
}

/// A number as `%f` writes it.
fn format_fixed(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.6}")
    } else {
        crate::promql::text::format_number(value)
    }
}
