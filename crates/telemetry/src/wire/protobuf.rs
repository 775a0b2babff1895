//! Delimited messages `io.prometheus.client.MetricFamily`, the format with native histograms.
//!
//! A family is taken apart metric by metric into the rows that the text formats would have.

use std::sync::Arc;

use towpath_query::promql::{Histogram, Labels, NAME, ResetHint, quote};
use towpath_signals::Exemplar;

use super::pairs::unique;
use super::place::{ParseError, shown};
use super::proto::{Broken, Field, Reader, Side};
use super::{Entry, Kind, Point, Wishes, float};
use crate::family::open_metrics_float;

/// An exemplar as it was read, with its time if it has one.
#[derive(Clone, Debug, Default)]
struct Example<'a> {
    labels: Vec<(&'a str, &'a str)>,
    value: f64,
    at: Option<i64>,
}

/// One line of what would be a text.
#[derive(Debug)]
struct Row {
    suffix: &'static str,
    bound: Option<(&'static str, f64)>,
    value: f64,
    /// The examples of the metric that belong to it.
    examples: std::ops::Range<usize>,
    histogram: Option<Arc<Histogram>>,
}

#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: &'a str,
    kind: u64,
    metrics: std::vec::IntoIter<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Help,
    Unit,
    Kind,
}

/// Walks over the messages.
pub struct Protobuf<'a> {
    input: &'a [u8],
    rest: Reader<'a>,
    wishes: Wishes,
    state: State,
    family: Family<'a>,
    labels: Vec<(&'a str, &'a str)>,
    at: Option<i64>,
    created: Option<i64>,
    examples: Vec<Example<'a>>,
    /// Rows still to come, the next one last.
    rows: Vec<Row>,
    row: Option<Row>,
    key: Vec<u8>,
}

/// What a histogram message says.
#[derive(Debug, Default)]
struct Read<'a> {
    count: u64,
    count_float: f64,
    sum: f64,
    /// Upper bound, cumulative count, example.
    buckets: Vec<(f64, f64, Option<Example<'a>>)>,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    negative: Side,
    positive: Side,
    examples: Vec<Example<'a>>,
}

impl<'a> Protobuf<'a> {
    pub(super) fn new(input: &'a [u8], wishes: Wishes) -> Self {
        Self {
            input,
            rest: Reader::new(input),
            wishes,
            state: State::Between,
            family: Family::default(),
            labels: Vec::new(),
            at: None,
            created: None,
            examples: Vec::new(),
            rows: Vec::new(),
            row: None,
            key: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, ParseError> {
        match self.advance() {
            Ok(entry) => Ok(entry),
            Err(message) => {
                let column = self.input.len() - self.rest.rest().len() + 1;
                Err(ParseError {
                    message,
                    line: 1,
                    column,
                })
            }
        }
    }

    pub(super) fn point(&self) -> Point<'_> {
        Point {
            key: &self.key,
            at: self.at,
            value: self.row.as_ref().map_or(0.0, |row| row.value),
        }
    }

    pub(super) fn labels(&self) -> Result<Labels, ParseError> {
        let mut all: Vec<(Box<str>, Box<str>)> = Vec::with_capacity(self.labels.len() + 2);
        let suffix = self.row.as_ref().map_or("", |row| row.suffix);
        all.push((NAME.into(), (self.family.name.to_owned() + suffix).into()));
        if let Some((name, bound)) = self.row.as_ref().and_then(|row| row.bound) {
            all.push((name.into(), open_metrics_float(bound).into()));
        }
        all.extend(
            self.labels
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        unique(all).map_err(|message| ParseError {
            message,
            line: 1,
            column: 1,
        })
    }

    pub(super) fn histogram(&self) -> Option<&Histogram> {
        self.row.as_ref()?.histogram.as_deref()
    }

    pub(super) fn exemplars(&self, at: i64, out: &mut Vec<Exemplar>) {
        let range = self.row.as_ref().map_or(0..0, |row| row.examples.clone());
        out.extend(self.examples[range].iter().map(|example| Exemplar {
            labels: example.labels.iter().copied().collect(),
            value: example.value,
            at: example.at.unwrap_or(at),
        }));
    }

    pub(super) fn start(&self) -> Option<i64> {
        self.created.filter(|at| *at != 0)
    }

    fn kind(&self) -> Kind {
        match self.family.kind {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Summary,
            4 => Kind::Histogram,
            5 => Kind::GaugeHistogram,
            _ => Kind::Unknown,
        }
    }

    fn advance(&mut self) -> Result<Option<Entry>, String> {
        loop {
            let name = || self.family.name.to_owned();
            match self.state {
                State::Help => {
                    self.state = State::Unit;
                    return Ok(Some(Entry::Help(name(), self.family.help.to_owned())));
                }
                State::Unit => {
                    self.state = State::Kind;
                    if !self.family.unit.is_empty() {
                        return Ok(Some(Entry::Unit(name(), self.family.unit.to_owned())));
                    }
                }
                State::Kind => {
                    self.state = State::Between;
                    return Ok(Some(Entry::Kind(name(), self.kind())));
                }
                State::Between => {}
            }
            if self.state != State::Between {
                continue;
            }
            if let Some(row) = self.rows.pop() {
                let entry = match row.histogram {
                    Some(_) => Entry::Histogram,
                    None => Entry::Series,
                };
                self.row = Some(row);
                self.write_key();
                return Ok(Some(entry));
            }
            if let Some(metric) = self.family.metrics.next() {
                self.metric(metric)?;
            } else if !self.next_family()? {
                return Ok(None);
            }
        }
    }

    fn write_key(&mut self) {
        self.key.clear();
        self.key.extend_from_slice(self.family.name.as_bytes());
        let Some(row) = &self.row else { return };
        self.key.extend_from_slice(row.suffix.as_bytes());
        for (name, value) in &self.labels {
            self.key.push(0xff);
            self.key.extend_from_slice(name.as_bytes());
            self.key.push(0xff);
            self.key.extend_from_slice(value.as_bytes());
        }
        if let Some((name, bound)) = row.bound {
            self.key.push(0xff);
            self.key.extend_from_slice(name.as_bytes());
            self.key.push(0xff);
            self.key.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
    }

    /// Reads the next family that has metrics; false at the end.
    fn next_family(&mut self) -> Result<bool, String> {
        if self.rest.rest().is_empty() {
            return Ok(false);
        }
        let length = self.rest.varint().map_err(text)?;
        let message = usize::try_from(length)
            .map_err(|_| Broken::Truncated)
            .and_then(|length| self.rest.take(length))
            .map_err(|_| {
                let have = self.rest.rest().len();
                format!(
                    "insufficient length of buffer, expected at least {length} bytes, got {have} \
                     bytes"
                )
            })?;
        let mut family = Family::default();
        let mut metrics = Vec::new();
        let mut reader = Reader::new(message);
        let mut help: &[u8] = &[];
        let mut name: &[u8] = &[];
        while let Some(field) = reader.next().map_err(text)? {
            match field.number {
                1 => name = field.bytes().map_err(text)?,
                2 => help = field.bytes().map_err(text)?,
                3 => family.kind = field.varint().map_err(text)?,
                4 => metrics.push(field.bytes().map_err(text)?),
                5 => family.unit = field.text().map_err(text)?,
                _ => {}
            }
        }
        if metrics.is_empty() {
            return Ok(true);
        }
        family.name = match std::str::from_utf8(name) {
            Ok(name) if !name.is_empty() => name,
            _ => {
                return Err(format!(
                    "invalid metric name: {}",
                    String::from_utf8_lossy(name)
                ));
            }
        };
        family.help = std::str::from_utf8(help).map_err(|_| {
            format!(
                "invalid help for metric {}: {}",
                quote(family.name),
                shown(help)
            )
        })?;
        if family.kind > 5 {
            let (name, kind) = (quote(family.name), family.kind);
            return Err(format!("unknown metric type for metric {name}: {kind}"));
        }
        family.metrics = metrics.into_iter();
        self.family = family;
        self.state = State::Help;
        Ok(true)
    }

    fn metric(&mut self, message: &'a [u8]) -> Result<(), String> {
        self.labels.clear();
        self.examples.clear();
        (self.at, self.created) = (None, None);
        let wanted = match self.family.kind {
            0 => 3,
            1 => 2,
            2 => 4,
            3 => 5,
            _ => 7,
        };
        let mut payload: &[u8] = &[];
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next().map_err(text)? {
            match field.number {
                1 => self.labels.push(label(&field).map_err(text)?),
                6 => self.at = Some(field.int().map_err(text)?).filter(|at| *at != 0),
                number if number == wanted => payload = field.bytes().map_err(text)?,
                _ => {}
            }
        }
        match self.family.kind {
            2 => self.summary(payload).map_err(text)?,
            4 | 5 => self.histograms(payload)?,
            _ => self.number(payload).map_err(text)?,
        }
        self.rows.reverse();
        Ok(())
    }

    fn row(&mut self, suffix: &'static str, bound: Option<(&'static str, f64)>, value: f64) {
        let none = self.examples.len();
        self.rows.push(Row {
            suffix,
            bound,
            value,
            examples: none..none,
            histogram: None,
        });
    }

    fn number(&mut self, payload: &'a [u8]) -> Result<(), Broken> {
        let mut value = 0.0;
        let counter = self.family.kind == 0;
        let mut reader = Reader::new(payload);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => value = field.double()?,
                2 if counter => self.examples = vec![example(&field)?],
                3 if counter => self.created = Some(time(&field)?),
                _ => {}
            }
        }
        let examples = 0..self.examples.len();
        self.row("", None, normal(value));
        if let Some(row) = self.rows.last_mut() {
            row.examples = examples;
        }
        Ok(())
    }

    fn summary(&mut self, payload: &'a [u8]) -> Result<(), Broken> {
        let (mut count, mut sum, mut quantiles) = (0, 0.0, Vec::new());
        let mut reader = Reader::new(payload);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => count = field.varint()?,
                2 => sum = field.double()?,
                3 => {
                    let (mut quantile, mut value) = (0.0, 0.0);
                    let mut inner = field.message()?;
                    while let Some(field) = inner.next()? {
                        match field.number {
                            1 => quantile = field.double()?,
                            2 => value = field.double()?,
                            _ => {}
                        }
                    }
                    quantiles.push((quantile, value));
                }
                4 => self.created = Some(time(&field)?),
                _ => {}
            }
        }
        self.row("_count", None, count as f64);
        self.row("_sum", None, sum);
        for (quantile, value) in quantiles {
            self.row("", Some(("quantile", quantile)), value);
        }
        Ok(())
    }

    fn histograms(&mut self, payload: &'a [u8]) -> Result<(), String> {
        let mut read = self.read_histogram(payload).map_err(text)?;
        let native = self.wishes.native_histograms && read.is_native();
        if native {
            let gauge = self.family.kind == 5;
            let histogram = read.native(gauge)?;
            let own = std::mem::take(&mut read.examples);
            let timed = |example: &Example<'_>| example.at.is_some();
            if own.is_empty() {
                let buckets = read.buckets.iter().filter_map(|bucket| bucket.2.clone());
                self.examples.extend(buckets.filter(timed));
            } else {
                self.examples.extend(own.into_iter().filter(timed));
            }
            self.rows.push(Row {
                suffix: "",
                bound: None,
                value: histogram.sum,
                examples: 0..self.examples.len(),
                histogram: Some(Arc::new(histogram)),
            });
            if !self.wishes.classic_too || read.buckets.is_empty() {
                return Ok(());
            }
        }
        let count = or(read.count_float, read.count);
        self.row("_count", None, count);
        self.row("_sum", None, read.sum);
        for (bound, count, example) in read.buckets {
            let from = self.examples.len();
            self.examples.extend(example);
            let examples = from..self.examples.len();
            self.row("_bucket", Some(("le", bound)), count);
            if let Some(row) = self.rows.last_mut() {
                row.examples = examples;
            }
            if bound == f64::INFINITY {
                return Ok(());
            }
        }
        self.row("_bucket", Some(("le", f64::INFINITY)), count);
        Ok(())
    }

    fn read_histogram(&mut self, payload: &'a [u8]) -> Result<Read<'a>, Broken> {
        let mut read = Read::default();
        let mut reader = Reader::new(payload);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => read.count = field.varint()?,
                2 => read.sum = field.double()?,
                3 => read.buckets.push(bucket(&field)?),
                4 => read.count_float = field.double()?,
                5 => read.schema = field.zigzag()? as i32,
                6 => read.zero_threshold = field.double()?,
                7 => read.zero_count = field.varint()?,
                8 => read.zero_count_float = field.double()?,
                9 => read.negative.span(&field)?,
                10 => read.negative.delta(&field)?,
                11 => read.negative.count(&field)?,
                12 => read.positive.span(&field)?,
                13 => read.positive.delta(&field)?,
                14 => read.positive.count(&field)?,
                15 => self.created = Some(time(&field)?),
                16 => read.examples.push(example(&field)?),
                _ => {}
            }
        }
        Ok(read)
    }
}

impl Read<'_> {
    /// A histogram without spans and without a zero bucket is a classic one.
    fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
    }

    fn native(&self, gauge: bool) -> Result<Histogram, String> {
        let float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        let mut out = Histogram {
            hint: if gauge {
                ResetHint::Gauge
            } else {
                ResetHint::Unknown
            },
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: if float {
                self.zero_count_float
            } else {
                self.zero_count as f64
            },
            count: if float {
                self.count_float
            } else {
                self.count as f64
            },
            sum: self.sum,
            positive: self.positive.buckets(float)?,
            negative: self.negative.buckets(float)?,
            bounds: Arc::from([]),
        };
        out.compact();
        Ok(out)
    }
}

fn text(broken: Broken) -> String {
    broken.to_string()
}

fn or(float: f64, integer: u64) -> f64 {
    if float == 0.0 { integer as f64 } else { float }
}

fn normal(value: f64) -> f64 {
    let ordinary = value.is_nan() && !towpath_query::promql::is_stale(value);
    if ordinary {
        f64::from_bits(float::NORMAL_NAN)
    } else {
        value
    }
}

fn label<'a>(field: &Field<'a>) -> Result<(&'a str, &'a str), Broken> {
    let (mut name, mut value) = ("", "");
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn bucket<'a>(field: &Field<'a>) -> Result<(f64, f64, Option<Example<'a>>), Broken> {
    let (mut count, mut count_float, mut bound, mut own) = (0, 0.0, 0.0, None);
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => count = field.varint()?,
            2 => bound = field.double()?,
            3 => own = Some(example(&field)?),
            4 => count_float = field.double()?,
            _ => {}
        }
    }
    Ok((bound, or(count_float, count), own))
}

fn example<'a>(field: &Field<'a>) -> Result<Example<'a>, Broken> {
    let mut out = Example::default();
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => out.labels.push(label(&field)?),
            2 => out.value = field.double()?,
            3 => out.at = Some(time(&field)?),
            _ => {}
        }
    }
    Ok(out)
}

/// A `google.protobuf.Timestamp` in milliseconds.
fn time(field: &Field<'_>) -> Result<i64, Broken> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => seconds = field.int()?,
            2 => nanos = i64::from(field.int()? as i32),
            _ => {}
        }
    }
    Ok(seconds.wrapping_mul(1000).wrapping_add(nanos / 1_000_000))
}
