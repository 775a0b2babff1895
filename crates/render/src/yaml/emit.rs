//! Nodes to text, byte for byte as `sigs.k8s.io/yaml` writes them.
//!
//! The rules, one by one: keys in natural order; two spaces of indentation; lists start at the
//! column of their key; empty collections in flow style; a string with a line break becomes a
//! literal block where it can; a string that some reader would take for another type is double
//! quoted; one that cannot stand plain is single quoted; plain and quoted text folds at the
//! first space past column 80.

use super::{Node, Scalar, Value, float, natural, scalar};

const WIDTH: usize = 80;

/// The document's text, with a line break at its end.
pub fn to_yaml(node: &Node) -> String {
    let mut writer = Writer {
        out: String::with_capacity(1024),
        column: 0,
    };
    match &node.value {
        Value::Map(map) if !map.is_empty() => writer.map(map, 0, true),
        Value::List(list) if !list.is_empty() => writer.list(list, 0, true),
        _ => {
            writer.value(node, 0, false);
            writer.newline();
        }
    }
    writer.out
}

struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += if text.is_ascii() {
            text.len()
        } else {
            text.chars().count()
        };
    }

    fn put_char(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn newline(&mut self) {
        if !self.out.ends_with('\n') || self.column > 0 {
            self.out.push('\n');
        }
        self.column = 0;
    }

    fn indent(&mut self, spaces: usize) {
        self.out.extend(std::iter::repeat_n(' ', spaces));
        self.column += spaces;
    }

    // `started`: the cursor already stands where the first key goes (after `- `).
    fn map(&mut self, map: &super::Map, indent: usize, started: bool) {
        let mut entries: Vec<(&String, &Node)> = map.iter().collect();
        entries.sort_by(|l, r| natural(l.0, r.0));
        for (number, (key, value)) in entries.into_iter().enumerate() {
            if number > 0 || !started {
                self.indent(indent);
            }
            let long = key.len() > 128 || key.contains('\n');
            if long {
                self.put("? ");
                self.string(key, indent + 2, false);
                self.newline();
                self.indent(indent);
                self.put_char(':');
            } else {
                self.string(key, indent, true);
                self.put_char(':');
            }
            self.after_key(value, indent);
        }
    }

    fn after_key(&mut self, value: &Node, indent: usize) {
        match &value.value {
            Value::Map(map) if !map.is_empty() => {
                self.newline();
                self.map(map, indent + 2, false);
            }
            Value::List(list) if !list.is_empty() => {
                self.newline();
                self.list(list, indent, false);
            }
            _ => {
                self.put_char(' ');
                self.value(value, indent + 2, false);
                self.newline();
            }
        }
    }

    fn list(&mut self, list: &[Node], indent: usize, started: bool) {
        for (number, item) in list.iter().enumerate() {
            if number > 0 || !started {
                self.indent(indent);
            }
            self.put("- ");
            match &item.value {
                Value::Map(map) if !map.is_empty() => self.map(map, indent + 2, true),
                Value::List(inner) if !inner.is_empty() => self.list(inner, indent + 2, true),
                _ => {
                    self.value(item, indent + 2, false);
                    self.newline();
                }
            }
        }
    }

    fn value(&mut self, node: &Node, indent: usize, key: bool) {
        match &node.value {
            Value::Map(_) => self.put("{}"),
            Value::List(_) => self.put("[]"),
            Value::Scalar(Scalar::Null, _) => self.put("null"),
            Value::Scalar(Scalar::Bool, text) => self.put(if text.eq_ignore_ascii_case("true") {
                "true"
            } else {
                "false"
            }),
            Value::Scalar(Scalar::Int, text) => match scalar::integer(text) {
                Some(number) => self.put(&number.to_string()),
                None => self.string(text, indent, key),
            },
            Value::Scalar(Scalar::Float, text) => match float::parse(text) {
                Some(number) => self.put(&float::print(number)),
                None => self.string(text, indent, key),
            },
            Value::Scalar(Scalar::Str, text) => self.string(text, indent, key),
        }
    }

    fn string(&mut self, text: &str, indent: usize, key: bool) {
        let shape = Shape::of(text);
        if text.contains('\n') {
            if shape.block && !key {
                self.literal(text, indent);
            } else {
                self.double(text, indent, key);
            }
        } else if scalar::ambiguous(text) {
            self.double(text, indent, key);
        } else if shape.plain {
            self.folded(text, indent, key, false);
        } else if shape.single {
            self.put_char('\'');
            self.folded(text, indent, key, true);
            self.put_char('\'');
        } else {
            self.double(text, indent, key);
        }
    }

    // Plain and single-quoted text: breaks replace single spaces past the width.
    fn folded(&mut self, text: &str, indent: usize, key: bool, quoted: bool) {
        if text.len() + self.column <= WIDTH && !(quoted && text.contains('\'')) {
            self.put(text);
            return;
        }
        let mut spaces = false;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c == ' ' {
                let next_is_space = chars.peek().is_some_and(|(_, n)| *n == ' ');
                let inside = !quoted || (at > 0 && at + 1 < text.len());
                if !key && !spaces && self.column > WIDTH && inside && !next_is_space {
                    self.newline();
                    self.indent(indent);
                } else {
                    self.put_char(' ');
                }
                spaces = true;
            } else {
                if quoted && c == '\'' {
                    self.put_char('\'');
                }
                self.put_char(c);
                spaces = false;
            }
        }
    }

    fn double(&mut self, text: &str, indent: usize, key: bool) {
        self.put_char('"');
        let mut spaces = false;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if !printable(c)
                || matches!(
                    c,
                    '\u{feff}' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' | '"' | '\\'
                )
            {
                self.escape(c);
                spaces = false;
            } else if c == ' ' {
                if !key && !spaces && self.column > WIDTH && at > 0 && at + 1 < text.len() {
                    self.newline();
                    self.indent(indent);
                    if chars.peek().is_some_and(|(_, n)| *n == ' ') {
                        self.put_char('\\');
                    }
                } else {
                    self.put_char(' ');
                }
                spaces = true;
            } else {
                self.put_char(c);
                spaces = false;
            }
        }
        self.put_char('"');
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{85}' => "\\N",
            '\u{a0}' => "\\_",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            _ => "",
        };
        if !short.is_empty() {
            return self.put(short);
        }
        let code = c as u32;
        let text = match code {
            0..=0xff => format!("\\x{code:02X}"),
            0x100..=0xffff => format!("\\u{code:04X}"),
            _ => format!("\\U{code:08X}"),
        };
        self.put(&text);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put_char('|');
        if text.starts_with([' ', '\n', '\u{85}', '\u{2028}', '\u{2029}', '\r']) {
            self.put_char('2');
        }
        let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let mut tail = text.chars().rev();
        match (tail.next().is_some_and(is_break), tail.next()) {
            (false, _) => self.put_char('-'),
            (true, None) => self.put_char('+'),
            (true, Some(before)) if is_break(before) => self.put_char('+'),
            _ => {}
        }
        self.out.push('\n');
        self.column = 0;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.out.push(c);
                self.column = 0;
                breaks = true;
            } else {
                if breaks {
                    self.indent(indent);
                    breaks = false;
                }
                self.put_char(c);
            }
        }
    }
}

// What styles a text may be written in.
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Self {
                plain: true,
                single: true,
                block: false,
            };
        }
        let mut shape = Self {
            plain: true,
            single: true,
            block: true,
        };
        if text.starts_with("---") || text.starts_with("...") {
            shape.plain = false;
        }
        let mut previous_space = false;
        let mut previous_break = false;
        let mut after_blank = true;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let last = chars.peek().is_none();
            let before_blank = last || chars.peek().is_some_and(|n| matches!(n, ' ' | '\t'));
            let indicator = match c {
                '#' if first || after_blank => true,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => first,
                '?' | '-' => first && before_blank,
                ':' => before_blank,
                _ => false,
            };
            if indicator {
                shape.plain = false;
            }
            if !printable(c) {
                (shape.plain, shape.single, shape.block) = (false, false, false);
            }
            let is_break = matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            if c == ' ' {
                if first || last {
                    shape.plain = false;
                }
                if last {
                    shape.block = false;
                }
                if previous_break {
                    (shape.plain, shape.single) = (false, false);
                }
                (previous_space, previous_break) = (true, false);
            } else if is_break {
                shape.plain = false;
                if previous_space {
                    (shape.single, shape.block) = (false, false);
                }
                (previous_space, previous_break) = (false, true);
            } else {
                (previous_space, previous_break) = (false, false);
            }
            after_blank = is_break || matches!(c, ' ' | '\t');
            first = false;
        }
        shape
    }
}

fn printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Limits, parse};

    #[test]
    fn styles() {
        let node = &parse(
            "b: [1, {x: z}]\na: \"yes\"\nc: '- x'\nd: \"l1\\nl2\\n\"\ne: {}\nf: ''\n",
            Limits::default(),
        )
        .expect("yaml")[0];
        assert_eq!(
            to_yaml(node),
            "a: \"yes\"\nb:\n- 1\n- x: z\nc: '- x'\nd: |\n  l1\n  l2\ne: {}\nf: \"\"\n"
        );
    }
}
