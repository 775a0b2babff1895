//! What follows an operator: `bool`, `on`, `ignoring`, `group_left`, `group_right`, `fill`.

use super::{Parser, Step};
use crate::promql::ast::{BinaryOp, Card, Matching};
use crate::promql::lex::{Keyword, Kind};
use crate::promql::text::{is_label_name, quote};

impl Parser<'_> {
    /// The modifiers of an operator, and whether `bool` is one.
    pub(super) fn modifiers(&mut self) -> Step<(Matching, bool)> {
        let mut matching = Matching::default();
        let bool = self.is_word(Keyword::Bool);
        if bool {
            self.next();
        }
        if self.is_word(Keyword::On) || self.is_word(Keyword::Ignoring) {
            matching.on = self.is_word(Keyword::On);
            self.next();
            matching.labels = self.grouping()?;
            let card = match self.kind() {
                Kind::Keyword(Keyword::GroupLeft) => Card::ManyToOne,
                Kind::Keyword(Keyword::GroupRight) => Card::OneToMany,
                _ => Card::OneToOne,
            };
            if card != Card::OneToOne {
                self.next();
                matching.card = card;
                if self.is("(") {
                    matching.include = self.grouping()?;
                }
            }
        }
        self.fills(&mut matching)?;
        Ok((matching, bool))
    }

    fn fills(&mut self, matching: &mut Matching) -> Step<()> {
        match self.kind() {
            Kind::Keyword(Keyword::Fill) => {
                self.next();
                let value = self.fill_value()?;
                matching.fill_left = Some(value);
                matching.fill_right = Some(value);
                matching.fill_both = true;
            }
            Kind::Keyword(Keyword::FillLeft) => {
                self.next();
                matching.fill_left = Some(self.fill_value()?);
                if self.is_word(Keyword::FillRight) {
                    self.next();
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            Kind::Keyword(Keyword::FillRight) => {
                self.next();
                matching.fill_right = Some(self.fill_value()?);
                if self.is_word(Keyword::FillLeft) {
                    self.next();
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Step<f64> {
        self.expect("(")?;
        let sign = match self.kind() {
            Kind::Operator(BinaryOp::Sub) => -1.0,
            Kind::Operator(BinaryOp::Add) => 1.0,
            _ => 0.0,
        };
        if sign != 0.0 {
            self.next();
        }
        if !matches!(self.kind(), Kind::Number | Kind::Duration) {
            return self.unexpected();
        }
        let token = self.next();
        let value = self.number(&token).value;
        self.expect(")")?;
        Ok(if sign < 0.0 { -value } else { value })
    }

    /// Labels in parentheses.
    pub(super) fn grouping(&mut self) -> Step<Vec<String>> {
        const PLACE: &str = "grouping opts";
        if !self.accept("(") {
            return self.unexpected_in(PLACE, "\"(\"");
        }
        let mut labels = Vec::new();
        if self.accept(")") {
            return Ok(labels);
        }
        loop {
            labels.push(self.grouping_label()?);
            if self.accept(")") {
                return Ok(labels);
            }
            if !self.accept(",") {
                return self.unexpected_in(PLACE, "\",\" or \")\"");
            }
            if self.accept(")") {
                return Ok(labels);
            }
        }
    }

    fn grouping_label(&mut self) -> Step<String> {
        let label = match self.kind() {
            Kind::Identifier | Kind::Metric | Kind::Aggregator(_) | Kind::Keyword(_) => {
                let token = self.next();
                self.text(&token).to_owned()
            }
            Kind::Operator(op) if op.is_set() || *op == BinaryOp::Atan2 => {
                let token = self.next();
                self.text(&token).to_owned()
            }
            Kind::String => {
                let token = self.next();
                self.unquoted(&token)
            }
            _ => return self.unexpected_in("grouping opts", "label"),
        };
        if !is_label_name(&label) {
            let span = self.tokens[self.at - 1].span;
            self.error(
                span,
                format!("invalid label name for grouping: {}", quote(&label)),
            );
        }
        Ok(label)
    }
}
