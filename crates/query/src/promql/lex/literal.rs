//! Literals: texts, numbers, durations.

use super::{Kind, Lexer, is_word};
use crate::promql::text::quote;

impl Lexer<'_> {
    pub(super) fn string(&mut self, delimiter: char) -> Result<(), String> {
        loop {
            match self.next() {
                Some('\\') if delimiter != '`' => self.escape(delimiter)?,
                None if delimiter == '`' => return Err("unterminated raw string".to_owned()),
                Some('\n') | None if delimiter != '`' => {
                    return Err("unterminated quoted string".to_owned());
                }
                Some(c) if c == delimiter => break,
                _ => {}
            }
        }
        self.emit(Kind::String);
        Ok(())
    }

    fn escape(&mut self, delimiter: char) -> Result<(), String> {
        const OPEN: &str = "escape sequence not terminated";
        let (count, base, max) = match self.next() {
            None => return Err(OPEN.to_owned()),
            Some(c) if c == delimiter || "abfnrtv\\".contains(c) => return Ok(()),
            Some('0'..='7') => {
                self.at -= 1;
                (3, 8, 255)
            }
            Some('x') => (2, 16, 255),
            Some('u') => (4, 16, char::MAX as u32),
            Some('U') => (8, 16, char::MAX as u32),
            Some(c) => return Err(format!("unknown escape sequence {}", named(c))),
        };
        let mut value = 0u32;
        for _ in 0..count {
            let c = self.next().ok_or(OPEN)?;
            let Some(digit) = c.to_digit(base) else {
                return Err(format!("illegal character {} in escape sequence", named(c)));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<(), String> {
        if self.scan_number() {
            self.emit(Kind::Number);
            return Ok(());
        }
        if self.scan_duration() {
            self.emit(Kind::Duration);
            return Ok(());
        }
        let text = quote(&self.source[self.start..self.at]);
        Err(format!("bad number or duration syntax: {text}"))
    }

    /// The rest of a duration after its first digits.
    fn scan_duration(&mut self) -> bool {
        const DIGITS: &str = "0123456789";
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.accept(DIGITS) {
            while self.accept(DIGITS) {}
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        if self.peek().is_some_and(is_word) {
            self.next();
            return false;
        }
        true
    }

    /// A number in the generous form that the parser judges: digits, one point, one exponent,
    /// single underscores.
    fn scan_number(&mut self) -> bool {
        let from = self.at;
        let mut digits = "0123456789";
        if self.accept("0") && self.accept("xX") {
            self.accept("_");
            digits = "0123456789abcdefABCDEF";
        }
        let hexadecimal = digits.len() > 10;
        let (mut point, mut exponent) = (false, false);
        self.accept(".");
        self.accept(digits);
        while let Some(c) = self.peek() {
            match c {
                '.' => {
                    self.at += 1;
                    if point || self.accept("_.") || hexadecimal {
                        return false;
                    }
                    point = true;
                }
                'e' | 'E' => {
                    self.at += 1;
                    if exponent {
                        return false;
                    }
                    exponent = true;
                    self.accept("+-");
                    if self.accept("._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                '_' => {
                    self.at += 1;
                    if self.accept("._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                // A hexadecimal `e` inside of a run is a digit, at the start of one an exponent.
                c if digits.contains(c) => self.skip_while(|c| digits.contains(c)),
                _ => break,
            }
        }
        self.at != from && !self.peek().is_some_and(is_word)
    }
}

/// A character as Go's `%#U` writes it.
fn named(c: char) -> String {
    if c.is_control() {
        format!("U+{:04X}", c as u32)
    } else {
        format!("U+{:04X} '{c}'", c as u32)
    }
}
