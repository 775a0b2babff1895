//! Fields as `key=value key="quoted value" key`.

use super::LineLabels;
use crate::logql::ast::Extraction;

pub(super) struct Logfmt {
    strict: bool,
    keep_empty: bool,
    fields: Vec<Extraction>,
}

impl Logfmt {
    pub(super) fn new(strict: bool, keep_empty: bool, fields: &[Extraction]) -> Self {
        Self {
            strict,
            keep_empty,
            fields: fields.to_vec(),
        }
    }

    /// Adds the fields of a line. What is none is an error if strict, else it is passed over.
    pub(super) fn run(&self, line: &str, labels: &mut LineLabels) -> Result<(), String> {
        let mut scanner = Scanner { line, at: 0 };
        while let Some(field) = scanner.field() {
            let (key, value) = match field {
                Ok(field) => field,
                Err(message) if self.strict => return Err(message),
                Err(_) => continue,
            };
            if value.is_empty() && !self.keep_empty {
                continue;
            }
            if self.fields.is_empty() {
                labels.extract(key, &value);
            }
            for field in self.fields.iter().filter(|field| field.from == key) {
                labels.extract(&field.label, &value);
            }
        }
        Ok(())
    }
}

struct Scanner<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn field(&mut self) -> Option<Result<(&'a str, std::borrow::Cow<'a, str>), String>> {
        let bytes = self.line.as_bytes();
        while bytes.get(self.at).is_some_and(|b| *b <= b' ') {
            self.at += 1;
        }
        let start = self.at;
        bytes.get(start)?;
        while bytes
            .get(self.at)
            .is_some_and(|b| *b > b' ' && *b != b'=' && *b != b'"')
        {
            self.at += 1;
        }
        let key = &self.line[start..self.at];
        match bytes.get(self.at) {
            Some(b'=') if !key.is_empty() => self.at += 1,
            Some(b'"' | b'=') => {
                let found = char::from(bytes[self.at]);
                let place = self.at + 1;
                self.skip_word();
                return Some(Err(format!(
                    "logfmt syntax error at pos {place} : unexpected '{found}'"
                )));
            }
            _ => return Some(Ok((key, "".into()))),
        }
        if bytes.get(self.at) == Some(&b'"') {
            return Some(self.quoted().map(|value| (key, value)));
        }
        let from = self.at;
        while bytes.get(self.at).is_some_and(|b| *b > b' ') {
            self.at += 1;
        }
        let value = &self.line[from..self.at];
        if value.contains('"') {
            return Some(Err(format!(
                "logfmt syntax error at pos {} : unexpected '\"'",
                from + 1
            )));
        }
        Some(Ok((key, value.into())))
    }

    fn skip_word(&mut self) {
        let bytes = self.line.as_bytes();
        while bytes.get(self.at).is_some_and(|b| *b > b' ') {
            self.at += 1;
        }
    }

    /// A value in quotes, with the escapes of JSON.
    fn quoted(&mut self) -> Result<std::borrow::Cow<'a, str>, String> {
        let bytes = self.line.as_bytes();
        let from = self.at + 1;
        let mut escaped = false;
        self.at = from;
        loop {
            match bytes.get(self.at) {
                None => {
                    return Err(format!(
                        "logfmt syntax error at pos {from} : unterminated quoted value"
                    ));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at = (self.at + 2).min(bytes.len());
                }
                Some(b'"') => break,
                Some(_) => self.at += 1,
            }
        }
        let raw = &self.line[from..self.at];
        self.at += 1;
        if !escaped {
            return Ok(raw.into());
        }
        serde_json::from_str::<String>(&format!("\"{raw}\""))
            .map(Into::into)
            .or_else(|_| Ok(raw.replace("\\\"", "\"").into()))
    }
}
