//! Tokens of expressions.

use super::Problem;
use super::value::text_number;

/// Longest expression, characters.
pub(super) const LIMIT_CHARS: usize = 21_000;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Name of a context, function or property.
    Name(String),
    /// Literal number.
    Number(f64),
    /// Literal text.
    Text(String),
    /// Operator or punctuation.
    Sign(&'static str),
}

const SIGNS: [&str; 16] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ".", ",", "*",
];

/// Tokens with their byte offsets.
pub(super) fn lex(source: &str) -> Result<Vec<(Token, usize)>, Problem> {
    if source.chars().count() > LIMIT_CHARS {
        return Err(Problem {
            offset: 0,
            message: format!("longer than {LIMIT_CHARS} characters"),
        });
    }
    let mut tokens = Vec::new();
    let bytes = source.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let first = bytes[at];
        if first.is_ascii_whitespace() {
            at += 1;
        } else if first == b'\'' {
            let (text, used) = quoted(rest).ok_or_else(|| Problem {
                offset: at,
                message: "the text that starts here has no closing '".into(),
            })?;
            tokens.push((Token::Text(text), at));
            at += used;
        } else if first.is_ascii_digit() || (starts_number(rest) && !after_operand(&tokens)) {
            let end = rest
                .char_indices()
                .find(|&(i, c)| !number_char(c, &rest[..i]))
                .map_or(rest.len(), |(i, _)| i);
            let number = text_number(&rest[..end]);
            if number.is_nan() {
                let message = format!("{:?} is not a number", &rest[..end]);
                return Err(Problem {
                    offset: at,
                    message,
                });
            }
            tokens.push((Token::Number(number), at));
            at += end;
        } else if first.is_ascii_alphabetic() || first == b'_' {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
                .unwrap_or(rest.len());
            tokens.push((Token::Name(rest[..end].to_string()), at));
            at += end;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push((Token::Sign(sign), at));
            at += sign.len();
        } else {
            let bad = rest.chars().next().unwrap_or(' ');
            let hint = match bad {
                '"' => ": text is written in single quotes",
                '=' => ": equality is ==",
                '&' | '|' => ": and is &&, or is ||",
                '+' | '-' | '/' | '%' => ": expressions have no arithmetic",
                _ => "",
            };
            return Err(Problem {
                offset: at,
                message: format!("unexpected {bad:?}{hint}"),
            });
        }
    }
    Ok(tokens)
}

fn starts_number(rest: &str) -> bool {
    let mut chars = rest.chars();
    let signed = matches!(chars.next(), Some('-' | '+' | '.'));
    signed && matches!(chars.next(), Some(c) if c.is_ascii_digit() || c == '.')
}

fn after_operand(tokens: &[(Token, usize)]) -> bool {
    match tokens.last() {
        Some((Token::Sign(sign), _)) => matches!(*sign, ")" | "]" | "*"),
        Some(_) => true,
        None => false,
    }
}

fn number_char(c: char, before: &str) -> bool {
    if before.is_empty() {
        return true;
    }
    let hex = before.starts_with("0x");
    match c {
        '0'..='9' | '.' => true,
        'x' | 'o' => before == "0",
        'e' | 'E' => true,
        'a'..='d' | 'f' | 'A'..='D' | 'F' => hex,
        '+' | '-' => before.ends_with(['e', 'E']) && !hex,
        _ => false,
    }
}

fn quoted(rest: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if matches!(chars.peek(), Some((_, '\''))) {
            chars.next();
            text.push('\'');
        } else {
            return Some((text, i + 1));
        }
    }
    None
}
