//! Expression text to tree, by precedence climbing.

use super::Problem;
use super::lex::{Token, lex};

const LIMIT_DEPTH: usize = 50;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// Literal number.
    Number(f64),
    /// Literal text.
    Text(String),
    /// Named root, e.g. `github`; the offset is for findings.
    Context(String, usize),
    /// `a.b` or `a['b']` or `a[0]`.
    Index(Box<Expr>, Box<Expr>),
    /// `a.*`.
    Star(Box<Expr>),
    /// `!a`.
    Not(Box<Expr>),
    /// `a OP b`.
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `f(a, b)`; the offset is for findings.
    Call(String, Vec<Expr>, usize),
}

/// Operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Parses the text between `${{` and `}}`.
pub fn parse(source: &str) -> Result<Expr, Problem> {
    let tokens = lex(source)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        end: source.len(),
        depth: 0,
    };
    if parser.tokens.is_empty() {
        return Err(Problem {
            offset: 0,
            message: "the expression is empty".into(),
        });
    }
    let expr = parser.binary(0)?;
    match parser.tokens.get(parser.at) {
        None => Ok(expr),
        Some((token, offset)) => Err(Problem {
            offset: *offset,
            message: format!("unexpected {}", describe(token)),
        }),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    end: usize,
    depth: usize,
}

fn describe(token: &Token) -> String {
    match token {
        Token::Name(name) => format!("{name:?}"),
        Token::Number(number) => super::value::number_text(*number),
        Token::Text(text) => format!("'{text}'"),
        Token::Sign(sign) => format!("{sign:?}"),
    }
}

fn operator(token: &Token) -> Option<(Operator, u8)> {
    let Token::Sign(sign) = token else {
        return None;
    };
    Some(match *sign {
        "||" => (Operator::Or, 1),
        "&&" => (Operator::And, 2),
        "==" => (Operator::Equal, 3),
        "!=" => (Operator::NotEqual, 3),
        "<" => (Operator::Less, 4),
        "<=" => (Operator::LessEqual, 4),
        ">" => (Operator::Greater, 4),
        ">=" => (Operator::GreaterEqual, 4),
        _ => return None,
    })
}

impl Parser {
    fn offset(&self) -> usize {
        self.tokens
            .get(self.at)
            .map_or(self.end, |(_, offset)| *offset)
    }

    fn problem<T>(&self, message: impl Into<String>) -> Result<T, Problem> {
        Err(Problem {
            offset: self.offset(),
            message: message.into(),
        })
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some((Token::Sign(s), _)) if *s == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Problem> {
        if self.accept(sign) {
            Ok(())
        } else {
            self.problem(format!("{sign:?} is missing"))
        }
    }

    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.depth += 1;
        if self.depth > LIMIT_DEPTH {
            return self.problem(format!("nested deeper than {LIMIT_DEPTH}"));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn binary(&mut self, least: u8) -> Result<Expr, Problem> {
        self.deeper(|p| {
            let mut left = p.unary()?;
            while let Some((op, power)) = p.tokens.get(p.at).and_then(|(t, _)| operator(t)) {
                if power < least {
                    break;
                }
                p.at += 1;
                let right = p.binary(power + 1)?;
                left = Expr::Binary(op, Box::new(left), Box::new(right));
            }
            Ok(left)
        })
    }

    fn unary(&mut self) -> Result<Expr, Problem> {
        if self.accept("!") {
            return self.deeper(|p| Ok(Expr::Not(Box::new(p.unary()?))));
        }
        let mut expr = self.primary()?;
        let mut links = 0;
        loop {
            links += 1;
            if links > LIMIT_DEPTH {
                return self.problem(format!("more than {LIMIT_DEPTH} links in a chain"));
            }
            if self.accept(".") {
                if self.accept("*") {
                    expr = Expr::Star(Box::new(expr));
                    continue;
                }
                let Some((Token::Name(name), _)) = self.tokens.get(self.at).cloned() else {
                    return self.problem("a property name is missing after \".\"");
                };
                self.at += 1;
                expr = Expr::Index(Box::new(expr), Box::new(Expr::Text(name)));
            } else if self.accept("[") {
                if self.accept("*") {
                    self.expect("]")?;
                    expr = Expr::Star(Box::new(expr));
                    continue;
                }
                let index = self.binary(0)?;
                self.expect("]")?;
                expr = Expr::Index(Box::new(expr), Box::new(index));
            } else {
                return Ok(expr);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Problem> {
        let Some((token, offset)) = self.tokens.get(self.at).cloned() else {
            return self.problem("a value is missing at the end");
        };
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Expr::Number(number)),
            Token::Text(text) => Ok(Expr::Text(text)),
            Token::Sign("(") => {
                let inner = self.binary(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Name(name) => {
                if self.accept("(") {
                    return Ok(Expr::Call(name, self.arguments()?, offset));
                }
                Ok(match name.as_str() {
                    "null" => Expr::Null,
                    "true" => Expr::Bool(true),
                    "false" => Expr::Bool(false),
                    "NaN" => Expr::Number(f64::NAN),
                    "Infinity" => Expr::Number(f64::INFINITY),
                    _ => Expr::Context(name, offset),
                })
            }
            sign => {
                self.at -= 1;
                self.problem(format!("unexpected {}", describe(&sign)))
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Problem> {
        let mut arguments = Vec::new();
        if self.accept(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.binary(0)?);
            if self.accept(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }
}

impl Expr {
    /// Calls `visit` with every node.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        match self {
            Expr::Index(a, b) | Expr::Binary(_, a, b) => {
                a.walk(visit);
                b.walk(visit);
            }
            Expr::Star(a) | Expr::Not(a) => a.walk(visit),
            Expr::Call(_, arguments, _) => arguments.iter().for_each(|a| a.walk(visit)),
            _ => {}
        }
    }

    /// Whether `success()`, `failure()`, `always()` or `cancelled()` is called anywhere.
    pub fn has_status_function(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expr| {
            if let Expr::Call(name, _, _) = expr {
                found |= super::STATUS_FUNCTIONS
                    .iter()
                    .any(|f| name.eq_ignore_ascii_case(f));
            }
        });
        found
    }
}
