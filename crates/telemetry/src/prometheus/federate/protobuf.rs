//! Delimited messages `io.prometheus.client.MetricFamily`.

use prost::Message;
use towpath_query::promql::Histogram;

use super::{Last, Row, Sort, classic};
use crate::prometheus::fault::Fault;
use crate::prometheus::reply::Reply;

const TYPE: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores";

const UNTYPED: i32 = 3;
const HISTOGRAM: i32 = 4;
const GAUGE_HISTOGRAM: i32 = 5;

#[derive(Clone, PartialEq, Message)]
struct Family {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Untyped>,
    #[prost(int64, optional, tag = "6")]
    timestamp_ms: Option<i64>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Buckets>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Untyped {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Buckets {
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    classic: Vec<Bucket>,
    #[prost(double, optional, tag = "4")]
    count: Option<f64>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(double, optional, tag = "8")]
    zero_count: Option<f64>,
    #[prost(message, repeated, tag = "9")]
    negative_spans: Vec<Span>,
    #[prost(double, repeated, packed = "false", tag = "11")]
    negative: Vec<f64>,
    #[prost(message, repeated, tag = "12")]
    positive_spans: Vec<Span>,
    #[prost(double, repeated, packed = "false", tag = "14")]
    positive: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Bucket {
    #[prost(double, optional, tag = "2")]
    bound: Option<f64>,
    #[prost(double, optional, tag = "4")]
    count: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Span {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

pub(super) fn write(rows: &[Row], reply: &mut Reply) -> Result<(), Fault> {
    reply.raw(TYPE);
    let same = |a: &Row, b: &Row| a.name == b.name && a.last.sort() == b.last.sort();
    for rows in rows.chunk_by(same) {
        let Some(first) = rows.first() else { continue };
        let family = Family {
            name: Some(first.name.clone()),
            kind: Some(match first.last.sort() {
                Sort::Untyped => UNTYPED,
                Sort::Histogram => HISTOGRAM,
                Sort::Gauges => GAUGE_HISTOGRAM,
            }),
            metrics: rows.iter().map(metric).collect(),
        };
        let bytes = family.encode_length_delimited_to_vec();
        reply.out().extend_from_slice(&bytes);
        reply.checkpoint()?;
    }
    Ok(())
}

fn metric(row: &Row) -> Metric {
    let pairs = row.labels.iter().map(|(name, value)| Pair {
        name: Some(name.clone()),
        value: Some(value.clone()),
    });
    let mut out = Metric {
        labels: pairs.collect(),
        timestamp_ms: Some(row.at),
        ..Metric::default()
    };
    match &row.last {
        Last::Number(value) => {
            out.untyped = Some(Untyped {
                value: Some(*value),
            });
        }
        Last::Histogram(own) => out.histogram = Some(buckets(own)),
    }
    out
}

fn buckets(own: &Histogram) -> Buckets {
    let out = Buckets {
        sum: Some(own.sum),
        count: Some(own.count),
        ..Buckets::default()
    };
    if own.is_custom() {
        let classic = classic(own).into_iter();
        return Buckets {
            classic: classic
                .map(|(bound, count)| Bucket {
                    bound: Some(bound),
                    count: Some(count),
                })
                .collect(),
            ..out
        };
    }
    let (mut positive_spans, positive) = side(&own.positive);
    let (negative_spans, negative) = side(&own.negative);
    if positive_spans.is_empty() && negative_spans.is_empty() && own.zero_threshold == 0.0 {
        // By nothing else could it be told from a classic histogram without buckets.
        positive_spans.push(Span {
            offset: Some(0),
            length: Some(0),
        });
    }
    Buckets {
        schema: Some(own.schema),
        zero_threshold: Some(own.zero_threshold),
        zero_count: Some(own.zero_count),
        negative_spans,
        negative,
        positive_spans,
        positive,
        ..out
    }
}

/// Runs of neighbours, each with its distance from the one before, and all counts.
fn side(of: &[(i32, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for (index, _) in of {
        let offset = index.wrapping_sub(next);
        match spans.last_mut() {
            Some(last) if offset == 0 => last.length = last.length.map(|n| n + 1),
            _ => spans.push(Span {
                offset: Some(offset),
                length: Some(1),
            }),
        }
        next = index.wrapping_add(1);
    }
    (spans, of.iter().map(|(_, count)| *count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Entry, Format, Parser, Wishes};
    use std::sync::Arc;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let own = Histogram {
            schema: 3,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 12.0,
            sum: -3.5,
            positive: vec![(-2, 1.0), (-1, 2.0), (4, 3.0)],
            negative: vec![(1, 4.0)],
            ..Histogram::default()
        };
        let row = |name: &str, last: Last| Row {
            name: name.into(),
            labels: vec![("job".into(), "a".into()), ("instance".into(), "".into())],
            at: 1234,
            last,
        };
        let empty = Histogram::default();
        let families = [
            (HISTOGRAM, row("h", Last::Histogram(Arc::new(own.clone())))),
            (HISTOGRAM, row("none", Last::Histogram(Arc::new(empty)))),
            (UNTYPED, row("n", Last::Number(7.5))),
        ];
        let mut bytes = Vec::new();
        for (kind, row) in &families {
            let family = Family {
                name: Some(row.name.clone()),
                kind: Some(*kind),
                metrics: vec![metric(row)],
            };
            bytes.extend(family.encode_length_delimited_to_vec());
        }
        let wishes = Wishes {
            native_histograms: true,
            ..Wishes::default()
        };
        let mut parser = Parser::new(&bytes, Format::Protobuf, wishes);
        let mut seen = Vec::new();
        while let Some(entry) = parser.next().expect("readable") {
            let labels = parser.labels();
            match entry {
                Entry::Histogram => {
                    let read = parser.histogram().expect("a histogram");
                    let at = parser.point().at;
                    seen.push(format!("{} {at:?} {}", labels.expect("labels"), read.count));
                    if read.count > 0.0 {
                        assert_eq!(
                            (&read.positive, &read.negative),
                            (&own.positive, &own.negative)
                        );
                        assert_eq!((read.schema, read.sum), (own.schema, own.sum));
                        assert_eq!(read.zero_count, own.zero_count);
                    }
                }
                Entry::Series => {
                    let point = parser.point();
                    seen.push(format!("{} {}", labels.expect("labels"), point.value));
                }
                _ => {}
            }
        }
        assert_eq!(
            seen,
            [
                r#"{__name__="h", job="a"} Some(1234) 12"#,
                r#"{__name__="none", job="a"} Some(1234) 0"#,
                r#"{__name__="n", job="a"} 7.5"#,
            ]
        );
    }
}
