//! The messages of remote read.

use towpath_query::promql::{Labels, MatchOp, Matcher, Series};

use super::histogram;
use super::put::Put;
use crate::wire::proto::{Broken, Field, Reader};
use crate::wire::remote_write::{RequestError, version_1};

/// One query of a request; both times are included.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) matchers: Vec<Matcher>,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// One message with all samples.
    Samples,
    /// A message per series, its samples in chunks.
    Chunks,
}

/// What is asked, and which kinds of answer are understood, the most wanted first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) queries: Vec<Query>,
    pub(crate) accepted: Vec<u64>,
}

impl Request {
    /// The kind of answer; the words are upstream's.
    pub(crate) fn answer(&self) -> Result<Answer, String> {
        if self.accepted.is_empty() {
            return Ok(Answer::Samples);
        }
        let known = self.accepted.iter().find_map(|kind| match kind {
            0 => Some(Answer::Samples),
            1 => Some(Answer::Chunks),
            _ => None,
        });
        known.ok_or_else(|| {
            format!(
                "server does not support any of the requested response types: {:?}; supported: \
                 map[SAMPLES:{{}} STREAMED_XOR_CHUNKS:{{}}]",
                self.accepted
            )
        })
    }
}

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("{0}")]
    Matcher(String),
}

/// Reads a request.
pub(crate) fn request(message: &[u8]) -> Result<Request, Unreadable> {
    let mut out = Request::default();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => out.queries.push(query(&field)?),
            2 => field.varints(|kind| out.accepted.push(kind))?,
            _ => {}
        }
    }
    Ok(out)
}

fn query(field: &Field<'_>) -> Result<Query, Unreadable> {
    let mut out = Query {
        start: 0,
        end: 0,
        matchers: Vec::new(),
    };
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => out.start = field.int()?,
            2 => out.end = field.int()?,
            3 => out.matchers.push(matcher(&field)?),
            _ => {}
        }
    }
    Ok(out)
}

const OPS: [MatchOp; 4] = [
    MatchOp::Equal,
    MatchOp::NotEqual,
    MatchOp::Regex,
    MatchOp::NotRegex,
];

fn matcher(field: &Field<'_>) -> Result<Matcher, Unreadable> {
    let (mut kind, mut name, mut value) = (0, "", "");
    let mut reader = field.message()?;
    while let Some(field) = reader.next()? {
        match field.number {
            1 => kind = field.varint()?,
            2 => name = field.text()?,
            3 => value = field.text()?,
            _ => {}
        }
    }
    let op = usize::try_from(kind).ok().and_then(|kind| OPS.get(kind));
    let op = op.ok_or_else(|| Unreadable::Matcher("invalid matcher type".into()))?;
    Matcher::new(name, *op, value).map_err(Unreadable::Matcher)
}

/// Writes a request with one query, for an answer in samples.
pub(crate) fn ask(matchers: &[Matcher], start: i64, end: i64) -> Vec<u8> {
    let mut query = Put::default();
    query.int(1, start);
    query.int(2, end);
    for own in matchers {
        let mut matcher = Put::default();
        let kind = OPS.iter().position(|op| *op == own.op).unwrap_or(0);
        matcher.uint(1, kind as u64);
        matcher.text(2, &own.name);
        matcher.text(3, &own.value);
        query.message(3, &matcher);
    }
    let mut out = Put::default();
    out.message(1, &query);
    out.into_bytes()
}

fn put_labels(out: &mut Put, labels: &Labels) {
    for (name, value) in labels.iter() {
        let mut label = Put::default();
        label.text(1, name);
        label.text(2, value);
        out.message(1, &label);
    }
}

/// A series with its samples, as `prometheus.TimeSeries`.
pub(crate) fn time_series(series: &Series) -> Put {
    let mut out = Put::default();
    put_labels(&mut out, &series.labels);
    let mut sample = Put::default();
    for (at, value) in series.floats.iter() {
        sample.clear();
        sample.double(1, value);
        sample.int(2, at);
        out.message(2, &sample);
    }
    for (at, value) in &series.histograms {
        out.message(4, &histogram::sample(value, *at, None));
    }
    out
}

/// A chunk on its way, as `prometheus.Chunk`.
pub(crate) fn chunk(first: i64, last: i64, encoding: u64, data: &[u8]) -> Put {
    let mut out = Put::default();
    out.int(1, first);
    out.int(2, last);
    out.uint(3, encoding);
    out.data(4, data);
    out
}

/// A message of a streamed answer: some chunks of one series.
pub(crate) fn chunked(labels: &Labels, chunks: &[Put], query: u64) -> Vec<u8> {
    let mut series = Put::default();
    put_labels(&mut series, labels);
    chunks.iter().for_each(|chunk| series.message(2, chunk));
    let mut out = Put::default();
    out.message(1, &series);
    out.uint(2, query);
    out.into_bytes()
}

/// Puts a frame around a message of a streamed answer: length, checksum.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 14);
    super::put::varint(&mut out, message.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(message).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// The series of an answer in samples to one query.
pub(crate) fn answer(message: &[u8]) -> Result<Vec<Series>, RequestError> {
    let mut out = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        if field.number != 1 {
            continue;
        }
        // Series are written as in remote write, in a field of the same number.
        let result = version_1(field.bytes()?)?;
        for one in &result.series {
            let labels = result.labels[one.labels.clone()].iter().copied().collect();
            let mut series = Series::new(labels);
            for point in &result.points[one.points.clone()] {
                series.floats.push(point.at, point.value);
            }
            for point in &result.histograms[one.histograms.clone()] {
                if let Ok(value) = &point.value {
                    series.histograms.push((point.at, value.clone()));
                }
            }
            out.push(series);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use towpath_query::promql::Histogram;

    #[test]
    fn requests_round_trip() {
        let matchers = [
            Matcher::equal("__name__", "up"),
            Matcher::new("job", MatchOp::NotRegex, "a|b").unwrap(),
        ];
        let read = request(&ask(&matchers, -5, 77)).unwrap();
        let query = &read.queries[0];
        assert_eq!((query.start, query.end), (-5, 77));
        let shown: Vec<String> = query.matchers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["__name__=\"up\"", "job!~\"a|b\""]);
        assert_eq!(read.answer(), Ok(Answer::Samples));
    }

    #[test]
    fn the_first_kind_that_is_known_is_taken() {
        let accepted = |accepted: &[u64]| Request {
            accepted: accepted.to_vec(),
            ..Request::default()
        };
        assert_eq!(accepted(&[7, 1, 0]).answer(), Ok(Answer::Chunks));
        assert_eq!(accepted(&[0, 1]).answer(), Ok(Answer::Samples));
        assert!(accepted(&[7]).answer().is_err());
    }

    #[test]
    fn answers_round_trip() {
        let mut series = Series::new([("__name__", "a"), ("x", "y")].into_iter().collect());
        series.floats.push(1, 2.5);
        series.floats.push(-2, f64::INFINITY);
        let value = Histogram {
            count: 3.0,
            sum: 4.0,
            positive: vec![(-1, 1.0), (4, 2.0)],
            ..Histogram::default()
        };
        series.histograms.push((9, Arc::new(value)));
        let mut result = Put::default();
        result.message(1, &time_series(&series));
        let mut message = Put::default();
        message.message(1, &result);
        let back = answer(message.bytes()).unwrap();
        assert_eq!(back.len(), 1);
        assert_eq!(back[0].labels, series.labels);
        assert_eq!(back[0].floats, series.floats);
        assert_eq!(back[0].histograms, series.histograms);
    }

    proptest! {
        #[test]
        fn anything_can_be_read(bytes: Vec<u8>) {
            let _ = request(&bytes);
            let _ = answer(&bytes);
        }
    }
}
