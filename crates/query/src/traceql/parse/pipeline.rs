//! Sets of spans and the steps behind them.

use super::field::operator;
use super::{Parser, Step};
use crate::traceql::ast::{Aggregate, Pipeline, Relation, Scalar, SetOp, Spanset, Stage};
use crate::traceql::lex::Token;

/// The most steps of a pipeline.
const STAGES_MAX: usize = 64;

fn set_operator(token: &Token) -> Option<SetOp> {
    let Token::Sign(sign) = token else {
        return None;
    };
    let (make, relation): (fn(Relation) -> SetOp, &str) = match *sign {
        "&&" => return Some(SetOp::And),
        "||" => return Some(SetOp::Or),
        sign => match sign.as_bytes()[0] {
            b'!' => (SetOp::IsNot, &sign[1..]),
            b'&' => (SetOp::Both, &sign[1..]),
            _ => (SetOp::Is, sign),
        },
    };
    let all = [
        Relation::Child,
        Relation::Descendant,
        Relation::Parent,
        Relation::Ancestor,
        Relation::Sibling,
    ];
    all.into_iter().find(|r| r.sign() == relation).map(make)
}

impl Parser {
    pub(super) fn pipeline(&mut self) -> Step<Pipeline> {
        let mut stages = vec![self.first_stage()?];
        while matches!(self.peek(), Token::Sign("|")) && !self.metrics_follow() {
            self.next();
            stages.push(self.stage()?);
            if stages.len() > STAGES_MAX {
                return self.unexpected("a shorter pipeline");
            }
        }
        Ok(Pipeline { stages })
    }

    fn first_stage(&mut self) -> Step<Stage> {
        match self.peek() {
            Token::Sign("{" | "(") => self.spanset(0).map(Stage::Spanset),
            _ => self.unexpected("\"{\""),
        }
    }

    fn stage(&mut self) -> Step<Stage> {
        if self.word("by") {
            self.expect("(")?;
            let by = self.expr(0)?;
            self.expect(")")?;
            return Ok(Stage::By(by));
        }
        if self.word("coalesce") {
            self.expect("(")?;
            self.expect(")")?;
            return Ok(Stage::Coalesce);
        }
        if self.word("select") {
            self.expect("(")?;
            let mut fields = vec![self.expr(0)?];
            while self.sign(",") {
                fields.push(self.expr(0)?);
            }
            self.expect(")")?;
            return Ok(Stage::Select(fields));
        }
        // A parenthesis opens a set if a brace follows the parentheses, and a number otherwise.
        let open = (0..).take_while(|ahead| matches!(self.peek_behind(*ahead), Token::Sign("(")));
        let braces = matches!(self.peek_behind(open.count()), Token::Sign("{"));
        if braces {
            return self.spanset(0).map(Stage::Spanset);
        }
        let lhs = self.scalar(0)?;
        let op = operator(self.peek()).filter(|op| op.compares());
        let Some(op) = op else {
            return self.unexpected("a comparison");
        };
        self.next();
        let rhs = self.scalar(0)?;
        Ok(Stage::Filter(op, lhs, rhs))
    }

    fn spanset(&mut self, least: u8) -> Step<Spanset> {
        self.deeper(|parser| {
            let mut lhs = parser.spanset_operand()?;
            while let Some(op) = set_operator(parser.peek()).filter(|op| op.level() >= least) {
                parser.next();
                let rhs = parser.spanset(op.level() + 1)?;
                parser.operator()?;
                lhs = Spanset::Binary(op, Box::new(lhs), Box::new(rhs));
            }
            Ok(lhs)
        })
    }

    fn spanset_operand(&mut self) -> Step<Spanset> {
        if self.sign("(") {
            let mut pipeline = self.deeper(Self::pipeline)?;
            self.expect(")")?;
            // Parentheses around a set alone only group.
            return Ok(match (pipeline.stages.len(), pipeline.stages.pop()) {
                (1, Some(Stage::Spanset(inner))) => inner,
                (_, last) => {
                    pipeline.stages.extend(last);
                    Spanset::Pipeline(pipeline)
                }
            });
        }
        self.expect("{")?;
        if self.sign("}") {
            return Ok(Spanset::Filter(None));
        }
        let filter = self.expr(0)?;
        self.expect("}")?;
        Ok(Spanset::Filter(Some(filter)))
    }

    fn scalar(&mut self, least: u8) -> Step<Scalar> {
        self.deeper(|parser| {
            let mut lhs = parser.scalar_operand()?;
            loop {
                let op = operator(parser.peek()).filter(|op| op.computes());
                let Some(op) = op.filter(|op| op.level() >= least) else {
                    return Ok(lhs);
                };
                parser.next();
                let rhs = parser.scalar(op.level() + 1)?;
                parser.operator()?;
                lhs = Scalar::Binary(op, Box::new(lhs), Box::new(rhs));
            }
        })
    }

    fn scalar_operand(&mut self) -> Step<Scalar> {
        if self.sign("(") {
            let inner = self.scalar(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let function = match self.peek() {
            Token::Word(word) => Aggregate::named(word),
            _ => None,
        };
        let Some(function) = function else {
            return self.literal().map(|(value, _)| Scalar::Literal(value));
        };
        self.next();
        self.expect("(")?;
        let argument = match function {
            Aggregate::Count => None,
            _ => Some(self.expr(0)?),
        };
        self.expect(")")?;
        Ok(Scalar::Aggregate(function, argument))
    }
}
