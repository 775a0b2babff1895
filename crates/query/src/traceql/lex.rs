//! Tokens of a query, each with its place.

use super::ast::{AttributeScope, Intrinsic, Place};
use super::parse::ParseError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Int(i64),
    Float(f64),
    Duration(i64),
    Text(String),
    Word(String),
    Attribute {
        parent: bool,
        scope: AttributeScope,
        name: String,
    },
    Intrinsic(Intrinsic),
    Sign(&'static str),
    End,
}

/// Signs, longer ones first.
const SIGNS: [&str; 36] = [
    "!>>", "!<<", "&>>", "&<<", "&&", "||", "!=", "!~", "!>", "!<", "=~", ">>", "<<", ">=", "<=",
    "&>", "&<", "&~", "{", "}", "(", ")", "|", "=", "<", ">", "!", "~", "+", "-", "*", "/", "%",
    "^", ",", ".",
];

/// Attribute names end at white space and at these.
fn ends_name(c: char) -> bool {
    c.is_whitespace() || "{}()=~!<>&|^,\"`".contains(c)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// All tokens, the last one being the end.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, Place)>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.blank();
        let start = lexer.at;
        let token = lexer.token()?;
        let place = Place {
            start,
            end: lexer.at,
        };
        let last = token == Token::End;
        tokens.push((token, place));
        if last {
            return Ok(tokens);
        }
    }
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, start: usize, message: impl Into<String>) -> ParseError {
        let end = self.at.max(start);
        ParseError::new(Place { start, end }, message)
    }

    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            let comment = trimmed.strip_prefix("//").or(trimmed.strip_prefix('#'));
            let next = match comment {
                Some(comment) => comment.find('\n').map_or("", |end| &comment[end..]),
                None => trimmed,
            };
            let step = rest.len() - next.len();
            let commented = comment.is_some();
            self.at += step;
            if !commented {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Token, ParseError> {
        let mut chars = self.rest().chars();
        let Some(first) = chars.next() else {
            return Ok(Token::End);
        };
        let second = chars.next().unwrap_or(' ');
        if first == '"' || first == '`' {
            return self.quoted().map(Token::Text);
        }
        if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            return self.number();
        }
        if first == '.' {
            self.at += 1;
            return self.attribute(false, AttributeScope::Any);
        }
        if first.is_alphabetic() || first == '_' {
            return self.word();
        }
        let sign = SIGNS.iter().find(|sign| self.rest().starts_with(**sign));
        match sign {
            Some(sign) => {
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
            None => {
                let start = self.at;
                self.at += first.len_utf8();
                Err(self.error(start, format!("unexpected character {first:?}")))
            }
        }
    }

    fn word(&mut self) -> Result<Token, ParseError> {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let rest = self.rest();
        let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let name = rest[..length].to_string();
        let after = &rest[length..];
        if let Some(after) = after.strip_prefix(':') {
            let more = after.find(|c| !word(c)).unwrap_or(after.len());
            let whole = rest[..length + 1 + more].to_string();
            let start = self.at;
            self.at += whole.len();
            return match Intrinsic::named(&whole) {
                Some(intrinsic) => Ok(Token::Intrinsic(intrinsic)),
                None => Err(self.error(start, format!("there is no {whole}"))),
            };
        }
        if after.starts_with('.') {
            if let Some(scope) = AttributeScope::named(&name) {
                self.at += length + 1;
                return self.attribute(false, scope);
            }
            if name == "parent" {
                self.at += length + 1;
                let rest = self.rest();
                let scopes = [AttributeScope::Span, AttributeScope::Resource];
                let scope = scopes.into_iter().find(|scope| {
                    let rest = rest.strip_prefix(scope.name());
                    rest.is_some_and(|rest| rest.starts_with('.'))
                });
                if let Some(scope) = scope {
                    self.at += scope.name().len() + 1;
                }
                return self.attribute(true, scope.unwrap_or(AttributeScope::Any));
            }
        }
        self.at += length;
        Ok(match Intrinsic::named(&name) {
            Some(intrinsic) => Token::Intrinsic(intrinsic),
            None => Token::Word(name),
        })
    }

    /// The name behind the dot, parts of which may be quoted.
    fn attribute(&mut self, parent: bool, scope: AttributeScope) -> Result<Token, ParseError> {
        let start = self.at;
        let mut name = String::new();
        while let Some(c) = self.rest().chars().next() {
            if c == '"' {
                name.push_str(&self.quoted()?);
            } else if ends_name(c) {
                break;
            } else {
                name.push(c);
                self.at += c.len_utf8();
            }
        }
        if name.is_empty() {
            return Err(self.error(start, "an attribute needs a name"));
        }
        Ok(Token::Attribute {
            parent,
            scope,
            name,
        })
    }

    fn quoted(&mut self) -> Result<String, ParseError> {
        let start = self.at;
        let quote = self.text.as_bytes()[start];
        self.at += 1;
        let mut out = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' | '`' if c as u8 == quote => {
                    self.at += offset + 1;
                    return Ok(out);
                }
                '\\' if quote == b'"' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(c @ ('"' | '\\' | '\'')) => out.push(c),
                    // Regular expressions are most often written with single backslashes.
                    Some(other) => {
                        out.push('\\');
                        out.push(other);
                    }
                    None => break,
                },
                c => out.push(c),
            }
        }
        self.at = self.text.len();
        Err(self.error(start, "the text has no end"))
    }

    fn number(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        let rest = self.rest();
        let part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == 'µ' || c == 'μ';
        let mut length = rest.find(|c| !part(c)).unwrap_or(rest.len());
        // The sign of an exponent.
        let body = &rest[..length];
        let exponent = body
            .strip_suffix(['e', 'E'])
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        if exponent && rest[length..].starts_with(['+', '-']) {
            let more = &rest[length + 1..];
            length += 1 + more.find(|c| !part(c)).unwrap_or(more.len());
        }
        let body = rest[..length].to_string();
        self.at += length;
        if let Ok(n) = body.parse::<i64>() {
            return Ok(Token::Int(n));
        }
        let plain = body
            .bytes()
            .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
        if plain
            && let Ok(n) = body.parse::<f64>()
            && n.is_finite()
        {
            return Ok(Token::Float(n));
        }
        match crate::go_duration::parse(&body) {
            Some(ns) => Ok(Token::Duration(ns)),
            None => Err(self.error(start, format!("{body} is neither a number nor a duration"))),
        }
    }
}
