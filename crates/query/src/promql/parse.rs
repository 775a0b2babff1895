//! The parser: precedence climbing over the list of words.
//!
//! Faults of the grammar end the parse; faults of meaning that can be seen while parsing are
//! noted and the parse goes on, so that the first message is the one upstream gives. Where the
//! grammar breaks, the message names the innermost construct that is open.

mod duration;
mod expr;
mod matching;
mod postfix;
mod selector;

use super::ast::{Expr, Span};
use super::check::check;
use super::lex::{Keyword, Kind, Token, lex};
use super::matcher::Matcher;

/// The longest query, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The deepest tree of a query, in nodes.
pub const MAX_DEPTH: usize = 200;

/// What a parser accepts beyond the stable language. Everything is on by default.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Functions and aggregations that upstream calls experimental.
    pub experimental_functions: bool,
    /// Arithmetic in durations.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right`.
    pub fill_modifiers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            experimental_functions: true,
            duration_expressions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
        }
    }
}

impl Options {
    /// The stable language alone.
    pub fn stable() -> Self {
        Self {
            experimental_functions: false,
            duration_expressions: false,
            extended_range_selectors: false,
            fill_modifiers: false,
        }
    }
}

/// What is wrong with a query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: parse error: {message}")]
pub struct ParseError {
    /// The bytes at fault.
    pub span: Span,
    /// `line:column`, or why there is none.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(source: &str, span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            place: span.place(source),
            message: message.into(),
        }
    }
}

/// Parses and checks an expression.
pub fn parse(source: &str) -> Result<Expr, ParseError> {
    parse_with(source, Options::default())
}

/// Parses and checks an expression, refusing what `options` leave out.
pub fn parse_with(source: &str, options: Options) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(source, options)?;
    let parsed = parser.whole_expression();
    let mut expr = parser.finish(parsed)?;
    check(&mut expr, source).map(|()| expr)
}

/// Parses a selector such as `up{job="a"}` into its matchers.
pub fn parse_selector(source: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(source, Options::default())?;
    let parsed = parser.whole_selector();
    parser.finish(parsed)
}

/// The parse cannot go on; the reason is in the list of errors.
struct Stop;

type Step<T> = Result<T, Stop>;

struct Parser<'a> {
    source: &'a str,
    options: Options,
    tokens: Vec<Token>,
    at: usize,
    errors: Vec<ParseError>,
    /// What is open, with what is expected in it.
    context: Vec<(&'static str, &'static str)>,
    nesting: usize,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str, options: Options) -> Result<Self, ParseError> {
        if source.len() > MAX_BYTES {
            let message = format!("query is longer than {MAX_BYTES} bytes");
            return Err(ParseError::new(
                source,
                Span::new(MAX_BYTES, source.len()),
                message,
            ));
        }
        Ok(Self {
            source,
            options,
            tokens: lex(source),
            at: 0,
            errors: Vec::new(),
            context: Vec::new(),
            nesting: 0,
        })
    }

    fn finish<T>(self, parsed: Step<T>) -> Result<T, ParseError> {
        match (parsed, self.errors.into_iter().next()) {
            (Ok(value), None) => Ok(value),
            (_, Some(error)) => Err(error),
            (Err(Stop), None) => Err(ParseError::new(
                self.source,
                Span::default(),
                "unexpected error",
            )),
        }
    }

    fn peek(&self) -> &Token {
        // The last token is the end or a fault, and neither is ever passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> &Kind {
        &self.peek().kind
    }

    fn second(&self) -> &Kind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn text(&self, token: &Token) -> &'a str {
        &self.source[token.span.start..token.span.end]
    }

    fn is(&self, sign: &'static str) -> bool {
        *self.kind() == Kind::Sign(sign)
    }

    fn is_word(&self, word: Keyword) -> bool {
        *self.kind() == Kind::Keyword(word)
    }

    fn accept(&mut self, sign: &'static str) -> bool {
        let found = self.is(sign);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, sign: &'static str) -> Step<Token> {
        if self.is(sign) {
            Ok(self.next())
        } else {
            self.unexpected()
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors
            .push(ParseError::new(self.source, span, message));
    }

    /// The next word cannot stand here.
    fn unexpected<T>(&mut self) -> Step<T> {
        let (context, expected) = self.context.last().copied().unwrap_or(("", ""));
        self.unexpected_in(context, expected)
    }

    fn unexpected_in<T>(&mut self, context: &str, expected: &str) -> Step<T> {
        let token = self.peek().clone();
        if let Kind::Bad(message) = &token.kind {
            self.error(token.span, message.clone());
            return Err(Stop);
        }
        let mut message = format!("unexpected {}", token.describe(self.source));
        if !context.is_empty() {
            message += &format!(" in {context}");
        }
        if !expected.is_empty() {
            message += &format!(", expected {expected}");
        }
        self.error(token.span, message);
        Err(Stop)
    }

    /// Runs `parse` with a construct open.
    fn within<T>(
        &mut self,
        context: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&mut Self) -> Step<T>,
    ) -> Step<T> {
        self.context.push((context, expected));
        let parsed = parse(self);
        self.context.pop();
        parsed
    }

    /// Runs `parse` one level further down.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Step<T>) -> Step<T> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return self.too_deep();
        }
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn too_deep<T>(&mut self) -> Step<T> {
        let span = self.peek().span;
        self.error(
            span,
            format!("expression is nested deeper than {MAX_DEPTH} levels"),
        );
        Err(Stop)
    }
}
