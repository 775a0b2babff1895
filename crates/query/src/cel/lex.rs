//! From text to tokens.

use std::sync::Arc;

/// A word of the language.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Ident(Arc<str>),
    Int(String),
    Uint(String),
    Float(String),
    Text(String),
    Bytes(Vec<u8>),
    /// An operator or bracket, or one of `in`, `true`, `false`, `null`.
    Mark(&'static str),
    End,
}

/// A token and its place in characters.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) at: u32,
}

/// What is no token, and where.
pub(crate) struct Error {
    pub(crate) at: u32,
    pub(crate) message: String,
}

/// Longest first.
const MARKS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

struct Lexer<'a> {
    text: &'a [char],
    at: usize,
}

/// Splits an expression; the last token is [`Token::End`].
pub(crate) fn tokens(text: &[char]) -> Result<Vec<Placed>, Error> {
    let mut lexer = Lexer { text, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.blank();
        let at = lexer.at as u32;
        let token = lexer.token()?;
        let end = token == Token::End;
        found.push(Placed { token, at });
        if end {
            return Ok(found);
        }
    }
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn blank(&mut self) {
        while let Some(c) = self.peek(0) {
            match c {
                ' ' | '\t' | '\r' | '\n' | '\u{c}' => self.at += 1,
                '/' if self.peek(1) == Some('/') => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Error> {
        Err(Error {
            at: at as u32,
            message: message.into(),
        })
    }

    fn token(&mut self) -> Result<Token, Error> {
        let Some(c) = self.peek(0) else {
            return Ok(Token::End);
        };
        if let Some(prefix) = self.string_prefix() {
            return self.string(prefix);
        }
        if c.is_ascii_alphabetic() || c == '_' {
            return Ok(self.word());
        }
        if c.is_ascii_digit() || c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            return Ok(self.number());
        }
        if c == '`' {
            return self.fail(self.at, "unsupported syntax: '`'");
        }
        for mark in MARKS {
            if mark
                .chars()
                .enumerate()
                .all(|(i, m)| self.peek(i) == Some(m))
            {
                self.at += mark.len();
                return Ok(Token::Mark(mark));
            }
        }
        self.fail(
            self.at,
            format!("Syntax error: token recognition error at: '{c}'"),
        )
    }

    fn word(&mut self) -> Token {
        let begin = self.at;
        while self
            .peek(0)
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            self.at += 1;
        }
        let word: String = self.text[begin..self.at].iter().collect();
        match word.as_str() {
            "in" => Token::Mark("in"),
            "true" => Token::Mark("true"),
            "false" => Token::Mark("false"),
            "null" => Token::Mark("null"),
            _ => Token::Ident(word.into()),
        }
    }

    fn digits(&mut self, hex: bool) {
        while self.peek(0).is_some_and(|c| {
            if hex {
                c.is_ascii_hexdigit()
            } else {
                c.is_ascii_digit()
            }
        }) {
            self.at += 1;
        }
    }

    fn number(&mut self) -> Token {
        let begin = self.at;
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let hex = self.peek(0) == Some('0')
            && self.peek(1) == Some('x')
            && self.peek(2).is_some_and(|c| c.is_ascii_hexdigit());
        let mut float = false;
        if hex {
            self.at += 2;
            self.digits(true);
        } else {
            self.digits(false);
            if self.peek(0) == Some('.') && digit(self.peek(1)) {
                float = true;
                self.at += 1;
                self.digits(false);
            }
            if matches!(self.peek(0), Some('e' | 'E'))
                && (digit(self.peek(1))
                    || matches!(self.peek(1), Some('+' | '-')) && digit(self.peek(2)))
            {
                float = true;
                self.at += 2;
                self.digits(false);
            }
        }
        let text: String = self.text[begin..self.at].iter().collect();
        if float {
            return Token::Float(text);
        }
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            return Token::Uint(text);
        }
        Token::Int(text)
    }

    /// Whether a string begins here: (bytes, raw, characters before the quote).
    fn string_prefix(&self) -> Option<(bool, bool, usize)> {
        let (mut bytes, mut raw, mut length) = (false, false, 0);
        if matches!(self.peek(0), Some('b' | 'B')) {
            bytes = true;
            length = 1;
        }
        if matches!(self.peek(length), Some('r' | 'R')) {
            raw = true;
            length += 1;
        }
        matches!(self.peek(length), Some('"' | '\'')).then_some((bytes, raw, length))
    }

    fn string(&mut self, (bytes, raw, length): (bool, bool, usize)) -> Result<Token, Error> {
        let begin = self.at;
        self.at += length;
        let quote = self.peek(0).unwrap_or('"');
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.at += if triple { 3 } else { 1 };
        let mut out = Vec::new();
        loop {
            let Some(c) = self.peek(0) else {
                return self.fail(begin, "Syntax error: token recognition error: open string");
            };
            if c == quote && (!triple || self.peek(1) == Some(quote) && self.peek(2) == Some(quote))
            {
                self.at += if triple { 3 } else { 1 };
                break;
            }
            if !triple && matches!(c, '\n' | '\r') {
                return self.fail(begin, "Syntax error: token recognition error: open string");
            }
            self.at += 1;
            if c == '\\' && !raw {
                self.escape(begin, bytes, &mut out)?;
            } else {
                out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            }
        }
        if bytes {
            return Ok(Token::Bytes(out));
        }
        match String::from_utf8(out) {
            Ok(text) => Ok(Token::Text(text)),
            Err(_) => self.fail(begin, "invalid UTF-8 in string"),
        }
    }

    fn escape(&mut self, begin: usize, bytes: bool, out: &mut Vec<u8>) -> Result<(), Error> {
        let at = self.at - 1;
        let Some(c) = self.peek(0) else {
            return self.fail(at, "Syntax error: token recognition error: open string");
        };
        self.at += 1;
        let simple = match c {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '"' | '\'' | '\\' | '?' | '`' => c as u8,
            _ => 0,
        };
        if simple != 0 {
            out.push(simple);
            return Ok(());
        }
        let (radix, count) = match c {
            'x' | 'X' => (16, 2),
            'u' if !bytes => (16, 4),
            'U' if !bytes => (16, 8),
            '0'..='3' => {
                self.at -= 1;
                (8, 3)
            }
            _ => return self.fail(at, "Syntax error: token recognition error: unknown escape"),
        };
        let mut value = 0u32;
        for _ in 0..count {
            let Some(digit) = self.peek(0).and_then(|c| c.to_digit(radix)) else {
                return self.fail(at, "Syntax error: token recognition error: unknown escape");
            };
            value = value * radix + digit;
            self.at += 1;
        }
        if bytes {
            out.push(value as u8);
            return Ok(());
        }
        match char::from_u32(value) {
            Some(c) => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            None => return self.fail(begin, "invalid unicode code point"),
        }
        Ok(())
    }
}
