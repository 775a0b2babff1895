//! Expressions over one span.

use super::{Parser, Step};
use crate::traceql::ast::{Expr, Field, Node, Op, Place};
use crate::traceql::lex::Token;
use crate::traceql::value::{Kind, Status, Value};

/// How tightly a sign binds.
const SIGN: u8 = 5;

pub(super) fn operator(token: &Token) -> Option<Op> {
    let Token::Sign(sign) = token else {
        return None;
    };
    let all = [
        Op::Or,
        Op::And,
        Op::Eq,
        Op::Ne,
        Op::Match,
        Op::NoMatch,
        Op::Lt,
        Op::Le,
        Op::Gt,
        Op::Ge,
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::Div,
        Op::Mod,
        Op::Pow,
    ];
    all.into_iter().find(|op| op.sign() == *sign)
}

impl Parser {
    pub(super) fn expr(&mut self, least: u8) -> Step<Expr> {
        self.deeper(|parser| parser.binary(least))
    }

    fn binary(&mut self, least: u8) -> Step<Expr> {
        let mut lhs = self.operand()?;
        while let Some(op) = operator(self.peek()).filter(|op| op.level() >= least) {
            self.next();
            let level = op.level();
            let rhs = self.expr(if op == Op::Pow { level } else { level + 1 })?;
            let place = lhs.place.to(rhs.place);
            self.operator()?;
            let node = Node::Binary(op, Box::new(lhs), Box::new(rhs));
            lhs = Expr { place, node };
        }
        Ok(lhs)
    }

    fn operand(&mut self) -> Step<Expr> {
        let start = self.place();
        let node = match self.peek().clone() {
            Token::Sign("-") => {
                self.next();
                match self.expr(SIGN + 1)? {
                    Expr {
                        node: Node::Literal(Value::Int(n)),
                        ..
                    } => Node::Literal(Value::Int(-n)),
                    Expr {
                        node: Node::Literal(Value::Float(n)),
                        ..
                    } => Node::Literal(Value::Float(-n)),
                    Expr {
                        node: Node::Literal(Value::Duration(n)),
                        ..
                    } => Node::Literal(Value::Duration(-n)),
                    inner => Node::Negative(Box::new(inner)),
                }
            }
            Token::Sign("!") => {
                self.next();
                Node::Not(Box::new(self.expr(SIGN)?))
            }
            Token::Sign("(") => {
                self.next();
                let inner = self.expr(0)?;
                self.expect(")")?;
                inner.node
            }
            Token::Attribute {
                parent,
                scope,
                name,
            } => {
                self.next();
                Node::Field(Field::Attribute {
                    parent,
                    scope,
                    name,
                })
            }
            Token::Intrinsic(intrinsic) => {
                self.next();
                Node::Field(Field::Intrinsic(intrinsic))
            }
            _ => Node::Literal(self.literal()?.0),
        };
        let place = start.to(self.before());
        Ok(Expr { place, node })
    }

    pub(super) fn literal(&mut self) -> Step<(Value, Place)> {
        let negative = self.sign("-");
        let value = match self.peek().clone() {
            Token::Int(n) => Value::Int(if negative { -n } else { n }),
            Token::Float(n) => Value::Float(if negative { -n } else { n }),
            Token::Duration(n) => Value::Duration(if negative { -n } else { n }),
            _ if negative => return self.unexpected("a number"),
            Token::Text(text) => Value::text(text),
            Token::Word(word) => match keyword(&word) {
                Some(value) => value,
                None => return self.unexpected("a value"),
            },
            _ => return self.unexpected("a value"),
        };
        let place = self.place();
        self.next();
        Ok((value, place))
    }
}

fn keyword(word: &str) -> Option<Value> {
    let statuses = [Status::Error, Status::Ok, Status::Unset];
    let status = statuses.into_iter().find(|s| s.name() == word);
    let kind = Kind::ALL.into_iter().find(|k| k.name() == word);
    match word {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        "nil" => Some(Value::Nil),
        _ => status.map(Value::Status).or(kind.map(Value::Kind)),
    }
}
