//! Queries at one time and over a range.

use indexmap::IndexMap;
use serde_json::{Value, json};
use towpath_query::logql::{self, Direction, EvalError, Expr, LogAnswer, LogEntry, Statistics};
use towpath_query::promql::{self, Labels};

use super::fault::Fault;
use super::{Call, past, reply};
use crate::outgrow::through::Asked;

/// The most lines of a result.
const MAX_LINES: usize = 5000;

/// The header by which a client asks for labels by where they come from.
const FLAGS: &str = "x-loki-response-encoding-flags";
const CATEGORIZE: &str = "categorize-labels";

pub(super) fn instant(call: &Call) -> Result<Value, Fault> {
    let expr = logql::parse(call.params.get("query"))?;
    let time = call.params.time("time")?.unwrap_or(call.now);
    if expr.as_log().is_some() {
        return Err(Fault::bad(
            "log queries are not supported as an instant query type, please change your query to \
             a range query type",
        ));
    }
    let mut remarks = Vec::new();
    if past::reaches(call, time) {
        match past::instant(call, call.params.get("query"), time) {
            Ok(reply) => return Ok(reply),
            Err(why) => remarks = why,
        }
    }
    let store = call.loki.store.as_ref();
    let answer = call.evaluate(0, |settings| logql::instant(&expr, time, store, settings))?;
    let reply = metric(call, &answer, time.div_euclid(1_000_000));
    Ok(past::remarked(reply, remarks))
}

pub(super) fn range(call: &Call) -> Result<Value, Fault> {
    let expr = logql::parse(call.params.get("query"))?;
    let span = call.params.span(call.now)?;
    let store = call.loki.store.as_ref();
    let Some(query) = expr.as_log() else {
        return numbers(call, &expr, span);
    };
    let limit = call.params.count("limit", 100, MAX_LINES)?;
    let direction = call.params.direction()?;
    let interval = call.params.interval()?;
    let answer = call.evaluate(MAX_LINES, |settings| match interval {
        0 => logql::logs(query, span, direction, limit, store, settings),
        interval => apart(interval, limit, span, direction, |span| {
            logql::logs(query, span, direction, MAX_LINES, store, settings)
        }),
    })?;
    let categorize = call
        .headers
        .get_all(FLAGS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|flag| flag.trim() == CATEGORIZE));
    let entries = answer.entries.len();
    let wanted = Asked {
        query: call.params.get("query"),
        start: span.0,
        end: span.1,
        limit: Some(limit),
        forward: direction == Direction::Forward,
        step: None,
        interval,
        categorize,
    };
    let (result, remarks) = past::lines(call, streams(&answer.entries, categorize), &wanted);
    let mut data = json!({
        "resultType": "streams",
        "result": result,
        "stats": stats(call, &answer.statistics, entries),
    });
    if categorize {
        data["encodingFlags"] = json!([CATEGORIZE]);
    }
    Ok(past::remarked(reply::success(data), remarks))
}

/// Numbers over a range. Steps from before the cut-over are asked elsewhere; where that fails, all
/// of them are answered from what is here.
fn numbers(call: &Call, expr: &Expr, span: (i64, i64)) -> Result<Value, Fault> {
    let step = call.params.step_ms(span)?;
    let here = |span: (i64, i64)| {
        let store = call.loki.store.as_ref();
        let answer = call.evaluate(0, |settings| {
            logql::range(expr, span, step, store, settings)
        })?;
        Ok::<_, Fault>(metric(call, &answer, span.1.div_euclid(1_000_000)))
    };
    let Some(first) = past::first_step(call, span, step) else {
        return here(span);
    };
    let mut reply = match first <= span.1 {
        true => here((first, span.1))?,
        false => reply::success(json!({ "resultType": "matrix", "result": [], "stats": {} })),
    };
    let wanted = Asked {
        query: call.params.get("query"),
        start: span.0,
        end: span.1.min(first - 1),
        limit: None,
        forward: true,
        step: Some(step),
        interval: 0,
        categorize: false,
    };
    match past::numbers(call, &wanted, &mut reply["data"]) {
        Ok(()) => Ok(reply),
        Err(remarks) => Ok(past::remarked(here(span)?, remarks)),
    }
}

/// Lines that are at least `interval` apart, out of pages of lines.
fn apart(
    interval: i64,
    limit: usize,
    mut span: (i64, i64),
    direction: Direction,
    page: impl Fn((i64, i64)) -> Result<LogAnswer, EvalError>,
) -> Result<LogAnswer, EvalError> {
    let mut out = LogAnswer::default();
    let mut last: Option<i64> = None;
    while out.entries.len() < limit && span.0 < span.1 {
        let found = page(span)?;
        out.statistics.add(&found.statistics);
        let all_of_it = found.entries.len() < MAX_LINES;
        for entry in found.entries {
            let far = |last: i64| entry.at.abs_diff(last) >= interval.unsigned_abs();
            if out.entries.len() < limit && last.is_none_or(far) {
                last = Some(entry.at);
                out.entries.push(entry);
            }
        }
        let (Some(last), false) = (last, all_of_it) else {
            break;
        };
        // All lines of the page that are far enough are taken, so the next one is behind it.
        match direction {
            Direction::Forward => span.0 = last.saturating_add(interval),
            Direction::Backward => span.1 = last.saturating_sub(interval).saturating_add(1),
        }
    }
    Ok(out)
}

/// Lines by their labels, those of a set in the order of the answer.
pub(super) fn streams(entries: &[LogEntry], categorize: bool) -> Value {
    let mut by_labels: IndexMap<Labels, Vec<Value>> = IndexMap::new();
    for entry in entries {
        let at = entry.at.to_string();
        let (labels, value) = if categorize {
            let mut own = serde_json::Map::new();
            for (name, labels) in [
                ("structuredMetadata", &entry.metadata),
                ("parsed", &entry.parsed),
            ] {
                if !labels.is_empty() {
                    own.insert(name.to_owned(), reply::labels(labels));
                }
            }
            (entry.stream.clone(), json!([at, entry.line, own]))
        } else {
            (entry.labels(), json!([at, entry.line]))
        };
        by_labels.entry(labels).or_default().push(value);
    }
    let stream = |(labels, values): (Labels, Vec<Value>)| json!({ "stream": reply::labels(&labels), "values": values });
    by_labels.into_iter().map(stream).collect()
}

fn metric(call: &Call, answer: &logql::Answer, ms: i64) -> Value {
    let (kind, result, count) = match &answer.value {
        promql::Value::Scalar(value) => ("scalar", reply::sample(ms, *value), 1),
        promql::Value::String(text) => ("string", json!([ms / 1000, text]), 1),
        promql::Value::Vector(samples) => {
            let one = |sample: &promql::InstantSample| {
                json!({
                    "metric": reply::labels(&sample.labels),
                    "value": reply::sample(ms, sample.value),
                })
            };
            ("vector", samples.iter().map(one).collect(), samples.len())
        }
        promql::Value::Matrix(series) => {
            let one = |series: &promql::Series| {
                let values = series.floats.iter();
                let values = values.map(|(at, value)| reply::sample(at, value));
                json!({
                    "metric": reply::labels(&series.labels),
                    "values": values.collect::<Vec<Value>>(),
                })
            };
            ("matrix", series.iter().map(one).collect(), series.len())
        }
    };
    reply::success(json!({
        "resultType": kind,
        "result": result,
        "stats": stats(call, &answer.statistics, count),
    }))
}

/// What a query cost, under the names that clients print.
pub(super) fn stats(call: &Call, of: &Statistics, returned: usize) -> Value {
    let spent = (call.loki.clock.monotonic() - call.started).as_secs_f64();
    let rate = |amount: u64| {
        if spent > 0.0 {
            (amount as f64 / spent) as u64
        } else {
            0
        }
    };
    let scanned = &of.scanned;
    let store = |stored: bool| {
        let pick = |amount: u64| if stored { amount } else { 0 };
        let head = |amount: u64| if stored { 0 } else { amount };
        json!({
            "totalChunksRef": pick(scanned.blocks + scanned.blocks_skipped),
            "totalChunksDownloaded": pick(scanned.blocks),
            "chunksDownloadTime": 0,
            "queryReferencedStructuredMetadata": false,
            "chunk": {
                "headChunkBytes": head(scanned.head_bytes),
                "headChunkLines": head(scanned.head_lines),
                "decompressedBytes": pick(of.bytes.saturating_sub(scanned.head_bytes)),
                "decompressedLines": pick(of.lines.saturating_sub(scanned.head_lines)),
                "compressedBytes": pick(scanned.compressed_bytes),
                "totalDuplicates": 0,
                "postFilterLines": pick(of.passed),
                "headChunkStructuredMetadataBytes": 0,
                "decompressedStructuredMetadataBytes": 0,
            },
        })
    };
    json!({
        "summary": {
            "bytesProcessedPerSecond": rate(of.bytes),
            "linesProcessedPerSecond": rate(of.lines),
            "totalBytesProcessed": of.bytes,
            "totalLinesProcessed": of.lines,
            "execTime": spent,
            "queueTime": 0,
            "subqueries": 0,
            "totalEntriesReturned": returned,
            "splits": 0,
            "shards": 0,
            "totalPostFilterLines": of.passed,
            "totalStructuredMetadataBytesProcessed": 0,
        },
        "querier": { "store": store(true) },
        "ingester": {
            "totalReached": 1,
            "totalChunksMatched": scanned.streams,
            "totalBatches": 0,
            "totalLinesSent": 0,
            "store": store(false),
        },
        "cache": {},
    })
}
