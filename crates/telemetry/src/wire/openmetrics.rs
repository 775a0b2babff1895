//! OpenMetrics 1.0: single blanks, units, exemplars, `# EOF` at the end and nothing after it.

use std::ops::Range;

use towpath_query::promql::{Labels, quote};
use towpath_signals::Exemplar;

use super::created::Created;
use super::pairs::{self, CLASS, COLON, DIGIT, LETTER, Pair, run};
use super::place::{ParseError, shown};
use super::{Entry, Kind, Point, float};

const NO_EOF: &str = "data does not end with # EOF";

/// Walks over a text.
pub struct OpenMetrics<'a> {
    pub(super) input: &'a [u8],
    utf8: bool,
    hide_created: bool,
    pub(super) at: usize,
    pub(super) start: usize,
    pub(super) kind: Kind,
    /// The family that was described last.
    pub(super) family: &'a [u8],
    pub(super) metric: Option<Range<usize>>,
    pub(super) pairs: Vec<Pair>,
    series_end: usize,
    pub(super) value: f64,
    time: Option<i64>,
    example: Option<(f64, Option<i64>)>,
    example_pairs: Vec<Pair>,
    created: Created,
}

impl<'a> OpenMetrics<'a> {
    pub(super) fn new(input: &'a [u8], hide_created: bool) -> Self {
        Self {
            input,
            utf8: std::str::from_utf8(input).is_ok(),
            hide_created,
            at: 0,
            start: 0,
            kind: Kind::Unknown,
            family: &input[..0],
            metric: None,
            pairs: Vec::with_capacity(16),
            series_end: 0,
            value: 0.0,
            time: None,
            example: None,
            example_pairs: Vec::new(),
            created: Created::default(),
        }
    }

    /// A parser of the same text at the series that come next, in the family that comes now.
    pub(super) fn peeking(&self, from: usize) -> Self {
        let mut other = Self::new(self.input, false);
        (other.at, other.kind, other.family) = (from, self.kind, self.family);
        other
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, ParseError> {
        loop {
            self.start = self.at;
            self.example = None;
            match self.input.get(self.at) {
                None => return self.error(NO_EOF),
                Some(b'#') => {
                    let entry = self.described()?;
                    self.created.forget(self.at);
                    return Ok(entry);
                }
                Some(_) => self.series()?,
            }
            if !(self.hide_created && self.is_created()) {
                return Ok(Some(Entry::Series));
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

    /// Where the name of the family is that was described last.
    pub(super) fn family_place(&self) -> Range<usize> {
        let from = self.family.as_ptr() as usize - self.input.as_ptr() as usize;
        from..from + self.family.len()
    }

    /// Whether no other line says when the series here began to count.
    pub(super) fn is_plain(&mut self) -> bool {
        !self.kind.counts() || !self.created.any(self.input)
    }

    pub(super) fn pass_described(&mut self, to: usize, family: Range<usize>, kind: Option<Kind>) {
        self.at = to;
        self.kind = kind.unwrap_or(self.kind);
        self.family = &self.input[family];
        self.created.forget(to);
    }

    /// Reads what follows a series that was compared with a known one; see [`super::Parser::resume`].
    pub(super) fn resume(&mut self, key: Range<usize>) -> Result<bool, ParseError> {
        if !pairs::ends(self.input, &key) {
            return Ok(false);
        }
        (self.start, self.series_end, self.at) = (key.start, key.end, key.end);
        self.example = None;
        self.rest_of_series().map(|()| true)
    }

    pub(super) fn labels(&self) -> Result<Labels, ParseError> {
        let metric = self.metric.clone().unwrap_or_default();
        pairs::labels(self.input, &metric, &self.pairs, self.kind)
            .map_err(|message| ParseError::at(self.input, self.start, message))
    }

    pub(super) fn exemplar(&self, at: i64) -> Option<Exemplar> {
        let (value, time) = self.example?;
        let text = |range: &Range<usize>| {
            let text = String::from_utf8_lossy(&self.input[range.clone()]);
            pairs::unescaped(&text).into_owned()
        };
        let labels = self.example_pairs.iter();
        Some(Exemplar {
            labels: labels
                .map(|pair| (text(&pair.name), text(&pair.value)))
                .collect(),
            value,
            at: time.unwrap_or(at),
        })
    }

    pub(super) fn start(&mut self) -> Option<i64> {
        if !self.kind.counts() {
            return None;
        }
        let mut created = std::mem::take(&mut self.created);
        let start = created.of(self);
        self.created = created;
        start
    }

    /// The name of the series that was read last.
    pub(super) fn metric_name(&self) -> &'a [u8] {
        &self.input[self.metric.clone().unwrap_or_default()]
    }

    fn is_created(&self) -> bool {
        self.kind.counts() && self.metric_name().ends_with(b"_created")
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn expected<T>(&self, what: &str) -> Result<T, ParseError> {
        if self.at >= self.input.len() {
            return self.error(NO_EOF);
        }
        Err(ParseError::expected(self.input, self.start, self.at, what))
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::at(self.input, self.at, message))
    }

    fn takes(&mut self, text: &[u8]) -> bool {
        let taken = self.input[self.at..].starts_with(text);
        self.at += if taken { text.len() } else { 0 };
        taken
    }

    fn described(&mut self) -> Result<Option<Entry>, ParseError> {
        if self.takes(b"# EOF") {
            self.takes(b"\n");
            return match self.at == self.input.len() {
                true => Ok(None),
                false => self.error("unexpected data after # EOF"),
            };
        }
        let words: [(&[u8], &str); 3] = [
            (b"# HELP ", "HELP"),
            (b"# TYPE ", "TYPE"),
            (b"# UNIT ", "UNIT"),
        ];
        let Some((_, word)) = words.into_iter().find(|(start, _)| self.takes(start)) else {
            return self.expected("expected a valid start token");
        };
        let family = self.family(word)?;
        let rest = &self.input[self.at..];
        let text = match (rest.first(), memchr::memchr(b'\n', rest)) {
            (Some(b' '), Some(end)) => &rest[1..end],
            _ => return self.expected(&format!("expected text in {word}")),
        };
        let entry = match word {
            "HELP" => match std::str::from_utf8(text) {
                Ok(text) => Entry::Help(family, pairs::unescaped(text).into_owned()),
                Err(_) => {
                    let text = shown(text);
                    return self.error(format!("help text {text} is not a valid utf8 string"));
                }
            },
            "UNIT" => self.unit(family, text)?,
            _ => {
                self.kind = self.kind_of(text)?;
                Entry::Kind(family, self.kind)
            }
        };
        self.at += text.len() + 2;
        Ok(Some(entry))
    }

    fn unit(&self, family: String, text: &[u8]) -> Result<Entry, ParseError> {
        let fits = match std::str::from_utf8(text) {
            Ok("") => true,
            Ok(unit) => family
                .strip_suffix(unit)
                .is_some_and(|rest| rest.ends_with('_')),
            Err(_) => false,
        };
        if !fits {
            let (unit, family) = (shown(text), quote(&family));
            return self.error(format!("unit {unit} not a suffix of metric {family}"));
        }
        Ok(Entry::Unit(
            family,
            String::from_utf8_lossy(text).into_owned(),
        ))
    }

    fn kind_of(&self, text: &[u8]) -> Result<Kind, ParseError> {
        Ok(match text {
            b"counter" => Kind::Counter,
            b"gauge" => Kind::Gauge,
            b"histogram" => Kind::Histogram,
            b"gaugehistogram" => Kind::GaugeHistogram,
            b"summary" => Kind::Summary,
            b"info" => Kind::Info,
            b"stateset" => Kind::StateSet,
            b"unknown" => Kind::Unknown,
            other => return self.error(format!("invalid metric type {}", shown(other))),
        })
    }

    fn family(&mut self, after: &str) -> Result<String, ParseError> {
        let what = format!("expected metric name after {after}");
        let range = if self.peek() == Some(b'"') {
            let Some(end) = pairs::quoted(self.input, self.at + 1, true) else {
                return self.expected(&what);
            };
            let inner = self.at + 1..end;
            self.at = end + 1;
            inner
        } else {
            let name = self.at..self.metric_end();
            if name.is_empty() {
                return self.expected(&what);
            }
            self.at = name.end;
            name
        };
        self.family = &self.input[range];
        match std::str::from_utf8(self.family) {
            Ok(name) => Ok(pairs::unescaped(name).into_owned()),
            Err(_) => self.error(format!(
                "metric name after {after} is not a valid utf8 string"
            )),
        }
    }

    fn metric_end(&self) -> usize {
        match self.peek() {
            Some(byte) if CLASS[byte as usize] & (LETTER | COLON) != 0 => {
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
        } else if self.peek() != Some(b'{') {
            return self.expected("expected a valid start token");
        }
        if self.peek() == Some(b'{') {
            self.at += 1;
            let mut pairs = std::mem::take(&mut self.pairs);
            let read = self.braces(&mut pairs, false);
            self.pairs = pairs;
            read?;
        }
        self.series_end = self.at;
        if self.metric.is_none() {
            let entry = shown(&self.input[self.start..self.at]);
            return self.error(format!("metric name not set while parsing: {entry}"));
        }
        self.rest_of_series()
    }

    fn rest_of_series(&mut self) -> Result<(), ParseError> {
        self.value = self.number("expected value after metric")?;
        self.time = None;
        if self.peek() == Some(b' ') && !self.input[self.at..].starts_with(b" # {") {
            self.time = Some(self.timestamp("invalid timestamp")?);
        }
        if self.takes(b" # {") {
            self.example()?;
        }
        match self.peek() {
            Some(b'\n') => self.at += 1,
            None => return self.error(NO_EOF),
            Some(_) => return self.expected("expected next entry after timestamp"),
        }
        Ok(())
    }

    fn example(&mut self) -> Result<(), ParseError> {
        let mut pairs = std::mem::take(&mut self.example_pairs);
        pairs.clear();
        let read = self.braces(&mut pairs, true);
        self.example_pairs = pairs;
        read?;
        let value = self.number("expected value after exemplar labels")?;
        let time = match self.peek() {
            Some(b' ') => Some(self.timestamp("invalid exemplar timestamp")?),
            _ => None,
        };
        self.example = Some((value, time));
        Ok(())
    }

    fn braces(&mut self, pairs: &mut Vec<Pair>, example: bool) -> Result<(), ParseError> {
        loop {
            let plain = match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'"') => false,
                Some(byte) if CLASS[byte as usize] & LETTER != 0 => true,
                _ => return self.expected("expected label name"),
            };
            let name = if plain {
                let end = run(self.input, self.at, LETTER | DIGIT);
                let name = self.at..end;
                self.at = end;
                name
            } else {
                self.quoted("expected label name", !example)?
            };
            match self.peek() {
                Some(b'=') => self.at += 1,
                Some(byte @ (b',' | b'}')) if !plain && !example => {
                    if self.metric.is_some() {
                        let entry = shown(&self.input[self.start..self.at]);
                        return self
                            .error(format!("metric name already set while parsing: {entry}"));
                    }
                    self.metric = Some(name);
                    self.at += usize::from(byte == b',');
                    continue;
                }
                _ => return self.expected("expected equal"),
            }
            if self.peek() != Some(b'"') {
                return self.expected("expected label value");
            }
            let value = self.quoted("expected label value", false)?;
            if !self.utf8 && std::str::from_utf8(&self.input[value.clone()]).is_err() {
                let value = shown(&self.input[value]);
                return self.error(format!("invalid UTF-8 label value: {value}"));
            }
            pairs.push(Pair { name, value });
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return self.expected("expected comma or brace close"),
            }
        }
    }

    fn quoted(&mut self, what: &str, lines: bool) -> Result<Range<usize>, ParseError> {
        let Some(end) = pairs::quoted(self.input, self.at + 1, lines) else {
            return self.expected(what);
        };
        let inner = self.at + 1..end;
        self.at = end + 1;
        Ok(inner)
    }

    /// A number after one blank.
    fn number(&mut self, what: &str) -> Result<f64, ParseError> {
        let rest = &self.input[self.at..];
        let length = match rest.first() {
            Some(b' ') => memchr::memchr2(b' ', b'\n', &rest[1..]).unwrap_or(rest.len() - 1),
            _ => 0,
        };
        if length == 0 {
            return self.expected(what);
        }
        let text = &rest[1..=length];
        match float::parse(text) {
            Ok(value) => {
                self.at += 1 + length;
                Ok(value)
            }
            Err(why) => {
                let entry = shown(&self.input[self.start..=self.at + length]);
                let text = shown(text);
                self.error(format!("parsing {text}: {why} while parsing: {entry}"))
            }
        }
    }

    /// Seconds as milliseconds.
    fn timestamp(&mut self, invalid: &str) -> Result<i64, ParseError> {
        let seconds = self.number("expected timestamp or comment")?;
        match seconds.is_finite() {
            true => Ok((seconds * 1000.0) as i64),
            false => self.error(format!("{invalid} {seconds}")),
        }
    }
}
