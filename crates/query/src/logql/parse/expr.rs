//! Expressions: ranges, aggregations, operators.

use super::pipeline::number;
use super::{Parser, Step};
use crate::logql::amount;
use crate::logql::ast::{
    Aggregation, AggregationOp, Binary, Expr, Grouping, LabelReplace, LogQuery, Node,
    RangeAggregation, RangeOp, StageNode,
};
use crate::logql::lex::Kind;
use crate::promql::{BinaryOp, Card, Matching, Span};

/// How strongly an operator binds, and whether it binds to the right.
fn binding(op: BinaryOp) -> (u8, bool) {
    match op {
        BinaryOp::Or => (1, false),
        BinaryOp::And | BinaryOp::Unless => (2, false),
        op if op.compares() => (3, false),
        BinaryOp::Add | BinaryOp::Sub => (4, false),
        BinaryOp::Pow => (6, true),
        _ => (5, false),
    }
}

impl Parser<'_> {
    pub(super) fn expression(&mut self, least: u8) -> Step<Expr> {
        self.deeper(|parser| {
            let mut lhs = parser.operand()?;
            while let Some(op) = parser.operator() {
                let (power, right) = binding(op);
                if power < least {
                    break;
                }
                let sign = parser.next().span;
                if matches!(lhs.unwrapped().node, Node::Log(_)) {
                    return parser.fail(
                        lhs.span,
                        format!(
                            "unexpected type for left leg of binary operation ({}): a log query",
                            op.text()
                        ),
                    );
                }
                let (matching, bool) = parser.modifiers(op)?;
                let rhs = parser.expression(if right { power } else { power + 1 })?;
                lhs = parser.binary(op, sign, lhs, rhs, matching, bool)?;
            }
            Ok(lhs)
        })
    }

    fn operator(&self) -> Option<BinaryOp> {
        match &self.peek().kind {
            Kind::Sign(
                sign @ ("+" | "-" | "*" | "/" | "%" | "^" | "==" | "!=" | ">" | ">=" | "<" | "<="),
            ) => BinaryOp::from_text(sign),
            Kind::Word => match self.word()? {
                word @ ("and" | "or" | "unless") => BinaryOp::from_text(word),
                _ => None,
            },
            _ => None,
        }
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        sign: Span,
        lhs: Expr,
        rhs: Expr,
        mut matching: Matching,
        bool: bool,
    ) -> Step<Expr> {
        let number = |expr: &Expr| matches!(expr.unwrapped().node, Node::Number(_));
        if matches!(rhs.unwrapped().node, Node::Log(_)) {
            return self.fail(
                rhs.span,
                format!(
                    "unexpected type for right leg of binary operation ({}): a log query",
                    op.text()
                ),
            );
        }
        if op.is_set() {
            if number(&lhs) || number(&rhs) {
                return self.fail(
                    sign,
                    format!(
                        "unexpected literal for a leg of logical/set binary operation ({})",
                        op.text()
                    ),
                );
            }
            if matching.card != Card::OneToOne {
                return self.fail(
                    sign,
                    format!("no grouping allowed for {} operation", op.text()),
                );
            }
            matching.card = Card::ManyToMany;
        }
        let span = lhs.span.to(rhs.span);
        let binary = Binary {
            op,
            lhs,
            rhs,
            matching,
            bool,
        };
        let expr = Expr::new(span, Node::Binary(Box::new(binary)));
        // A chain of operators is as deep as it is long.
        if expr.depth > super::MAX_DEPTH {
            let message = format!("query is nested deeper than {} levels", super::MAX_DEPTH);
            return self.fail(sign, message);
        }
        Ok(expr)
    }

    fn modifiers(&mut self, op: BinaryOp) -> Step<(Matching, bool)> {
        let mut matching = Matching::default();
        let place = self.peek().span;
        let bool = self.accept_word("bool");
        if bool && !op.compares() {
            return self.fail(
                place,
                "bool modifier can only be used on comparison operators",
            );
        }
        let on = self.word() == Some("on");
        if on || self.word() == Some("ignoring") {
            self.next();
            matching.on = on;
            matching.labels = self.names()?;
            let card = match self.word() {
                Some("group_left") => Card::ManyToOne,
                Some("group_right") => Card::OneToMany,
                _ => return Ok((matching, bool)),
            };
            self.next();
            matching.card = card;
            if self.is("(") {
                matching.include = self.names()?;
            }
        }
        Ok((matching, bool))
    }

    /// Names in parentheses.
    fn names(&mut self) -> Step<Vec<String>> {
        self.expect("(")?;
        let mut out = Vec::new();
        while !self.accept(")") {
            out.push(self.expect_word()?.0);
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(out)
    }

    fn operand(&mut self) -> Step<Expr> {
        let start = self.peek().span;
        match self.peek().kind {
            Kind::Sign("{") => {
                let query = self.log_query()?;
                Ok(self.made(start, Node::Log(Box::new(query))))
            }
            Kind::Sign("(") => {
                self.next();
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(self.made(start, Node::Paren(Box::new(inner))))
            }
            Kind::Sign("+" | "-") | Kind::Amount => {
                let value = self.signed_number()?;
                Ok(self.made(start, Node::Number(value)))
            }
            Kind::Word => self.call(start),
            _ => self.unexpected("a selector, a function, a number or \"(\""),
        }
    }

    fn made(&self, start: Span, node: Node) -> Expr {
        Expr::new(start.to(self.tokens[self.at - 1].span), node)
    }

    fn log_query(&mut self) -> Step<LogQuery> {
        let matchers = self.selector()?;
        let mut stages = Vec::new();
        self.stages(&mut stages, false)?;
        Ok(LogQuery { matchers, stages })
    }

    fn selector(&mut self) -> Step<Vec<crate::promql::Matcher>> {
        let start = self.peek().span;
        let matchers = self.matchers()?;
        if matchers.iter().all(|matcher| matcher.matches("")) {
            return self.fail(
                start,
                "queries require at least one regexp or equality matcher that does not have an \
                 empty-compatible value. For instance, app=~\".*\" does not meet this requirement, \
                 but app=~\".+\" will",
            );
        }
        Ok(matchers)
    }

    pub(super) fn signed_number(&mut self) -> Step<f64> {
        let negative = self.accept("-");
        if !negative {
            self.accept("+");
        }
        if self.peek().kind != Kind::Amount {
            return self.unexpected("number");
        }
        let token = self.next();
        match number(self.text(&token)) {
            Some(value) if negative => Ok(-value),
            Some(value) => Ok(value),
            None => self.bad_amount(token.span),
        }
    }

    fn call(&mut self, start: Span) -> Step<Expr> {
        let word = self.word().unwrap_or_default();
        if let Some(op) = RangeOp::from_text(word) {
            self.next();
            return self.range(start, op);
        }
        if let Some(op) = AggregationOp::from_text(word) {
            self.next();
            return self.aggregation(start, op);
        }
        match word {
            "vector" => {
                self.next();
                self.expect("(")?;
                let value = self.signed_number()?;
                self.expect(")")?;
                Ok(self.made(start, Node::Vector(value)))
            }
            "label_replace" => {
                self.next();
                self.label_replace(start)
            }
            _ => self.unexpected("a selector, a function, a number or \"(\""),
        }
    }

    fn label_replace(&mut self, start: Span) -> Step<Expr> {
        self.expect("(")?;
        let expr = self.expression(0)?;
        self.metric_only(&expr)?;
        let mut texts = Vec::with_capacity(4);
        let mut place = start;
        for _ in 0..4 {
            self.expect(",")?;
            let (text, span) = self.expect_text()?;
            texts.push(text);
            place = span;
        }
        self.expect(")")?;
        let mut texts = texts.into_iter();
        let mut text = || texts.next().unwrap_or_default();
        let call = LabelReplace {
            expr,
            to: text(),
            replacement: text(),
            from: text(),
            regex: text(),
        };
        if let Err(message) =
            crate::promql::Matcher::new("", crate::promql::MatchOp::Regex, &*call.regex)
        {
            return self.fail(place, format!("invalid regex in label_replace: {message}"));
        }
        Ok(self.made(start, Node::LabelReplace(Box::new(call))))
    }

    fn metric_only(&self, expr: &Expr) -> Step<()> {
        match expr.unwrapped().node {
            Node::Log(_) => self.fail(
                expr.span,
                "syntax error: a metric query is expected, not a log query",
            ),
            _ => Ok(()),
        }
    }

    fn grouping(&mut self) -> Step<Option<Grouping>> {
        let without = match self.word() {
            Some("by") => false,
            Some("without") => true,
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(Grouping {
            labels: self.names()?,
            without,
        }))
    }

    fn aggregation(&mut self, start: Span, op: AggregationOp) -> Step<Expr> {
        let mut grouping = self.grouping()?;
        self.expect("(")?;
        let mut param = None;
        if op.takes_param() {
            let place = self.peek().span;
            let value = self.signed_number()?;
            if value < 1.0 || value.fract() != 0.0 {
                return self.fail(
                    place,
                    format!(
                        "invalid parameter (must be greater than 0) {}({value}",
                        op.text()
                    ),
                );
            }
            param = Some(value);
            self.expect(",")?;
        }
        let expr = self.expression(0)?;
        self.metric_only(&expr)?;
        self.expect(")")?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let sorts = matches!(
            op,
            AggregationOp::Sort | AggregationOp::SortDesc | AggregationOp::ApproxTopk
        );
        if sorts && grouping.is_some() {
            return self.fail(
                start,
                format!("grouping not allowed for {} aggregation", op.text()),
            );
        }
        let aggregation = Aggregation {
            op,
            param,
            expr,
            grouping,
        };
        Ok(self.made(start, Node::Aggregate(Box::new(aggregation))))
    }

    fn range(&mut self, start: Span, op: RangeOp) -> Step<Expr> {
        self.expect("(")?;
        let mut param = None;
        if op == RangeOp::QuantileOverTime {
            param = Some(self.signed_number()?);
            self.expect(",")?;
        }
        let mut parens = 0;
        while self.accept("(") {
            parens += 1;
            if parens > super::MAX_DEPTH {
                return self.unexpected("a selector");
            }
        }
        let matchers = self.selector()?;
        let mut stages = Vec::new();
        let mut range = None;
        // The range stands before the pipeline or behind it.
        loop {
            if parens > 0 && self.accept(")") {
                parens -= 1;
            } else if range.is_none() && self.is("[") {
                range = Some(self.range_and_offset()?);
            } else {
                let before = stages.len();
                self.stages(&mut stages, true)?;
                if stages.len() == before {
                    break;
                }
            }
        }
        let Some((range_ns, offset_ns)) = range else {
            return self.unexpected("a range such as [5m]");
        };
        self.expect(")")?;
        let grouping = self.grouping()?;
        let unwraps = stages
            .iter()
            .filter(|stage| matches!(stage.node, StageNode::Unwrap(_)))
            .count();
        let name = op.text();
        let fault = if unwraps == 0 && op.needs_unwrap() {
            format!("invalid aggregation {name} without unwrap")
        } else if unwraps > 0 && !op.takes_unwrap() {
            format!("invalid aggregation {name} with unwrap")
        } else if unwraps > 1 {
            "multiple unwrap not allowed".to_owned()
        } else if grouping.is_some() && !op.groups() {
            format!("grouping not allowed for {name} aggregation")
        } else {
            String::new()
        };
        if !fault.is_empty() {
            return self.fail(start, fault);
        }
        let aggregation = RangeAggregation {
            op,
            param,
            query: LogQuery { matchers, stages },
            range_ns,
            offset_ns,
            grouping,
        };
        Ok(self.made(start, Node::Range(Box::new(aggregation))))
    }

    fn range_and_offset(&mut self) -> Step<(i64, i64)> {
        self.expect("[")?;
        let place = self.peek().span;
        let range = self.duration()?;
        if range <= 0 {
            return self.fail(place, "the range must be greater than 0");
        }
        self.expect("]")?;
        let mut offset = 0;
        if self.accept_word("offset") {
            let negative = self.accept("-");
            offset = self.duration()?;
            if negative {
                offset = -offset;
            }
        }
        Ok((range, offset))
    }

    fn duration(&mut self) -> Step<i64> {
        if self.peek().kind != Kind::Amount {
            return self.unexpected("duration");
        }
        let token = self.next();
        match amount::parse_duration(self.text(&token)) {
            Some(ns) => Ok(ns),
            None => {
                let text = self.text(&token);
                self.fail(token.span, format!("{text} is no duration"))
            }
        }
    }
}
