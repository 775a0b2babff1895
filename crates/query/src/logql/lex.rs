//! The words of a query, with their places.
//!
//! Numbers, durations and amounts of bytes are one kind of word: which of them is meant depends on
//! where it stands, so the parser reads it. Texts are those of PromQL.

use crate::promql::{Span, quote, unquote};

/// The kinds of words.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    End,
    /// A name or keyword.
    Word,
    /// A text, without its quotes.
    Text(String),
    /// A number, a duration or an amount of bytes.
    Amount,
    /// `--strict`.
    Flag,
    /// Everything else.
    Sign(&'static str),
}

/// A word and its place.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// Longer signs stand before those they begin with.
pub(super) const SIGNS: [&str; 32] = [
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "|", "=", ">", "<", "{", "}", "(",
    ")", "[", "]", ",", "+", "-", "*", "/", "%", "^", ".", ":", "@", ";", "&",
];

/// Cuts a source into words; the last one is [`Kind::End`].
pub(super) fn lex(source: &str) -> Result<Vec<Token>, (Span, String)> {
    let mut tokens = Vec::new();
    let bytes = source.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let kind = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += source[at..].find('\n').unwrap_or(source.len() - at);
                continue;
            }
            b'"' | b'\'' | b'`' => {
                at = text_end(bytes, at, byte).ok_or_else(|| {
                    let span = Span::new(start, source.len());
                    (span, "literal not terminated".to_owned())
                })?;
                let literal = &source[start..at];
                Kind::Text(unquote(literal).ok_or_else(|| {
                    let span = Span::new(start, at);
                    (span, format!("invalid string literal {}", quote(literal)))
                })?)
            }
            b'-' if flag_end(bytes, at) > at + 2 => {
                at = flag_end(bytes, at);
                Kind::Flag
            }
            b'0'..=b'9' => {
                at = amount_end(source, at);
                Kind::Amount
            }
            b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                at = amount_end(source, at);
                Kind::Amount
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                at += bytes[at..]
                    .iter()
                    .take_while(|b| **b == b'_' || b.is_ascii_alphanumeric())
                    .count();
                Kind::Word
            }
            _ => match SIGNS.iter().find(|sign| source[at..].starts_with(**sign)) {
                Some(sign) => {
                    at += sign.len();
                    Kind::Sign(sign)
                }
                None => {
                    let c = source[at..].chars().next().unwrap_or('\u{fffd}');
                    let span = Span::new(at, at + c.len_utf8());
                    return Err((span, format!("unexpected character {c:?}")));
                }
            },
        };
        let span = Span::new(start, at);
        tokens.push(Token { kind, span });
    }
    tokens.push(Token {
        kind: Kind::End,
        span: Span::new(source.len(), source.len()),
    });
    Ok(tokens)
}

/// One past the closing quote.
fn text_end(bytes: &[u8], open: usize, delimiter: u8) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match bytes.get(at)? {
            b'\\' if delimiter != b'`' => at += 2,
            b'\n' if delimiter != b'`' => return None,
            byte if *byte == delimiter => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn flag_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) != Some(&b'-') || !bytes.get(at + 2).is_some_and(u8::is_ascii_alphabetic) {
        return at;
    }
    let rest = bytes[at + 2..].iter();
    at + 2
        + rest
            .take_while(|b| **b == b'-' || b.is_ascii_alphabetic())
            .count()
}

/// Digits, points and unit letters; a sign after the exponent of a plain number.
fn amount_end(source: &str, start: usize) -> usize {
    let mut at = start;
    let mut plain = true;
    for (offset, c) in source[start..].char_indices() {
        let sign = matches!(c, '+' | '-')
            && plain
            && offset > 0
            && matches!(source.as_bytes()[start + offset - 1], b'e' | b'E')
            && source[start + offset + 1..].starts_with(|c: char| c.is_ascii_digit());
        if !sign && !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | 'µ' | 'μ') {
            break;
        }
        plain &= sign || c.is_ascii_digit() || matches!(c, '.' | '_' | 'e' | 'E');
        at = start + offset + c.len_utf8();
    }
    at
}
