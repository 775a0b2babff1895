//! From text to queries: precedence climbing over tokens, bounded in length and depth.

mod field;
mod metrics;
mod pipeline;

use super::ast::{Place, Query, Stage};
use super::check;
use super::lex::{Token, lex};
use super::value::Value;

/// The longest query.
pub const MAX_BYTES: usize = 64 << 10;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 96;
/// The most operators, which bounds how deep chains of them make the tree.
const OPERATORS_MAX: usize = 512;

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse error at {}..{}: {message}", place.start, place.end)]
pub struct ParseError {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
        }
    }
}

type Step<T> = Result<T, ParseError>;

struct Parser {
    tokens: Vec<(Token, Place)>,
    at: usize,
    depth: usize,
    operators: usize,
}

/// Reads a query and checks what can be known without spans.
///
/// # Errors
/// The text is no query, or one that could never be answered.
pub fn parse(text: &str) -> Result<Query, ParseError> {
    if text.len() > MAX_BYTES {
        let place = Place {
            start: MAX_BYTES,
            end: text.len(),
        };
        let message = format!("the query is longer than {MAX_BYTES} bytes");
        return Err(ParseError::new(place, message));
    }
    let mut parser = Parser {
        tokens: lex(text)?,
        at: 0,
        depth: 0,
        operators: 0,
    };
    let query = parser.query()?;
    check::query(&query)?;
    Ok(query)
}

impl Parser {
    fn query(&mut self) -> Step<Query> {
        let pipeline = self.pipeline()?;
        let mut query = Query {
            pipeline,
            ..Query::default()
        };
        if self.metrics_follow() {
            self.expect("|")?;
            query.metrics = Some(self.metrics()?);
        }
        if self.word("with") {
            query.hints = self.hints()?;
        }
        match self.peek() {
            Token::End => Ok(query),
            _ => self.unexpected("the end"),
        }
    }

    fn hints(&mut self) -> Step<Vec<(String, Value)>> {
        self.expect("(")?;
        let mut hints = Vec::new();
        loop {
            let Token::Word(name) = self.peek().clone() else {
                return self.unexpected("the name of a hint");
            };
            self.next();
            self.expect("=")?;
            hints.push((name, self.literal()?.0));
            if !self.sign(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(hints)
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn peek_behind(&self, ahead: usize) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.at + ahead).min(last)].0
    }

    fn place(&self) -> Place {
        self.tokens[self.at].1
    }

    fn before(&self) -> Place {
        self.tokens[self.at.saturating_sub(1)].1
    }

    fn next(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    /// Takes a sign, if it is next.
    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(own) if *own == sign);
        if found {
            self.next();
        }
        found
    }

    /// Takes a word, if it is next.
    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(own) if own == word);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Step<()> {
        if self.sign(sign) {
            return Ok(());
        }
        self.unexpected(&format!("{sign:?}"))
    }

    fn unexpected<T>(&self, expected: &str) -> Step<T> {
        let found = match self.peek() {
            Token::End => "the query ends".to_string(),
            Token::Sign(sign) => format!("there is {sign:?}"),
            Token::Word(word) => format!("there is {word:?}"),
            Token::Intrinsic(intrinsic) => format!("there is {:?}", intrinsic.name()),
            Token::Attribute { name, .. } => format!("there is the attribute {name:?}"),
            _ => "there is a literal".to_string(),
        };
        let message = format!("{found} where {expected} is expected");
        Err(ParseError::new(self.place(), message))
    }

    /// Counts an operator.
    fn operator(&mut self) -> Step<()> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            let message = format!("the query has more than {OPERATORS_MAX} operators");
            return Err(ParseError::new(self.place(), message));
        }
        Ok(())
    }

    fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Step<T>) -> Step<T> {
        if self.depth >= MAX_DEPTH {
            let message = format!("the query nests deeper than {MAX_DEPTH}");
            return Err(ParseError::new(self.place(), message));
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }
}

/// Whether a pipeline looks at more than one span of a trace at a time.
pub(super) fn single_filter(query: &Query) -> Option<&super::ast::Expr> {
    match query.pipeline.stages.first()? {
        Stage::Spanset(super::ast::Spanset::Filter(filter)) => filter.as_ref(),
        _ => None,
    }
}
