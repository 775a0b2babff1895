//! The text format 0.0.4, with quoted names as of 1.0.0.
//!
//! Blanks may stand between all tokens; commas between labels may be left out, as upstream does.

use std::ops::Range;

use super::pairs::{self, COLON, DIGIT, LETTER, Pair, run};
use super::place::{ParseError, shown};
use super::{Entry, Kind, Point, float};
use towpath_query::promql::{Labels, quote};

/// Walks over a text.
pub struct Text<'a> {
    input: &'a [u8],
    /// The whole input is UTF-8, so its parts need no look.
    utf8: bool,
    pub(super) at: usize,
    pub(super) start: usize,
    pub(super) kind: Kind,
    metric: Option<Range<usize>>,
    pairs: Vec<Pair>,
    series_end: usize,
    value: f64,
    time: Option<i64>,
}

impl<'a> Text<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            utf8: std::str::from_utf8(input).is_ok(),
            at: 0,
            start: 0,
            kind: Kind::Unknown,
            metric: None,
            pairs: Vec::with_capacity(16),
            series_end: 0,
            value: 0.0,
            time: None,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, ParseError> {
        loop {
            self.blanks();
            self.start = self.at;
            match self.input.get(self.at) {
                None => return Ok(None),
                Some(b'\n') => self.at += 1,
                Some(b'#') => return self.comment().map(Some),
                Some(_) => {
                    self.series()?;
                    return Ok(Some(Entry::Series));
                }
            }
        }
    }

    pub(super) fn point(&self) -> Point<'_> {
        Point {
            key: self
                .input
                .get(self.start..self.series_end)
                .unwrap_or_default(),
            at: self.time,
            value: self.value,
        }
    }

    /// Where the series is that was read last.
    pub(super) fn key(&self) -> Range<usize> {
        self.start..self.series_end
    }

    /// Reads what follows a series that was compared with a known one; see [`super::Parser::resume`].
    pub(super) fn resume(&mut self, key: Range<usize>) -> Result<bool, ParseError> {
        if !pairs::ends(self.input, &key) {
            return Ok(false);
        }
        (self.start, self.series_end, self.at) = (key.start, key.end, key.end);
        self.blanks();
        self.value().map(|()| true)
    }

    pub(super) fn labels(&self) -> Result<Labels, ParseError> {
        let metric = self.metric.clone().unwrap_or_default();
        pairs::labels(self.input, &metric, &self.pairs, self.kind)
            .map_err(|message| ParseError::at(self.input, self.start, message))
    }

    /// The byte that comes next; the end counts as the end of a line.
    #[inline]
    fn peek(&self) -> u8 {
        self.input.get(self.at).copied().unwrap_or(b'\n')
    }

    #[inline]
    fn blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.input.get(self.at) {
            self.at += 1;
        }
    }

    fn expected<T>(&self, what: &str) -> Result<T, ParseError> {
        Err(ParseError::expected(self.input, self.start, self.at, what))
    }

    fn error<T>(&self, message: String) -> Result<T, ParseError> {
        Err(ParseError::at(self.input, self.at, message))
    }

    /// Takes what is left of the line, and its end.
    fn rest_of_line(&mut self) -> &'a [u8] {
        let rest = &self.input[self.at.min(self.input.len())..];
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at += length + 1;
        &rest[..length]
    }

    fn comment(&mut self) -> Result<Entry, ParseError> {
        let rest = &self.input[self.at + 1..];
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let blanks = rest.iter().take_while(|byte| blank(byte)).count();
        let word = rest.get(blanks..blanks + 4).unwrap_or_default();
        let ends = rest.get(blanks + 4).is_some_and(blank);
        let help = match word {
            b"HELP" => true,
            b"TYPE" => false,
            _ => {
                self.rest_of_line();
                return Ok(Entry::Comment);
            }
        };
        if blanks == 0 || !ends {
            self.rest_of_line();
            return Ok(Entry::Comment);
        }
        self.at += 1 + blanks + 4;
        self.blanks();
        let family = self.family(if help { "HELP" } else { "TYPE" })?;
        let rest = self.rest_of_line();
        let text = match rest.iter().all(blank) {
            true => &[][..],
            false => &rest[1..],
        };
        if help {
            return match std::str::from_utf8(text) {
                Ok(text) => Ok(Entry::Help(
                    family,
                    pairs::help_unescaped(text).into_owned(),
                )),
                Err(_) => {
                    self.at = self.start;
                    let shown = shown(text);
                    self.error(format!("help text {shown} is not a valid utf8 string"))
                }
            };
        }
        self.kind = match text {
            b"counter" => Kind::Counter,
            b"gauge" => Kind::Gauge,
            b"histogram" => Kind::Histogram,
            b"summary" => Kind::Summary,
            b"untyped" => Kind::Unknown,
            other => {
                self.at = self.start;
                return self.error(format!("invalid metric type {}", shown(other)));
            }
        };
        Ok(Entry::Kind(family, self.kind))
    }

    fn family(&mut self, after: &str) -> Result<String, ParseError> {
        let what = format!("expected metric name after {after}");
        let range = match self.peek() {
            b'"' => match pairs::quoted(self.input, self.at + 1, true) {
                Some(end) => {
                    let inner = self.at + 1..end;
                    self.at = end + 1;
                    inner
                }
                None => return self.expected(&what),
            },
            _ => {
                let end = self.metric_end();
                let name = self.at..end;
                if name.is_empty() {
                    return self.expected(&what);
                }
                self.at = end;
                name
            }
        };
        match std::str::from_utf8(&self.input[range]) {
            Ok(name) => Ok(pairs::unescaped(name).into_owned()),
            Err(_) => self.error(format!(
                "metric name after {after} is not a valid utf8 string"
            )),
        }
    }

    /// Where a plain metric name that begins here ends; here if there is none.
    #[inline]
    fn metric_end(&self) -> usize {
        match self.input.get(self.at) {
            Some(byte) if pairs::CLASS[*byte as usize] & (LETTER | COLON) != 0 => {
                run(self.input, self.at, LETTER | COLON | DIGIT)
            }
            _ => self.at,
        }
    }

    fn series(&mut self) -> Result<(), ParseError> {
        self.pairs.clear();
        self.metric = None;
        let end = self.metric_end();
        if end > self.at {
            self.metric = Some(self.at..end);
            self.at = end;
            self.series_end = end;
            self.blanks();
        } else if self.peek() != b'{' {
            return self.expected("expected a valid start token");
        }
        if self.peek() == b'{' {
            self.at += 1;
            self.braces()?;
            self.series_end = self.at;
            self.blanks();
        }
        if self.metric.is_none() {
            let entry = shown(&self.input[self.start..self.at]);
            return self.error(format!("metric name not set while parsing: {entry}"));
        }
        self.value()
    }

    fn braces(&mut self) -> Result<(), ParseError> {
        loop {
            self.blanks();
            let plain = match self.peek() {
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                b'"' => false,
                byte if pairs::CLASS[byte as usize] & LETTER != 0 => true,
                _ => return self.expected("expected label name"),
            };
            let name = if plain {
                let end = run(self.input, self.at, LETTER | DIGIT);
                let name = self.at..end;
                self.at = end;
                name
            } else {
                self.quoted("expected label name")?
            };
            self.blanks();
            match self.peek() {
                b'=' => self.at += 1,
                b',' | b'}' if !plain => {
                    if self.metric.is_some() {
                        let entry = shown(&self.input[self.start..self.at]);
                        return self
                            .error(format!("metric name already set while parsing: {entry}"));
                    }
                    self.metric = Some(name);
                    if self.peek() == b',' {
                        self.at += 1;
                    }
                    continue;
                }
                _ => return self.expected("expected equal"),
            }
            self.blanks();
            if self.peek() != b'"' {
                return self.expected("expected label value");
            }
            let value = self.quoted("expected label value")?;
            if !self.utf8 && std::str::from_utf8(&self.input[value.clone()]).is_err() {
                let value = shown(&self.input[value]);
                return self.error(format!("invalid UTF-8 label value: {value}"));
            }
            self.pairs.push(Pair { name, value });
            self.blanks();
            if self.peek() == b',' {
                self.at += 1;
            }
        }
    }

    /// A quoted text that begins here.
    #[inline]
    fn quoted(&mut self, what: &str) -> Result<Range<usize>, ParseError> {
        match pairs::quoted(self.input, self.at + 1, true) {
            Some(end) => {
                let inner = self.at + 1..end;
                self.at = end + 1;
                Ok(inner)
            }
            None => self.expected(what),
        }
    }

    fn value(&mut self) -> Result<(), ParseError> {
        let rest = &self.input[self.at.min(self.input.len())..];
        let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'{' | 0);
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        if length == 0 {
            return self.expected("expected value after metric");
        }
        self.value = match float::parse(&rest[..length]) {
            Ok(value) => value,
            Err(why) => {
                let entry = shown(&self.input[self.start..self.at + length]);
                let text = quote(&String::from_utf8_lossy(&rest[..length]));
                return self.error(format!("parsing {text}: {why} while parsing: {entry}"));
            }
        };
        self.at += length;
        self.time = None;
        self.blanks();
        let end = run(self.input, self.at.min(self.input.len()), DIGIT);
        if end > self.at {
            let digits = &self.input[self.at..end];
            let number = std::str::from_utf8(digits)
                .ok()
                .and_then(|d| d.parse().ok());
            if number.is_none() {
                let entry = shown(&self.input[self.start..end]);
                return self.error(format!("timestamp out of range while parsing: {entry}"));
            }
            self.time = number;
            self.at = end;
            self.blanks();
        }
        if self.peek() != b'\n' {
            return self.expected(match self.time {
                Some(_) => "expected next entry after timestamp",
                None => "expected timestamp or new record",
            });
        }
        self.at += 1;
        Ok(())
    }
}
