//! Selectors: a metric name, conditions on labels, or both.

use super::{Parser, Step};
use crate::promql::ast::{BinaryOp, Edges, Expr, Node, Shift, Span, VectorSelector};
use crate::promql::lex::{Kind, Token};
use crate::promql::matcher::{MatchOp, Matcher};
use crate::promql::parse::expr::names_metric;

const PLACE: &str = "label matching";

impl Parser<'_> {
    pub(super) fn whole_selector(&mut self) -> Step<Vec<Matcher>> {
        let name = if names_metric(self.kind()) {
            Some(self.next())
        } else if self.is("{") {
            None
        } else {
            return self.unexpected();
        };
        let expr = self.selector(name)?;
        match (expr.node, self.kind()) {
            (Node::Vector(selector), Kind::End) => Ok(selector.matchers),
            _ => self.unexpected(),
        }
    }

    /// The rest of a selector after its name, if it has one.
    pub(super) fn selector(&mut self, name: Option<Token>) -> Step<Expr> {
        let mut span = name.as_ref().map_or(self.peek().span, |token| token.span);
        let mut matchers = Vec::new();
        if self.is("{") {
            self.next();
            matchers = self.matchers()?;
            span = Span::new(span.start, self.tokens[self.at - 1].span.end);
        }
        let name = name.map_or("", |token| self.text(&token)).to_owned();
        if !name.is_empty() {
            matchers.push(Matcher::equal("__name__", name.clone()));
        }
        let selector = VectorSelector {
            name,
            matchers,
            shift: Shift::default(),
            edges: Edges::Plain,
            allow_empty: false,
            counts_only: false,
        };
        self.node(span, Node::Vector(selector))
    }

    fn matchers(&mut self) -> Step<Vec<Matcher>> {
        let mut matchers = Vec::new();
        if self.accept("}") {
            return Ok(matchers);
        }
        loop {
            if let Some(matcher) = self.matcher()? {
                matchers.push(matcher);
            }
            if self.accept("}") {
                return Ok(matchers);
            }
            if !self.accept(",") {
                return self.unexpected_in(PLACE, "\",\" or \"}\"");
            }
            if self.accept("}") {
                return Ok(matchers);
            }
        }
    }

    fn matcher(&mut self) -> Step<Option<Matcher>> {
        let token = match self.kind() {
            Kind::Identifier | Kind::String => self.next(),
            _ => return self.unexpected_in(PLACE, "identifier or \"}\""),
        };
        let quoted = token.kind == Kind::String;
        let label = if quoted {
            self.unquoted(&token)
        } else {
            self.text(&token).to_owned()
        };
        let op = match self.kind() {
            Kind::Sign("=") => MatchOp::Equal,
            Kind::Sign("=~") => MatchOp::Regex,
            Kind::Sign("!~") => MatchOp::NotRegex,
            Kind::Operator(BinaryOp::Ne) => MatchOp::NotEqual,
            // A quoted text alone is a metric name.
            _ if quoted => return Ok(Some(Matcher::equal("__name__", label))),
            _ => return self.unexpected_in(PLACE, "label matching operator"),
        };
        self.next();
        if *self.kind() != Kind::String {
            return self.unexpected_in(PLACE, "string");
        }
        let value_token = self.next();
        let value = self.unquoted(&value_token);
        match Matcher::new(label, op, value) {
            Ok(matcher) => Ok(Some(matcher)),
            Err(message) => {
                self.error(token.span.to(value_token.span), message);
                Ok(None)
            }
        }
    }
}
