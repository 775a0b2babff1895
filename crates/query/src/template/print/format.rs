//! `printf`: verbs with their flags, measures and indexes.

use super::super::value::Value;
use super::{Flags, Printer};

/// No width or precision is larger, as in Go; beyond it they are faults in the text.
const LARGEST: usize = 1_000_000;

/// Values as a text with verbs says. `limit` ends it where the text grows longer.
pub(in super::super) fn printf(format: &str, values: &[Value], limit: usize) -> Option<String> {
    let mut run = Format {
        text: format,
        at: 0,
        values,
        next: 0,
        after_index: false,
        reordered: false,
        good: true,
    };
    let mut out = String::new();
    while run.at < format.len() {
        let rest = &format[run.at..];
        let plain = rest.find('%').unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        run.at += plain;
        if run.at < format.len() {
            run.at += 1;
            run.verb(&mut out);
        }
        if out.len() > limit {
            return None;
        }
    }
    if !run.reordered && run.next < values.len() {
        out.push_str("%!(EXTRA ");
        for (at, value) in values[run.next..].iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            match value {
                Value::Missing | Value::Nil => out.push_str("<nil>"),
                value => {
                    out.push_str(value.type_name());
                    out.push('=');
                    Printer::new(&mut out).value(value, 'v');
                }
            }
        }
        out.push(')');
    }
    (out.len() <= limit).then_some(out)
}

struct Format<'a> {
    text: &'a str,
    at: usize,
    values: &'a [Value],
    next: usize,
    after_index: bool,
    reordered: bool,
    good: bool,
}

impl Format<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn verb(&mut self, out: &mut String) {
        let mut flags = Flags::default();
        self.good = true;
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        // As in Go, a simple verb does not look whether an index came before.
        let simple = self.peek().is_some_and(|b| b.is_ascii_lowercase());
        if !(simple && self.next < self.values.len()) {
            self.measures(&mut flags, out);
        }
        let Some(verb) = self.text[self.at..].chars().next() else {
            out.push_str("%!(NOVERB)");
            return;
        };
        self.at += verb.len_utf8();
        match verb {
            '%' => out.push('%'),
            _ if !self.good => {
                out.push_str(&format!("%!{verb}(BADINDEX)"));
            }
            _ if self.next >= self.values.len() => {
                out.push_str(&format!("%!{verb}(MISSING)"));
            }
            _ => {
                if verb == 'v' {
                    flags.sharp_v = std::mem::take(&mut flags.sharp);
                    flags.plus_v = std::mem::take(&mut flags.plus);
                }
                let mut printer = Printer::new(out);
                printer.flags = flags;
                printer.value(&self.values[self.next], verb);
                self.next += 1;
            }
        }
    }

    fn measures(&mut self, flags: &mut Flags, out: &mut String) {
        self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.star() {
                None => out.push_str("%!(BADWIDTH)"),
                Some(width) => {
                    flags.width = Some(width.unsigned_abs() as usize);
                    if width < 0 {
                        flags.minus = true;
                        flags.zero = false;
                    }
                }
            }
            self.after_index = false;
        } else {
            flags.width = self.number();
            if self.after_index && flags.width.is_some() {
                self.good = false;
            }
        }
        if self.peek() == Some(b'.') && self.at + 1 < self.text.len() {
            self.at += 1;
            if self.after_index {
                self.good = false;
            }
            self.index();
            if self.peek() == Some(b'*') {
                self.at += 1;
                flags.precision = match self.star() {
                    Some(precision) if precision >= 0 => Some(precision as usize),
                    _ => None,
                };
                if flags.precision.is_none() {
                    out.push_str("%!(BADPREC)");
                }
                self.after_index = false;
            } else {
                flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !self.after_index {
            self.index();
        }
    }

    /// `[3]`: the value that is next.
    fn index(&mut self) {
        self.after_index = false;
        if self.peek() != Some(b'[') {
            return;
        }
        self.reordered = true;
        let rest = &self.text[self.at..];
        let Some(end) = rest.find(']').filter(|_| rest.len() >= 3) else {
            self.good = false;
            self.at += 1;
            return;
        };
        self.at += end + 1;
        let inner = &rest[1..end];
        let number = match inner.bytes().all(|b| b.is_ascii_digit()) {
            true => inner.parse::<usize>().ok(),
            false => None,
        };
        match number {
            Some(number) if (1..=self.values.len()).contains(&number) => {
                self.next = number - 1;
                self.after_index = true;
            }
            found => {
                self.good = false;
                self.after_index = found.is_some();
            }
        }
    }

    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(int) if int.unsigned_abs() <= LARGEST as u64 => Some(*int),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if number.is_some_and(|n| n > LARGEST) {
                self.at = self.text.len();
                return None;
            }
            number = Some(number.unwrap_or(0) * 10 + usize::from(digit - b'0'));
            self.at += 1;
        }
        number
    }
}
