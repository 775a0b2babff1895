//! The words of a query, with their places.
//!
//! Which words are possible depends on what is open: inside braces there are no keywords, inside
//! brackets there are only durations and their arithmetic. The whole source becomes one list; a
//! fault ends the list with a token that carries its message, which counts only if the parser
//! gets that far.

mod literal;

use super::ast::{AggregateOp, BinaryOp, Span};
use super::text::{quote, quote_char};

/// The kinds of words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    End,
    /// A fault, with what is wrong.
    Bad(String),
    /// A name without a colon.
    Identifier,
    /// A name with a colon.
    Metric,
    Number,
    Duration,
    String,
    Operator(BinaryOp),
    Aggregator(AggregateOp),
    Keyword(Keyword),
    /// A sign: brackets, comma, colon, `=`, `=~`, `!~`, `@`.
    Sign(&'static str),
}

/// Keywords that are neither operators nor aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
    Start,
    End,
    Step,
    Range,
}

impl Keyword {
    fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "bool" => Self::Bool,
            "by" => Self::By,
            "group_left" => Self::GroupLeft,
            "group_right" => Self::GroupRight,
            "fill" => Self::Fill,
            "fill_left" => Self::FillLeft,
            "fill_right" => Self::FillRight,
            "ignoring" => Self::Ignoring,
            "offset" => Self::Offset,
            "smoothed" => Self::Smoothed,
            "anchored" => Self::Anchored,
            "on" => Self::On,
            "without" => Self::Without,
            "start" => Self::Start,
            "end" => Self::End,
            "step" => Self::Step,
            "range" => Self::Range,
            _ => return None,
        })
    }

    /// Those that upstream does not count as keywords in messages.
    fn is_preprocessor(self) -> bool {
        matches!(self, Self::Start | Self::End | Self::Step | Self::Range)
    }
}

/// A word and its place.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

impl Token {
    /// The word as messages name it.
    pub(crate) fn describe(&self, source: &str) -> String {
        let text = &source[self.span.start..self.span.end];
        let short = || {
            if text.len() > 10 {
                quote(&text.chars().take(10).collect::<String>()) + "..."
            } else {
                quote(text)
            }
        };
        match &self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Bad(what) => what.clone(),
            Kind::Identifier => format!("identifier {}", quote(text)),
            Kind::Metric => format!("metric identifier {}", quote(text)),
            Kind::Number => format!("number {}", short()),
            Kind::Duration => format!("duration {}", short()),
            Kind::String => format!("string {}", short()),
            Kind::Operator(_) | Kind::Sign("@" | "=~" | "!~") => format!("<op:{text}>"),
            Kind::Aggregator(_) => format!("<aggr:{text}>"),
            Kind::Keyword(word) if !word.is_preprocessor() => format!("<{text}>"),
            Kind::Keyword(_) | Kind::Sign(_) => short(),
        }
    }
}

/// Cuts a source into words; the last one is [`Kind::End`] or [`Kind::Bad`].
pub(crate) fn lex(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        source,
        at: 0,
        start: 0,
        tokens: Vec::new(),
        parens: 0,
        braces: false,
        brackets: false,
        colon: false,
        duration: false,
        state: State::Statement,
    };
    loop {
        let next = match lexer.state {
            State::Duration => lexer.duration_expression(),
            State::Statement if lexer.braces => lexer.braced(),
            State::Statement => lexer.statement(),
        };
        match next {
            Ok(true) => {}
            Ok(false) => break,
            Err(message) => {
                let span = Span::new(lexer.start.min(source.len()), source.len());
                lexer.tokens.push(Token {
                    kind: Kind::Bad(message),
                    span,
                });
                break;
            }
        }
    }
    lexer.tokens
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Statement,
    /// After a left bracket, until the first number.
    Duration,
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    start: usize,
    tokens: Vec<Token>,
    parens: usize,
    braces: bool,
    brackets: bool,
    colon: bool,
    duration: bool,
    state: State,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_word(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

/// What upstream shows for the end of the source where a character is named.
const NOTHING: char = '\u{fffd}';

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        if found {
            self.at += 1;
        }
        found
    }

    fn skip_while(&mut self, test: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&test) {
            self.next();
        }
    }

    fn emit(&mut self, kind: Kind) {
        self.tokens.push(Token {
            kind,
            span: Span::new(self.start, self.at),
        });
        self.start = self.at;
    }

    fn sign(&mut self, sign: &'static str) {
        self.emit(Kind::Sign(sign));
    }

    fn operator(&mut self, op: BinaryOp) {
        self.emit(Kind::Operator(op));
    }

    /// The next words; false at the end.
    fn statement(&mut self) -> Result<bool, String> {
        let Some(c) = self.next() else {
            if self.parens != 0 {
                return Err("unclosed left parenthesis".to_owned());
            }
            if self.brackets {
                return Err("unclosed left bracket".to_owned());
            }
            self.emit(Kind::End);
            return Ok(false);
        };
        match c {
            '#' => self.comment(),
            c if is_space(c) => self.space(),
            '=' => match self.peek() {
                Some('=') => {
                    self.at += 1;
                    self.operator(BinaryOp::Eq);
                }
                Some('~') => {
                    return Err(format!(
                        "unexpected character after '=': {}",
                        quote_char('~')
                    ));
                }
                _ => self.sign("="),
            },
            '!' => match self.next() {
                Some('=') => self.operator(BinaryOp::Ne),
                other => {
                    let other = quote_char(other.unwrap_or(NOTHING));
                    return Err(format!("unexpected character after '!': {other}"));
                }
            },
            '<' => {
                let op = if self.accept("=") {
                    BinaryOp::Le
                } else {
                    BinaryOp::Lt
                };
                self.operator(op);
            }
            '>' => {
                let op = if self.accept("=") {
                    BinaryOp::Ge
                } else {
                    BinaryOp::Gt
                };
                self.operator(op);
            }
            '"' | '\'' | '`' => self.string(c)?,
            '{' => {
                self.sign("{");
                self.braces = true;
            }
            '[' => {
                if self.brackets {
                    return Err(format!("unexpected left bracket {}", quote_char(c)));
                }
                self.colon = false;
                self.brackets = true;
                self.sign("[");
                self.state = State::Duration;
            }
            ']' => {
                if !self.brackets {
                    return Err(format!("unexpected right bracket {}", quote_char(c)));
                }
                self.sign("]");
                self.brackets = false;
            }
            '@' => self.sign("@"),
            c if is_alpha(c) || c == ':' => self.word(c)?,
            c => {
                if !self.shared(c)? {
                    return Err(format!("unexpected character: {}", quote_char(c)));
                }
            }
        }
        Ok(true)
    }

    /// Words that statements and durations have in common; false if `c` starts none.
    fn shared(&mut self, c: char) -> Result<bool, String> {
        match c {
            ',' => self.sign(","),
            '*' => self.operator(BinaryOp::Mul),
            '/' => self.operator(BinaryOp::Div),
            '%' => self.operator(BinaryOp::Mod),
            '+' => self.operator(BinaryOp::Add),
            '-' => self.operator(BinaryOp::Sub),
            '^' => self.operator(BinaryOp::Pow),
            '(' => {
                self.sign("(");
                self.parens += 1;
            }
            ')' => {
                if self.parens == 0 {
                    self.start = self.at;
                    return Err(format!("unexpected right parenthesis {}", quote_char(c)));
                }
                self.sign(")");
                self.parens -= 1;
            }
            c if c.is_ascii_digit()
                || (c == '.' && self.peek().is_some_and(|c| c.is_ascii_digit())) =>
            {
                self.at -= 1;
                self.number()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn duration_expression(&mut self) -> Result<bool, String> {
        let Some(c) = self.next() else {
            return Err("unexpected end of input in duration expression".to_owned());
        };
        match c {
            ']' => {
                self.sign("]");
                self.brackets = false;
                self.colon = false;
                self.state = State::Statement;
            }
            ':' => {
                self.start = self.at;
                if !self.duration {
                    return Err(
                        "unexpected colon before duration in duration expression".to_owned()
                    );
                }
                if self.colon {
                    return Err("unexpected repeated colon in duration expression".to_owned());
                }
                self.start = self.at - 1;
                self.sign(":");
                self.colon = true;
            }
            c if is_space(c) => self.space(),
            's' | 'S' | 'm' | 'M' | 'r' | 'R' if self.duration_word(true) => {}
            c if c.is_ascii_digit() || c == '.' => {
                if !self.shared(c)? {
                    return Err(unexpected_in_duration(c));
                }
                self.duration = true;
                self.state = State::Statement;
            }
            c => {
                if !self.shared(c)? {
                    return Err(unexpected_in_duration(c));
                }
            }
        }
        Ok(true)
    }

    /// `step`, `range`, `min` or `max` between brackets.
    fn duration_word(&mut self, with_range: bool) -> bool {
        self.skip_while(is_alpha);
        let word = self.source[self.start..self.at].to_ascii_lowercase();
        match word.as_str() {
            "step" => self.emit(Kind::Keyword(Keyword::Step)),
            "range" if with_range => self.emit(Kind::Keyword(Keyword::Range)),
            "min" => self.emit(Kind::Aggregator(AggregateOp::Min)),
            "max" => self.emit(Kind::Aggregator(AggregateOp::Max)),
            _ => return false,
        }
        true
    }

    fn braced(&mut self) -> Result<bool, String> {
        let Some(c) = self.next() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        match c {
            '#' => self.comment(),
            c if is_space(c) => self.space(),
            c if is_alpha(c) => {
                self.skip_while(is_word);
                self.emit(Kind::Identifier);
            }
            ',' => self.sign(","),
            '"' | '\'' | '`' => self.string(c)?,
            '=' => {
                let sign = if self.accept("~") { "=~" } else { "=" };
                self.sign(sign);
            }
            '!' => match self.next() {
                Some('~') => self.sign("!~"),
                Some('=') => self.operator(BinaryOp::Ne),
                other => {
                    let other = quote_char(other.unwrap_or(NOTHING));
                    return Err(format!(
                        "unexpected character after '!' inside braces: {other}"
                    ));
                }
            },
            '{' => return Err(format!("unexpected left brace {}", quote_char(c))),
            '}' => {
                self.sign("}");
                self.braces = false;
            }
            c => {
                return Err(format!(
                    "unexpected character inside braces: {}",
                    quote_char(c)
                ));
            }
        }
        Ok(true)
    }

    fn space(&mut self) {
        self.skip_while(is_space);
        self.start = self.at;
    }

    fn comment(&mut self) {
        self.skip_while(|c| c != '\n' && c != '\r');
        self.start = self.at;
    }

    fn word(&mut self, first: char) -> Result<(), String> {
        if self.brackets {
            match first {
                ':' if self.colon => {
                    return Err(format!("unexpected colon {}", quote_char(first)));
                }
                ':' => {
                    self.sign(":");
                    self.colon = true;
                    return Ok(());
                }
                's' | 'S' | 'm' | 'M' if self.duration_word(true) => return Ok(()),
                _ => {}
            }
            return Err(format!(
                "unexpected character: {}, expected ':'",
                quote_char(first)
            ));
        }
        self.skip_while(|c| is_word(c) || c == ':');
        let word = self.source[self.start..self.at].to_ascii_lowercase();
        let kind = if let Some(op) = BinaryOp::from_text(&word) {
            Kind::Operator(op)
        } else if let Some(op) = AggregateOp::from_text(&word) {
            Kind::Aggregator(op)
        } else if word == "inf" || word == "nan" {
            Kind::Number
        } else if let Some(keyword) = Keyword::from_text(&word) {
            let fills = matches!(
                keyword,
                Keyword::Fill | Keyword::FillLeft | Keyword::FillRight
            );
            let open = self.source[self.at..]
                .trim_start_matches(is_space)
                .starts_with('(');
            if fills && !open {
                Kind::Identifier
            } else {
                Kind::Keyword(keyword)
            }
        } else if word.contains(':') {
            Kind::Metric
        } else {
            Kind::Identifier
        };
        self.emit(kind);
        Ok(())
    }
}

fn unexpected_in_duration(c: char) -> String {
    format!(
        "unexpected character in duration expression: {}",
        quote_char(c)
    )
}
