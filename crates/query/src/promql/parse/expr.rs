//! Operators, literals, parentheses, calls and aggregations.

use super::{Parser, Step};
use crate::promql::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Expr, Node, Number, Span};
use crate::promql::functions;
use crate::promql::lex::{Keyword, Kind, Token};
use crate::promql::parse::MAX_DEPTH;
use crate::promql::text::{parse_duration, parse_number, quote, unquote};

/// How tightly an operator binds; more is tighter.
pub(super) fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        op if op.compares() => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Pow => 6,
        _ => 5,
    }
}

/// A sign binds like multiplication: only powers are tighter.
pub(super) const SIGN: u8 = 6;

impl Parser<'_> {
    pub(super) fn whole_expression(&mut self) -> Step<Expr> {
        if *self.kind() == Kind::End {
            self.error(Span::default(), "no expression found in input");
            return Err(super::Stop);
        }
        let expr = self.expression(0)?;
        if *self.kind() == Kind::End {
            Ok(expr)
        } else {
            self.unexpected()
        }
    }

    /// An expression of operators that bind at least as tightly as `least`.
    pub(super) fn expression(&mut self, least: u8) -> Step<Expr> {
        self.deeper(|parser| parser.operators(least))
    }

    fn operators(&mut self, least: u8) -> Step<Expr> {
        let mut lhs = self.operand()?;
        while let Kind::Operator(op) = *self.kind() {
            let level = precedence(op);
            if level < least {
                break;
            }
            self.next();
            let (matching, bool) = self.modifiers()?;
            // Powers group to the right, all else to the left.
            let rhs = self.expression(if op == BinaryOp::Pow {
                level
            } else {
                level + 1
            })?;
            let span = lhs.span.to(rhs.span);
            if !self.options.fill_modifiers
                && (matching.fill_left.is_some() || matching.fill_right.is_some())
            {
                self.error(
                    span,
                    "binop fill modifiers are experimental and not enabled",
                );
            }
            let binary = Binary {
                op,
                lhs,
                rhs,
                matching: Some(matching),
                bool,
            };
            lhs = self.node(span, Node::Binary(Box::new(binary)))?;
        }
        Ok(lhs)
    }

    pub(super) fn node(&mut self, span: Span, node: Node) -> Step<Expr> {
        let expr = Expr::new(span, node);
        if expr.depth > MAX_DEPTH {
            self.too_deep()
        } else {
            Ok(expr)
        }
    }

    fn operand(&mut self) -> Step<Expr> {
        if let Kind::Operator(sign @ (BinaryOp::Add | BinaryOp::Sub)) = *self.kind() {
            let start = self.next().span.start;
            let mut expr = self.expression(SIGN)?;
            let minus = sign == BinaryOp::Sub;
            if let Node::Number(number) = &mut expr.node {
                if minus {
                    number.value = -number.value;
                }
                expr.span.start = start;
                return Ok(expr);
            }
            let span = Span::new(start, expr.span.end);
            return self.node(span, Node::Unary(minus, Box::new(expr)));
        }
        let expr = self.primary()?;
        self.postfix(expr)
    }

    fn primary(&mut self) -> Step<Expr> {
        match self.kind().clone() {
            Kind::Number | Kind::Duration => {
                let token = self.next();
                let number = self.number(&token);
                self.node(token.span, Node::Number(number))
            }
            Kind::String => {
                let token = self.next();
                let text = self.unquoted(&token);
                self.node(token.span, Node::String(text))
            }
            Kind::Sign("(") => {
                let open = self.next();
                let inner = self.expression(0)?;
                let close = self.expect(")")?;
                self.node(open.span.to(close.span), Node::Paren(Box::new(inner)))
            }
            Kind::Sign("{") => self.selector(None),
            Kind::Aggregator(op)
                if matches!(
                    self.second(),
                    Kind::Sign("(") | Kind::Keyword(Keyword::By | Keyword::Without)
                ) =>
            {
                self.aggregate(op)
            }
            Kind::Identifier if *self.second() == Kind::Sign("(") => self.call(),
            Kind::Keyword(Keyword::Step | Keyword::Range) if *self.second() == Kind::Sign("(") => {
                let duration = self.duration(0)?;
                self.node(duration.span, Node::Duration(Box::new(duration)))
            }
            kind if names_metric(&kind) => {
                let name = self.next();
                self.selector(Some(name))
            }
            _ => self.unexpected(),
        }
    }

    pub(super) fn number(&mut self, token: &Token) -> Number {
        let text = self.text(token);
        let duration = token.kind == Kind::Duration;
        let value = if duration {
            parse_duration(text).map(|ms| ms as f64 / 1000.0)
        } else {
            parse_number(text)
        };
        let value = value.unwrap_or_else(|message| {
            self.error(token.span, message);
            0.0
        });
        Number { value, duration }
    }

    pub(super) fn unquoted(&mut self, token: &Token) -> String {
        let text = self.text(token);
        unquote(text).unwrap_or_else(|| {
            let message = format!("error unquoting string {}: invalid syntax", quote(text));
            self.error(token.span, message);
            String::new()
        })
    }

    fn call(&mut self) -> Step<Expr> {
        let name = self.next();
        let (args, end) = self.arguments()?;
        let text = self.text(&name);
        let Some(function) = functions::find(text) else {
            self.error(
                name.span,
                format!("unknown function with name {}", quote(text)),
            );
            // What follows may be wrong too, but only the first error is told.
            return self.node(Span::new(name.span.start, end), Node::String(String::new()));
        };
        if function.experimental && !self.options.experimental_functions {
            self.error(
                name.span,
                format!("function {} is not enabled", quote(text)),
            );
        }
        self.node(Span::new(name.span.start, end), Node::Call(function, args))
    }

    /// Arguments in parentheses, and where they end.
    fn arguments(&mut self) -> Step<(Vec<Expr>, usize)> {
        self.expect("(")?;
        let mut args = Vec::new();
        if !self.is(")") {
            loop {
                args.push(self.expression(0)?);
                if !self.is(",") {
                    break;
                }
                let comma = self.next();
                if self.is(")") {
                    self.error(
                        comma.span,
                        "trailing commas not allowed in function call args",
                    );
                    break;
                }
            }
        }
        Ok((args, self.expect(")")?.span.end))
    }

    fn aggregate(&mut self, op: AggregateOp) -> Step<Expr> {
        let word = self.next();
        self.within("aggregation", "", |parser| {
            let mut modifier = parser.aggregate_modifier()?;
            let (args, mut end) = parser.arguments()?;
            if modifier.is_none() {
                modifier = parser.aggregate_modifier()?;
                if modifier.is_some() {
                    end = parser.tokens[parser.at - 1].span.end;
                }
            }
            let (grouping, without) = modifier.unwrap_or_default();
            let span = Span::new(word.span.start, end);
            parser.build_aggregate(op, span, args, grouping, without)
        })
    }

    fn aggregate_modifier(&mut self) -> Step<Option<(Vec<String>, bool)>> {
        let without = match self.kind() {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.next();
        Ok(Some((self.grouping()?, without)))
    }

    fn build_aggregate(
        &mut self,
        op: AggregateOp,
        span: Span,
        args: Vec<Expr>,
        grouping: Vec<String>,
        without: bool,
    ) -> Step<Expr> {
        let wanted = if op.takes_param() { 2 } else { 1 };
        let given = args.len();
        let mut args = args.into_iter();
        let message = if given == 0 {
            "no arguments for aggregate expression provided".to_owned()
        } else if op.experimental() && !self.options.experimental_functions {
            format!(
                "{}() is experimental and must be enabled with \
                 --enable-feature=promql-experimental-functions",
                op.text()
            )
        } else if given != wanted {
            format!(
                "wrong number of arguments for aggregate expression provided, \
                 expected {wanted}, got {given}"
            )
        } else {
            let param = if op.takes_param() { args.next() } else { None };
            if let Some(expr) = args.next() {
                let aggregate = Aggregate {
                    op,
                    expr,
                    param,
                    grouping,
                    without,
                };
                return self.node(span, Node::Aggregate(Box::new(aggregate)));
            }
            String::new()
        };
        self.error(span, message);
        self.node(span, Node::String(String::new()))
    }
}

/// Whether a word can be the name of a metric.
pub(super) fn names_metric(kind: &Kind) -> bool {
    match kind {
        Kind::Identifier | Kind::Metric | Kind::Aggregator(_) => true,
        Kind::Operator(op) => op.is_set(),
        Kind::Keyword(word) => !matches!(
            word,
            Keyword::Bool
                | Keyword::On
                | Keyword::Ignoring
                | Keyword::GroupLeft
                | Keyword::GroupRight
        ),
        _ => false,
    }
}
