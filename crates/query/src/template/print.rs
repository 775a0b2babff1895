//! `print`, `println` and `printf`: values as Go's `fmt` writes them.

use super::float;
use super::time::format_span;
use super::value::Value;
use crate::promql::{quote, quote_char};

/// No width or precision is larger, as in Go; beyond it they are faults in the text.
const LARGEST: usize = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    sharp: bool,
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
    sharp_v: bool,
    plus_v: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// A value as an action prints it.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Missing | Value::Nil => "<no value>".to_owned(),
        Value::String(text) => text.to_string(),
        value => {
            let mut out = String::new();
            Printer::new(&mut out).value(value, 'v');
            out
        }
    }
}

/// Values side by side, with spaces between those that are no texts.
pub(super) fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let mut was_text = false;
    for (at, value) in values.iter().enumerate() {
        let is_text = value.as_str().is_some();
        if at > 0 && !is_text && !was_text {
            out.push(' ');
        }
        Printer::new(&mut out).value(value, 'v');
        was_text = is_text;
    }
    out
}

/// Values with a space between each and a new line behind.
pub(super) fn println(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        Printer::new(&mut out).value(value, 'v');
    }
    out.push('\n');
    out
}

/// Values as a text with verbs says. `limit` ends it where the text grows longer.
pub(super) fn printf(format: &str, values: &[Value], limit: usize) -> Option<String> {
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

struct Printer<'a> {
    out: &'a mut String,
    flags: Flags,
    erroring: bool,
}

impl<'a> Printer<'a> {
    fn new(out: &'a mut String) -> Self {
        Self {
            out,
            flags: Flags::default(),
            erroring: false,
        }
    }

    fn value(&mut self, value: &Value, verb: char) {
        match (verb, value) {
            ('T' | 'v', Value::Missing | Value::Nil) => self.pad("<nil>"),
            (verb, Value::Missing | Value::Nil) => {
                self.out.push_str(&format!("%!{verb}(<nil>)"));
            }
            ('T', value) => self.string(value.type_name(), 's'),
            _ => self.inner(value, verb),
        }
    }

    fn inner(&mut self, value: &Value, verb: char) {
        match value {
            Value::Missing | Value::Nil => self.out.push_str(match self.flags.sharp_v {
                true => "interface {}(nil)",
                false => "<nil>",
            }),
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { "true" } else { "false" }),
                _ => self.bad(value, verb),
            },
            Value::Int(int) => self.integer(*int, value, verb),
            Value::Float(float) => self.float(*float, value, verb),
            Value::String(text) => match verb {
                'v' if self.flags.sharp_v => self.string(text, 'q'),
                'v' => self.string(text, 's'),
                's' | 'x' | 'X' | 'q' => self.string(text, verb),
                _ => self.bad(value, verb),
            },
            Value::List(list) => {
                let (open, between, close) = self.brackets(value, "[");
                self.out.push_str(&open);
                for (at, item) in list.items.iter().enumerate() {
                    if at > 0 {
                        self.out.push_str(between);
                    }
                    self.inner(item, verb);
                }
                self.out.push(close);
            }
            Value::Map(map) => {
                let (open, between, close) = self.brackets(value, "map[");
                self.out.push_str(&open);
                for (at, (key, item)) in map.entries.iter().enumerate() {
                    if at > 0 {
                        self.out.push_str(between);
                    }
                    self.inner(&Value::text(key.as_str()), verb);
                    self.out.push(':');
                    self.inner(item, verb);
                }
                self.out.push(close);
            }
            Value::Time(time) => self.told(&time.to_string(), value, verb),
            Value::Duration(span) => match verb {
                // Within a fault, methods are not asked.
                _ if self.erroring => self.integer(*span, value, verb),
                'v' | 's' | 'q' | 'x' | 'X' => self.told(&format_span(*span), value, verb),
                _ => self.integer(*span, value, verb),
            },
            Value::Object(object) => self.told(&object.text(), value, verb),
        }
    }

    /// What a `String` method gives.
    fn told(&mut self, text: &str, value: &Value, verb: char) {
        match verb {
            'v' => self.string(text, 's'),
            's' | 'x' | 'X' | 'q' => self.string(text, verb),
            _ => self.bad(value, verb),
        }
    }

    fn brackets(&self, value: &Value, open: &str) -> (String, &'static str, char) {
        match self.flags.sharp_v {
            true => (format!("{}{{", value.type_name()), ", ", '}'),
            false => (open.to_owned(), " ", ']'),
        }
    }

    fn bad(&mut self, value: &Value, verb: char) {
        if self.erroring {
            return;
        }
        self.out
            .push_str(&format!("%!{verb}({}=", value.type_name()));
        self.erroring = true;
        self.inner(value, 'v');
        self.erroring = false;
        self.out.push(')');
    }

    fn fill(&mut self, count: usize, zero: bool) {
        let with = if zero { '0' } else { ' ' };
        self.out.extend(std::iter::repeat_n(with, count));
    }

    fn pad(&mut self, text: &str) {
        let zero = self.flags.zero && !self.flags.minus;
        self.pad_with(text, zero);
    }

    fn pad_with(&mut self, text: &str, zero: bool) {
        let missing = match self.flags.width {
            Some(width) => width.saturating_sub(text.chars().count()),
            None => 0,
        };
        if !self.flags.minus {
            self.fill(missing, zero);
        }
        self.out.push_str(text);
        if self.flags.minus {
            self.fill(missing, false);
        }
    }

    fn string(&mut self, text: &str, verb: char) {
        if verb == 'x' || verb == 'X' {
            self.hex(text.as_bytes(), verb);
            return;
        }
        let text: &str = match self.flags.precision {
            Some(precision) => match text.char_indices().nth(precision) {
                Some((end, _)) => &text[..end],
                None => text,
            },
            None => text,
        };
        match verb {
            'q' if self.flags.sharp && can_backquote(text) => self.pad(&format!("`{text}`")),
            'q' if self.flags.plus => self.pad(&to_ascii(&quote(text))),
            'q' => self.pad(&quote(text)),
            _ => self.pad(text),
        }
    }

    fn hex(&mut self, bytes: &[u8], verb: char) {
        let length = self
            .flags
            .precision
            .map_or(bytes.len(), |p| p.min(bytes.len()));
        let prefix = if verb == 'x' { "0x" } else { "0X" };
        let mut text = String::new();
        for (at, byte) in bytes[..length].iter().enumerate() {
            if self.flags.space && at > 0 {
                text.push(' ');
            }
            if self.flags.sharp && (at == 0 || self.flags.space) {
                text.push_str(prefix);
            }
            text.push_str(&match verb {
                'x' => format!("{byte:02x}"),
                _ => format!("{byte:02X}"),
            });
        }
        self.pad(&text);
    }

    fn integer(&mut self, int: i64, value: &Value, verb: char) {
        let magnitude = int.unsigned_abs();
        let digits = match verb {
            'v' | 'd' => magnitude.to_string(),
            'b' => format!("{magnitude:b}"),
            'o' | 'O' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            'c' | 'q' | 'U' => return self.code_point(int, verb),
            _ => return self.bad(value, verb),
        };
        let flags = self.flags;
        let mut least = 0;
        if let Some(precision) = flags.precision {
            least = precision;
            if precision == 0 && int == 0 {
                return self.fill(flags.width.unwrap_or(0), false);
            }
        } else if flags.zero && !flags.minus {
            least = flags.width.unwrap_or(0);
            if int < 0 || flags.plus || flags.space {
                least = least.saturating_sub(1);
            }
        }
        let mut text = "0".repeat(least.saturating_sub(digits.len())) + &digits;
        if flags.sharp {
            match verb {
                'b' => text.insert_str(0, "0b"),
                'x' => text.insert_str(0, "0x"),
                'X' => text.insert_str(0, "0X"),
                'o' | 'O' if !text.starts_with('0') => text.insert(0, '0'),
                _ => {}
            }
        }
        if verb == 'O' {
            text.insert_str(0, "0o");
        }
        if int < 0 {
            text.insert(0, '-');
        } else if flags.plus {
            text.insert(0, '+');
        } else if flags.space {
            text.insert(0, ' ');
        }
        self.pad_with(&text, false);
    }

    fn code_point(&mut self, int: i64, verb: char) {
        let c = u32::try_from(int).ok().and_then(char::from_u32);
        match verb {
            'c' => self.pad(c.unwrap_or('\u{fffd}').encode_utf8(&mut [0; 4])),
            'q' => {
                let quoted = quote_char(c.unwrap_or('\u{fffd}'));
                match self.flags.plus {
                    true => self.pad(&to_ascii(&quoted)),
                    false => self.pad(&quoted),
                }
            }
            _ => {
                let width = self.flags.precision.unwrap_or(4).max(4);
                let mut text = format!("U+{:0width$X}", int as u64);
                if let Some(c) = c.filter(|c| self.flags.sharp && !c.is_control()) {
                    text.push_str(&format!(" '{c}'"));
                }
                self.pad_with(&text, false);
            }
        }
    }

    fn float(&mut self, float: f64, value: &Value, verb: char) {
        let (form, precision) = match verb {
            'v' => ('g', None),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
            'f' | 'e' | 'E' => (verb, Some(6)),
            'F' => ('f', Some(6)),
            _ => return self.bad(value, verb),
        };
        let precision = self.flags.precision.or(precision);
        let mut text = float::format(float, form, precision);
        let negative = float.is_sign_negative() && !float.is_nan();
        let sign = match (negative, self.flags.plus, self.flags.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        };
        if !float.is_finite() {
            // Go writes the sign of an infinity only where it is asked for or negative.
            let sign = if float.is_infinite() && sign.is_empty() {
                "+"
            } else {
                sign
            };
            return self.pad_with(&format!("{sign}{text}"), false);
        }
        if self.flags.sharp && form != 'b' {
            text = sharpened(&text, form, precision);
        }
        let text = format!("{sign}{text}");
        if !sign.is_empty() && self.flags.zero && !self.flags.minus {
            let missing = self.flags.width.unwrap_or(0).saturating_sub(text.len());
            self.out.push_str(sign);
            self.fill(missing, true);
            self.out.push_str(&text[sign.len()..]);
            return;
        }
        self.pad(&text);
    }
}

/// A number with its point and the zeros behind it, which `#` asks for.
fn sharpened(text: &str, form: char, precision: Option<usize>) -> String {
    let mut digits = match form {
        'g' | 'G' | 'x' => precision.map_or(6, |p| p as i64),
        _ => 0,
    };
    let tail = text
        .find(|c| matches!(c, 'p' | 'P') || (matches!(c, 'e' | 'E') && !"xX".contains(form)))
        .unwrap_or(text.len());
    let (number, tail) = text.split_at(tail);
    let mut seen = false;
    for c in number.chars().filter(|c| *c != '.') {
        seen |= c != '0';
        digits -= i64::from(seen);
    }
    let mut out = number.to_owned();
    if !number.contains('.') {
        if number == "0" {
            digits -= 1;
        }
        out.push('.');
    }
    out.push_str(&"0".repeat(digits.max(0) as usize));
    out + tail
}

fn can_backquote(text: &str) -> bool {
    text.chars()
        .all(|c| c != '`' && c != '\u{feff}' && (c == '\t' || !c.is_control()))
}

fn to_ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c as u32 {
            0..=0x7f => out.push(c),
            code @ 0x80..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}
