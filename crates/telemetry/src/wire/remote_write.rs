//! Requests of remote write, both versions, read in place from an unpacked body.
//!
//! A request is read as a whole before anything of it is used, so that a broken one changes
//! nothing. Everything lies in a few flat lists: a series names ranges of them.

use std::ops::Range;
use std::sync::Arc;

use towpath_query::promql::{CUSTOM, Histogram, ResetHint};
use towpath_signals::{Metadata, SeriesRef};

use super::proto::{Broken, Field, Reader, Side};

/// A request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not protobuf of this message.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The body is not snappy.
    #[error("snappy: corrupt input")]
    Snappy,
    /// Unpacked it would be larger than what is taken.
    #[error("the request has {have} bytes unpacked, more than {limit}")]
    TooLarge {
        /// What it says it has.
        have: usize,
        /// What is taken.
        limit: usize,
    },
}

/// A plain sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// What was measured.
    pub value: f64,
    /// Since when it counts, where that is told.
    pub start: Option<i64>,
}

/// A histogram sample, or what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramPoint {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// The histogram.
    pub value: Result<Arc<Histogram>, String>,
    /// Since when it counts, where that is told.
    pub start: Option<i64>,
}

/// An exemplar.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Its labels in [`Request::labels`].
    pub labels: Range<usize>,
    /// What was measured.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub at: i64,
}

/// A series of a request: ranges of the request's lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series<'a> {
    /// Which one it is, where that was known from what names it; then its labels are not read.
    pub known: Option<SeriesRef>,
    /// What names it, as it was sent; of version 1, where it is in one piece.
    pub written: Option<&'a [u8]>,
    /// In [`Request::labels`].
    pub labels: Range<usize>,
    /// In [`Request::points`].
    pub points: Range<usize>,
    /// In [`Request::histograms`].
    pub histograms: Range<usize>,
    /// In [`Request::examples`].
    pub examples: Range<usize>,
    /// What is wrong with the labels, where something is.
    pub fault: Option<String>,
    /// What is said about the metric; of version 2.
    pub metadata: Option<Metadata>,
}

/// A request, unpacked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<'a> {
    /// Labels of all series and exemplars.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Samples of all series.
    pub points: Vec<Point>,
    /// Histograms of all series.
    pub histograms: Vec<HistogramPoint>,
    /// Exemplars of all series.
    pub examples: Vec<Example>,
    /// The series.
    pub series: Vec<Series<'a>>,
    /// What is said about metric families; of version 1.
    pub metadata: Vec<(&'a str, Metadata)>,
}

/// Unpacks a body into `room`, which may have been used before; see [`unpack`].
///
/// # Errors
/// It is not snappy or too large.
pub fn unpack_into(body: &[u8], limit: usize, room: &mut Vec<u8>) -> Result<(), RequestError> {
    let have = snap::raw::decompress_len(body).map_err(|_| RequestError::Snappy)?;
    if have > limit {
        return Err(RequestError::TooLarge { have, limit });
    }
    // What lies in it is overwritten.
    room.resize(have, 0);
    let unpacked = snap::raw::Decoder::new().decompress(body, room);
    room.truncate(unpacked.map_err(|_| RequestError::Snappy)?);
    Ok(())
}

/// Unpacks a body, of which not more than `limit` bytes are expected; the size it claims is
/// looked at before anything is allocated.
///
/// # Errors
/// It is not snappy or too large.
pub fn unpack(body: &[u8], limit: usize) -> Result<Vec<u8>, RequestError> {
    let have = snap::raw::decompress_len(body).map_err(|_| RequestError::Snappy)?;
    if have > limit {
        return Err(RequestError::TooLarge { have, limit });
    }
    let unpacked = snap::raw::Decoder::new().decompress_vec(body);
    unpacked.map_err(|_| RequestError::Snappy)
}

const KINDS: [&str; 8] = [
    "unknown",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
];

fn kind(number: u64) -> String {
    let known = usize::try_from(number)
        .ok()
        .and_then(|number| KINDS.get(number));
    (*known.unwrap_or(&"unknown")).to_owned()
}

/// Reads `prometheus.WriteRequest`.
///
/// # Errors
/// It is none.
pub fn version_1(message: &[u8]) -> Result<Request<'_>, RequestError> {
    version_1_known(message, |_| None)
}

/// Reads `prometheus.WriteRequest`, but for the labels of series that `find` knows by how they are
/// written. It must know none that were not read as a whole once.
///
/// # Errors
/// It is none.
pub fn version_1_known<'a>(
    message: &'a [u8],
    mut find: impl FnMut(&'a [u8]) -> Option<SeriesRef>,
) -> Result<Request<'a>, RequestError> {
    let mut out = Request::default();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => out.series_1(&field, &mut find)?,
            3 => {
                let (mut family, mut metadata) = ("", Metadata::default());
                let mut inner = field.message()?;
                while let Some(field) = inner.next()? {
                    match field.number {
                        1 => metadata.kind = kind(field.varint()?),
                        2 => family = field.text()?,
                        4 => metadata.help = field.text()?.to_owned(),
                        5 => metadata.unit = field.text()?.to_owned(),
                        _ => {}
                    }
                }
                if metadata.kind.is_empty() {
                    metadata.kind = kind(0);
                }
                out.metadata.push((family, metadata));
            }
            _ => {}
        }
    }
    Ok(out)
}

/// Reads `io.prometheus.write.v2.Request`.
///
/// # Errors
/// It is none.
pub fn version_2(message: &[u8]) -> Result<Request<'_>, RequestError> {
    let mut symbols = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        if field.number == 4 {
            symbols.push(field.text()?);
        }
    }
    let mut out = Request::default();
    let mut refs = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        if field.number == 5 {
            out.series_2(&field, &symbols, &mut refs)?;
        }
    }
    Ok(out)
}

impl<'a> Request<'a> {
    fn begin(&self) -> Series<'a> {
        let here = |length: usize| length..length;
        Series {
            labels: here(self.labels.len()),
            points: here(self.points.len()),
            histograms: here(self.histograms.len()),
            examples: here(self.examples.len()),
            ..Series::default()
        }
    }

    fn series_1(
        &mut self,
        field: &Field<'a>,
        find: &mut impl FnMut(&'a [u8]) -> Option<SeriesRef>,
    ) -> Result<(), Broken> {
        let mut series = self.begin();
        let message = field.bytes()?;
        let (names, rest) = message.split_at(named(message)?);
        series.written = Some(names);
        series.known = find(names);
        if series.known.is_none() {
            self.names(names)?;
        }
        let mut reader = Reader::new(rest);
        let mut examples = Vec::new();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => {
                    // Senders write them together; from one that does not, all are read.
                    if series.known.take().is_some() {
                        self.names(names)?;
                    }
                    series.written = None;
                    self.labels.push(label(&field)?);
                }
                2 => self.points.push(point(&field)?),
                3 => examples.push(field),
                4 => self.histograms.push(histogram(&field)?),
                _ => {}
            }
        }
        series.labels.end = self.labels.len();
        for field in examples {
            let from = self.labels.len();
            let (mut value, mut at) = (0.0, 0);
            let mut inner = field.message()?;
            while let Some(field) = inner.next()? {
                match field.number {
                    1 => self.labels.push(label(&field)?),
                    2 => value = field.double()?,
                    3 => at = field.int()?,
                    _ => {}
                }
            }
            let labels = from..self.labels.len();
            self.examples.push(Example { labels, value, at });
        }
        self.finish(series);
        Ok(())
    }

    fn names(&mut self, names: &'a [u8]) -> Result<(), Broken> {
        let mut reader = Reader::new(names);
        while let Some(field) = reader.next()? {
            self.labels.push(label(&field)?);
        }
        Ok(())
    }

    fn finish(&mut self, mut series: Series<'a>) {
        series.points.end = self.points.len();
        series.histograms.end = self.histograms.len();
        series.examples.end = self.examples.len();
        self.series.push(series);
    }

    fn series_2(
        &mut self,
        field: &Field<'a>,
        symbols: &[&'a str],
        refs: &mut Vec<u64>,
    ) -> Result<(), Broken> {
        let mut series = self.begin();
        refs.clear();
        let mut examples = Vec::new();
        let mut reader = field.message()?;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => field.varints(|symbol| refs.push(symbol))?,
                2 => self.points.push(point(&field)?),
                3 => self.histograms.push(histogram(&field)?),
                4 => examples.push(field),
                5 => series.metadata = metadata(&field, symbols)?,
                _ => {}
            }
        }
        series.fault = self.resolve(refs, symbols).err();
        series.labels.end = self.labels.len();
        for field in examples {
            let (mut value, mut at) = (0.0, 0);
            refs.clear();
            let mut inner = field.message()?;
            while let Some(field) = inner.next()? {
                match field.number {
                    1 => field.varints(|symbol| refs.push(symbol))?,
                    2 => value = field.double()?,
                    3 => at = field.int()?,
                    _ => {}
                }
            }
            let from = self.labels.len();
            // Exemplars do not fail requests; one with labels that are none is left out.
            if self.resolve(refs, symbols).is_ok() {
                let labels = from..self.labels.len();
                self.examples.push(Example { labels, value, at });
            } else {
                self.labels.truncate(from);
            }
        }
        self.finish(series);
        Ok(())
    }

    /// Adds the labels that pairs of references name.
    fn resolve(&mut self, refs: &[u64], symbols: &[&'a str]) -> Result<(), String> {
        let pairs = refs.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err(format!("invalid labelRefs length {}", refs.len()));
        }
        let symbol = |at: u64| {
            usize::try_from(at)
                .ok()
                .and_then(|at| symbols.get(at))
                .copied()
        };
        for pair in pairs {
            let (Some(name), Some(value)) = (symbol(pair[0]), symbol(pair[1])) else {
                return Err(format!(
                    "labelRefs {} (name) = {} (value) outside of symbols table (size {})",
                    pair[0],
                    pair[1],
                    symbols.len()
                ));
            };
            self.labels.push((name, value));
        }
        Ok(())
    }
}

/// How much of a series of version 1 are the labels at its front.
fn named(message: &[u8]) -> Result<usize, Broken> {
    let mut reader = Reader::new(message);
    // The tag of a label, as everybody writes it.
    while reader.rest().first() == Some(&0x0a) {
        reader.next()?;
    }
    Ok(message.len() - reader.rest().len())
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

fn point(field: &Field<'_>) -> Result<Point, Broken> {
    let mut out = Point {
        at: 0,
        value: 0.0,
        start: None,
    };
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => out.value = field.double()?,
            2 => out.at = field.int()?,
            3 => out.start = Some(field.int()?).filter(|start| *start != 0),
            _ => {}
        }
    }
    Ok(out)
}

fn metadata(field: &Field<'_>, symbols: &[&str]) -> Result<Option<Metadata>, Broken> {
    let symbol = |at: u64| {
        let known = usize::try_from(at).ok().and_then(|at| symbols.get(at));
        (*known.unwrap_or(&"")).to_owned()
    };
    let mut out = Metadata {
        kind: kind(0),
        ..Metadata::default()
    };
    let mut said = false;
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => out.kind = kind(field.varint()?),
            3 => out.help = symbol(field.varint()?),
            4 => out.unit = symbol(field.varint()?),
            _ => continue,
        }
        said = true;
    }
    Ok(said.then_some(out))
}

/// Both versions write histograms alike.
fn histogram(field: &Field<'_>) -> Result<HistogramPoint, Broken> {
    let mut out = Histogram::default();
    let (mut float, mut at, mut start, mut bounds) = (false, 0, None, Vec::new());
    let (mut negative, mut positive) = (Side::default(), Side::default());
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => (out.count, float) = (field.varint()? as f64, false),
            2 => (out.count, float) = (field.double()?, true),
            3 => out.sum = field.double()?,
            4 => out.schema = field.zigzag()? as i32,
            5 => out.zero_threshold = field.double()?,
            6 => out.zero_count = field.varint()? as f64,
            7 => out.zero_count = field.double()?,
            8 => negative.span(&field)?,
            9 => negative.delta(&field)?,
            10 => negative.count(&field)?,
            11 => positive.span(&field)?,
            12 => positive.delta(&field)?,
            13 => positive.count(&field)?,
            14 => {
                out.hint = match field.varint()? {
                    1 => ResetHint::Reset,
                    2 => ResetHint::NotReset,
                    3 => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                }
            }
            15 => at = field.int()?,
            16 => field.doubles(|bound| bounds.push(bound))?,
            17 => start = Some(field.int()?).filter(|start| *start != 0),
            _ => {}
        }
    }
    let value = fill(out, &negative, &positive, bounds, float);
    Ok(HistogramPoint { at, value, start })
}

fn fill(
    mut out: Histogram,
    negative: &Side,
    positive: &Side,
    bounds: Vec<f64>,
    float: bool,
) -> Result<Arc<Histogram>, String> {
    if out.schema != CUSTOM && !(-4..=52).contains(&out.schema) {
        return Err(format!(
            "schema {}: histogram has an invalid schema, which must be between -4 and 8 for \
             exponential buckets, or -53 for custom buckets",
            out.schema
        ));
    }
    out.negative = negative.buckets(float)?;
    out.positive = positive.buckets(float)?;
    out.bounds = bounds.into();
    out.compact();
    Ok(Arc::new(out))
}
