//! `print`, `println` and `printf`: values as Go's `fmt` writes them.

mod format;
mod number;

pub(super) use format::printf;

use super::time::format_span;
use super::value::Value;
use crate::promql::quote;

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
