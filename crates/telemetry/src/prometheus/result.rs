//! Results of queries as JSON.

use towpath_query::promql::{Answer, InstantSample, Level, Series, Value};

use super::fault::Fault;
use super::json;
use super::reply::Reply;

/// Remarks of one level that a reply carries.
const REMARKS: usize = 10;

/// Writes a result. `at` is the time of an instant query, `limit` the most series (0: all).
pub(super) fn write(
    reply: &mut Reply,
    answer: &Answer,
    query: &str,
    at: i64,
    limit: usize,
) -> Result<(), Fault> {
    let annotations = &answer.annotations;
    reply.warnings = annotations.texts(Level::Warning, query, REMARKS);
    reply.infos = annotations.texts(Level::Info, query, REMARKS);
    let name = match &answer.value {
        Value::Scalar(_) => "scalar",
        Value::String(_) => "string",
        Value::Vector(_) => "vector",
        Value::Matrix(_) => "matrix",
    };
    let out = reply.data();
    out.extend_from_slice(format!("{{\"resultType\":\"{name}\",\"result\":").as_bytes());
    match &answer.value {
        Value::Scalar(number) => {
            out.push(b'[');
            json::seconds(out, at);
            out.push(b',');
            json::text(out, &towpath_query::promql::format_number(*number));
            out.push(b']');
        }
        Value::String(text) => {
            out.push(b'[');
            json::seconds(out, at);
            out.push(b',');
            json::text(out, text);
            out.push(b']');
        }
        Value::Vector(samples) => each(reply, samples, limit, |out, one| sample(out, one, at))?,
        Value::Matrix(all) => each(reply, all, limit, series)?,
    }
    Ok(())
}

fn each<T>(
    reply: &mut Reply,
    all: &[T],
    limit: usize,
    write: impl Fn(&mut Vec<u8>, &T),
) -> Result<(), Fault> {
    let shown = match limit {
        0 => all,
        limit => &all[..all.len().min(limit)],
    };
    if shown.len() < all.len() {
        let truncated = "results truncated due to limit".to_owned();
        reply.warnings.push(truncated);
    }
    reply.out().push(b'[');
    for (at, one) in shown.iter().enumerate() {
        if at > 0 {
            reply.out().push(b',');
        }
        write(reply.out(), one);
        reply.checkpoint()?;
    }
    reply.out().push(b']');
    Ok(())
}

fn sample(out: &mut Vec<u8>, sample: &InstantSample, at: i64) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, &sample.labels);
    match &sample.histogram {
        None => {
            out.extend_from_slice(b",\"value\":");
            float(out, at, sample.value);
        }
        Some(histogram) => {
            out.extend_from_slice(b",\"histogram\":[");
            json::timestamp(out, at);
            out.push(b',');
            json::histogram(out, histogram);
            out.push(b']');
        }
    }
    out.push(b'}');
}

fn float(out: &mut Vec<u8>, at: i64, value: f64) {
    out.push(b'[');
    json::timestamp(out, at);
    out.push(b',');
    json::value(out, value);
    out.push(b']');
}

fn series(out: &mut Vec<u8>, series: &Series) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, &series.labels);
    if !series.floats.is_empty() {
        out.extend_from_slice(b",\"values\":");
        json::list(out, series.floats.iter(), |out, (at, value)| {
            float(out, at, value);
        });
    }
    if !series.histograms.is_empty() {
        out.extend_from_slice(b",\"histograms\":");
        json::list(out, &series.histograms, |out, (at, histogram)| {
            out.push(b'[');
            json::timestamp(out, *at);
            out.push(b',');
            json::histogram(out, histogram);
            out.push(b']');
        });
    }
    out.push(b'}');
}
