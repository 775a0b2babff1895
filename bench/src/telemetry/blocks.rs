//! A whole day and three hours, 15 s apart, that both servers have packed: how many bytes a sample
//! takes, and how long the questions of dashboards about that day take.

use super::fleet::Fleet;
use super::process::{disk, settle};
use super::send::{self, REMOTE_WRITE};
use super::{PEER, Pair, Side, grouped, now_ms, prometheus, queries, record};
use crate::api::runtime;
use crate::report::{Row, table};
use crate::scaled;
use crate::stats::{Times, median};
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

const SERIES: usize = 100_000;
const STEP_MS: i64 = 15_000;
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
/// Times that are made before they are sent to one server and then the other.
const ROUND: usize = 20;

pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let lines = super::lines()?;
    let mut fleet = Fleet::new(lines, scaled(SERIES));
    let runtime = runtime()?;
    let pair = Pair::start("blocks", "global: {}\n")?;
    let sides = pair.sides();
    // The last day that is over for a while; what follows makes both servers pack its end.
    let begin = ((now_ms() - 13 * HOUR_MS / 4) / DAY_MS - 1) * DAY_MS;
    let end = begin + DAY_MS + 13 * HOUR_MS / 4;
    let before = pair.cpu();
    let times: Vec<i64> = (begin..end).step_by(STEP_MS as usize).collect();
    for (number, round) in times.chunks(ROUND).enumerate() {
        let made = round
            .iter()
            .map(|time| fleet.bodies(*time))
            .collect::<Result<Vec<_>>>()?;
        for turn in 0..2 {
            let side = (number + turn) % 2;
            runtime.block_on(send::all(&sides[side], REMOTE_WRITE, &made))?;
        }
        if number % 60 == 0 {
            eprintln!("  {} of {} hours", number / 12, times.len() / 240);
        }
    }
    let segments = pair.ours.dir().join("data/telemetry/metrics");
    let state = || {
        (
            segment_bytes(&segments),
            prometheus::blocks(&pair.theirs.data()).ok(),
        )
    };
    settle(Duration::from_secs(30), Duration::from_secs(240), state);
    let after = pair.cpu();
    let mut rows = size(
        &fleet,
        &segments,
        (begin, begin + DAY_MS + 2 * HOUR_MS),
        &pair,
    )?;
    let samples = (fleet.len() * times.len()) as f64;
    let [ours, theirs] = [0, 1].map(|side| samples / (after[side] - before[side]));
    rows.push(Row::compared(
        "… samples per second of a processor, taken, packed and joined",
        format!(
            "{} (**{:.1}×**; {} samples)",
            grouped(ours),
            ours / theirs,
            grouped(samples)
        ),
        format!("{} {PEER}", grouped(theirs)),
    ));
    eprint!("{}", table(&rows));
    let end = begin + DAY_MS + 3 * HOUR_MS;
    match dashboards(&runtime, &pair, &sides, &fleet, end, repeats) {
        Ok(found) => rows.extend(found),
        Err(error) => rows.push(Row::failed("questions of dashboards", &error)),
    }
    Ok(rows)
}

fn segment_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|end| end == "seg"));
    segments
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

fn size(
    fleet: &Fleet,
    segments: &Path,
    (begin, packed): (i64, i64),
    pair: &Pair,
) -> Result<Vec<Row>> {
    let (bytes, samples) = prometheus::blocks(&pair.theirs.data())?;
    if samples == 0 {
        bail!("Prometheus has no blocks");
    }
    let theirs = bytes as f64 / samples as f64;
    let bytes = segment_bytes(segments);
    let samples = fleet.between(begin, packed, STEP_MS);
    let ours = bytes as f64 / samples as f64;
    let files = std::fs::read_dir(segments)?.flatten();
    let files = files.filter(|file| file.path().extension().is_some_and(|end| end == "seg"));
    eprintln!(
        "  {} segments for {samples} samples; {} MB on disk with the head's, Prometheus {} MB",
        files.count(),
        disk(segments) / 1_000_000,
        disk(&pair.theirs.data()) / 1_000_000
    );
    let ratio = ours / theirs;
    Ok(vec![Row::new(
        "bytes per sample after compaction, metrics of nodes and objects, a day at 15 s",
        format!(
            "{ours:.2} (**{ratio:.2}×**; {} series, {:.0} % of them moving)",
            grouped(fleet.len() as f64),
            record::moving(super::lines()?)
        ),
        format!("{theirs:.2} {PEER}"),
        "≤ 0.8, ≤ 0.6×",
        ours <= 0.8 && ratio <= 0.6,
    )])
}

fn dashboards(
    runtime: &tokio::runtime::Runtime,
    pair: &Pair,
    sides: &[Side; 2],
    fleet: &Fleet,
    end: i64,
    repeats: usize,
) -> Result<Vec<Row>> {
    let (begin, end) = ((end - DAY_MS) / 1000, end / 1000);
    let (from, to) = (begin.to_string(), end.to_string());
    let before = pair.cpu();
    let mut medians: [Vec<Duration>; 2] = Default::default();
    let (mut ratios, mut other) = (Vec::new(), Vec::new());
    let all = queries::all(fleet.nodes);
    for query in &all {
        let form = [
            ("query", query.as_str()),
            ("start", &from),
            ("end", &to),
            ("step", "120"),
        ];
        let mut times: [Vec<f64>; 2] = Default::default();
        let mut bodies: [bytes::Bytes; 2] = Default::default();
        for repeat in 0..repeats.clamp(1, 3) {
            for turn in 0..2 {
                let side = (repeat + turn) % 2;
                let begin = Instant::now();
                bodies[side] = runtime.block_on(sides[side].bytes("/api/v1/query_range", &form))?;
                times[side].push(begin.elapsed().as_secs_f64());
            }
        }
        let [ours, theirs] = times.map(median);
        medians[0].push(Duration::from_secs_f64(ours));
        medians[1].push(Duration::from_secs_f64(theirs));
        ratios.push((ours / theirs, query));
        let [ours, theirs] = bodies.map(|body| answer(&body));
        let equal = match query.starts_with("topk(") {
            true => same_points(&ours, &theirs),
            false => same(&ours, &theirs),
        };
        if !equal {
            other.push(format!(
                "{query} ({} and {} series)",
                ours.len(),
                theirs.len()
            ));
        }
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (ratio, query) in ratios.iter().rev().take(20) {
        eprintln!("  {ratio:6.2}× {query}");
    }
    if !other.is_empty() {
        bail!("{} answers differ: {}", other.len(), other.join("; "));
    }
    let after = pair.cpu();
    let [ours, theirs] = medians.map(Times::new);
    let ratio = |share: f64| ours.ms(share) / theirs.ms(share);
    let cpu = [0, 1].map(|side| after[side] - before[side]);
    let [our_memory, their_memory] = pair.resident();
    Ok(vec![
        Row::new(
            "100 questions of dashboards, a day in steps of 2 m, answers equal",
            format!(
                "p50 {:.1} ms, p95 {:.1} ms (p50 **{:.2}×**, p95 **{:.2}×**, processor {:.2}×; {} series at 15 s)",
                ours.ms(0.5),
                ours.ms(0.95),
                ratio(0.5),
                ratio(0.95),
                cpu[0] / cpu[1],
                grouped(fleet.len() as f64)
            ),
            format!(
                "p50 {:.1} ms, p95 {:.1} ms {PEER}",
                theirs.ms(0.5),
                theirs.ms(0.95)
            ),
            "≤ 0.5×",
            ratio(0.5) <= 0.5 && ratio(0.95) <= 0.5,
        ),
        Row::compared(
            "… resident memory behind them",
            format!("{our_memory:.0} MB (whole platform)"),
            format!("{their_memory:.0} MB {PEER}"),
        ),
    ])
}

/// Series and points of an answer, in the order of the labels.
fn answer(body: &[u8]) -> Vec<(String, Vec<(f64, f64)>)> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let result = body["data"]["result"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut series: Vec<(String, Vec<(f64, f64)>)> = result
        .iter()
        .map(|series| {
            let points = series["values"].as_array().into_iter().flatten();
            let number = |value: &Value| {
                value
                    .as_f64()
                    .or_else(|| value.as_str()?.parse().ok())
                    .unwrap_or(f64::NAN)
            };
            let points = points.map(|point| (number(&point[0]), number(&point[1])));
            (series["metric"].to_string(), points.collect())
        })
        .collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

/// Within the last digits, since sums may be in another order.
fn near(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// Which ones of equals are among the largest is not said: their values are compared.
fn same_points(ours: &[(String, Vec<(f64, f64)>)], theirs: &[(String, Vec<(f64, f64)>)]) -> bool {
    let [ours, theirs] = [ours, theirs].map(|all| {
        let mut points: Vec<_> = all.iter().flat_map(|(_, points)| points.clone()).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        points
    });
    let mut pairs = ours.iter().zip(&theirs);
    ours.len() == theirs.len() && pairs.all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
}

fn same(ours: &[(String, Vec<(f64, f64)>)], theirs: &[(String, Vec<(f64, f64)>)]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(a, b)| {
            a.0 == b.0
                && a.1.len() == b.1.len()
                && a.1
                    .iter()
                    .zip(&b.1)
                    .all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
        })
}
