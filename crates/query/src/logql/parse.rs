//! The parser: precedence climbing over the list of words. The first fault ends the parse.

mod expr;
mod pipeline;

use super::ast::{Expr, LogQuery};
use super::lex::{Kind, Token, lex};
use crate::promql::{MatchOp, Matcher, Span, quote};

/// The longest query, in bytes.
pub const MAX_BYTES: usize = 128 << 10;

/// The deepest tree of a query, in nodes.
pub const MAX_DEPTH: usize = 100;

/// The most stages of one pipeline.
const MAX_STAGES: usize = 200;

/// What is wrong with a query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse error at line {line}, col {column}: {message}")]
pub struct ParseError {
    /// The bytes at fault.
    pub span: Span,
    /// Its line, from one.
    pub line: usize,
    /// Its column in bytes, from one.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    fn new(source: &str, span: Span, message: impl Into<String>) -> Self {
        let before = source.get(..span.start).unwrap_or("");
        Self {
            span,
            line: before.matches('\n').count() + 1,
            column: span.start - before.rfind('\n').map_or(0, |at| at + 1) + 1,
            message: one_line(message.into()),
        }
    }
}

/// Regular expressions explain their faults in several lines.
fn one_line(message: String) -> String {
    if !message.contains('\n') {
        return message;
    }
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    lines.join(" ")
}

/// Parses and checks a query.
pub fn parse(source: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(source)?;
    let expr = parser.expression(0)?;
    parser.end()?;
    Ok(expr)
}

/// Parses a query of lines.
pub fn parse_log(source: &str) -> Result<LogQuery, ParseError> {
    let expr = parse(source)?;
    expr.as_log().cloned().ok_or_else(|| {
        ParseError::new(
            source,
            expr.span,
            "only log selector is supported, not a metric query",
        )
    })
}

/// Parses a selector of streams such as `{app="a"}`; an empty source or `{}` selects all.
pub fn parse_matchers(source: &str) -> Result<Vec<Matcher>, ParseError> {
    if source.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut parser = Parser::new(source)?;
    let matchers = parser.matchers()?;
    parser.end()?;
    Ok(matchers)
}

type Step<T> = Result<T, ParseError>;

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Step<Self> {
        if source.len() > MAX_BYTES {
            let message = format!("query of {} bytes is longer than {MAX_BYTES}", source.len());
            return Err(ParseError::new("", Span::default(), message));
        }
        let tokens =
            lex(source).map_err(|(span, message)| ParseError::new(source, span, message))?;
        Ok(Self {
            source,
            tokens,
            at: 0,
            depth: 0,
        })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn peek_after(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn text(&self, token: &Token) -> &'a str {
        &self.source[token.span.start..token.span.end]
    }

    /// The word that comes, if one does.
    fn word(&self) -> Option<&'a str> {
        let token = self.peek();
        (token.kind == Kind::Word).then(|| self.text(token))
    }

    fn is(&self, sign: &str) -> bool {
        self.peek().kind == Kind::Sign(sign_of(sign))
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.next();
        }
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.word() == Some(word);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Step<Token> {
        if self.is(sign) {
            return Ok(self.next());
        }
        self.unexpected(&format!("\"{sign}\""))
    }

    fn expect_text(&mut self) -> Step<(String, Span)> {
        let span = self.peek().span;
        if let Kind::Text(text) = &self.peek().kind {
            let text = text.clone();
            self.next();
            return Ok((text, span));
        }
        self.unexpected("string")
    }

    fn expect_word(&mut self) -> Step<(String, Span)> {
        let span = self.peek().span;
        match self.word() {
            Some(word) => {
                self.next();
                Ok((word.to_owned(), span))
            }
            None => self.unexpected("identifier"),
        }
    }

    fn end(&mut self) -> Step<()> {
        match self.peek().kind {
            Kind::End => Ok(()),
            _ => self.unexpected("end of query"),
        }
    }

    fn fail<T>(&self, span: Span, message: impl Into<String>) -> Step<T> {
        Err(ParseError::new(self.source, span, message))
    }

    fn unexpected<T>(&self, wanted: &str) -> Step<T> {
        let token = self.peek();
        let found = match &token.kind {
            Kind::End => "end of query".to_owned(),
            Kind::Word => format!("identifier {}", quote(&short(self.text(token)))),
            Kind::Text(text) => format!("string {}", quote(&short(text))),
            _ => quote(&short(self.text(token))),
        };
        self.fail(
            token.span,
            format!("syntax error: unexpected {found}, expected {wanted}"),
        )
    }

    /// Runs a part one level deeper.
    fn deeper<T>(&mut self, part: impl FnOnce(&mut Self) -> Step<T>) -> Step<T> {
        if self.depth >= MAX_DEPTH {
            let message = format!("query is nested deeper than {MAX_DEPTH} levels");
            return self.fail(self.peek().span, message);
        }
        self.depth += 1;
        let out = part(self);
        self.depth -= 1;
        out
    }

    /// `{a="b", c!="d"}`.
    fn matchers(&mut self) -> Step<Vec<Matcher>> {
        self.expect("{")?;
        let mut out = Vec::new();
        while !self.accept("}") {
            out.push(self.matcher()?);
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(out)
    }

    fn matcher(&mut self) -> Step<Matcher> {
        let (name, start) = self.expect_word()?;
        self.matcher_of(name, start)
    }

    /// The rest of a matcher after its label.
    fn matcher_of(&mut self, name: String, start: Span) -> Step<Matcher> {
        let op = match self.peek().kind {
            Kind::Sign("=") => MatchOp::Equal,
            Kind::Sign("!=") => MatchOp::NotEqual,
            Kind::Sign("=~") => MatchOp::Regex,
            Kind::Sign("!~") => MatchOp::NotRegex,
            _ => return self.unexpected("one of \"=\", \"!=\", \"=~\", \"!~\""),
        };
        self.next();
        let (value, end) = self.expect_text()?;
        Matcher::new(name, op, value).or_else(|message| self.fail(start.to(end), message))
    }
}

/// The static text of a sign, for comparisons.
fn sign_of(sign: &str) -> &'static str {
    super::lex::SIGNS
        .iter()
        .find(|known| **known == sign)
        .copied()
        .unwrap_or("")
}

fn short(text: &str) -> String {
    if text.chars().count() > 30 {
        text.chars().take(30).chain("...".chars()).collect()
    } else {
        text.to_owned()
    }
}
