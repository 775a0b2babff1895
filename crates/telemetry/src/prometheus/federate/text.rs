//! The text format 0.0.4.

use std::fmt::Write;

use towpath_query::promql::{Histogram, format_general};

use super::{Last, Row, Sort, classic};
use crate::prometheus::fault::Fault;
use crate::prometheus::reply::Reply;

const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

pub(super) fn write(rows: &[Row], reply: &mut Reply) -> Result<(), Fault> {
    reply.raw(TYPE);
    let mut family: Option<(&str, Sort)> = None;
    for row in rows {
        let mut out = String::new();
        let kind = match &row.last {
            Last::Number(_) => "untyped",
            Last::Histogram(own) if own.is_custom() => "histogram",
            Last::Histogram(_) => continue,
        };
        let own = (row.name.as_str(), row.last.sort());
        if family != Some(own) {
            let _ = writeln!(out, "# TYPE {} {kind}", row.name);
            family = Some(own);
        }
        match &row.last {
            Last::Number(value) => line(&mut out, row, "", None, *value),
            Last::Histogram(own) => buckets(&mut out, row, own),
        }
        reply.out().extend_from_slice(out.as_bytes());
        reply.checkpoint()?;
    }
    Ok(())
}

fn buckets(out: &mut String, row: &Row, own: &Histogram) {
    for (bound, count) in classic(own) {
        line(out, row, "_bucket", Some(&format_general(bound)), count);
    }
    line(out, row, "_bucket", Some("+Inf"), own.count);
    line(out, row, "_sum", None, own.sum);
    line(out, row, "_count", None, own.count);
}

fn line(out: &mut String, row: &Row, suffix: &str, bound: Option<&str>, value: f64) {
    let _ = write!(out, "{}{suffix}{{", row.name);
    let pairs = row.labels.iter().map(|(name, value)| (&**name, &**value));
    for (at, (name, value)) in pairs.chain(bound.map(|le| ("le", le))).enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{name}=\"{}\"", escaped(value));
    }
    let _ = writeln!(out, "}} {} {}", format_general(value), row.at);
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"")
}
