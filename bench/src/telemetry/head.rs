//! Two hours of samples, 15 s apart, by remote write: what it costs to take them, to hold them,
//! and to come back with them after a crash.

use super::fleet::Fleet;
use super::send::{self, REMOTE_WRITE};
use super::{PEER, Pair, Side, grouped, now_ms, process};
use crate::api::runtime;
use crate::report::{Row, table};
use crate::scaled;
use crate::stats::{Times, median};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

const SERIES: usize = 1_000_000;
const STEP_MS: i64 = 15_000;
const STEPS: usize = 480;
const BLOCK_MS: i64 = 7_200_000;
/// Bodies that are made before they are sent to one server and then the other.
const AT_ONCE: usize = 400;

pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let mut fleet = Fleet::new(super::lines()?, scaled(SERIES));
    let runtime = runtime()?;
    let mut pair = Pair::start("head", "global: {}\n")?;
    let sides = pair.sides();
    std::thread::sleep(Duration::from_secs(3));
    let (empty, before) = (pair.resident(), pair.cpu());
    // One whole interval of blocks, so that neither server moves it out of its head.
    let begin = (now_ms() - BLOCK_MS - 600_000).div_euclid(BLOCK_MS) * BLOCK_MS;
    let times: Vec<i64> = (0..STEPS)
        .map(|step| begin + step as i64 * STEP_MS)
        .collect();
    let bodies = fleet.len().div_ceil(2000).max(1);
    let mut requests: [Vec<Duration>; 2] = Default::default();
    let rounds = times.chunks((AT_ONCE / bodies).clamp(1, 20));
    for (number, round) in rounds.enumerate() {
        let made = round
            .iter()
            .map(|time| fleet.bodies(*time))
            .collect::<Result<Vec<_>>>()?;
        for turn in 0..2 {
            let side = (number + turn) % 2;
            let sent = runtime.block_on(send::all(&sides[side], REMOTE_WRITE, &made))?;
            requests[side].extend(sent);
        }
    }
    std::thread::sleep(Duration::from_secs(20));
    let after = pair.cpu();
    let full = usual(&pair);
    let samples = (fleet.len() * STEPS) as f64;
    let last = times[STEPS - 1] + STEP_MS;
    for side in &sides {
        let found = runtime.block_on(side.number("count({__name__!=\"\"})", last))?;
        if found as usize != fleet.len() {
            bail!("{} has {found} series of {}", side.name, fleet.len());
        }
    }
    let mut rows = ingest(samples, before, after, requests);
    rows.push(memory(fleet.len(), empty, full));
    eprint!("{}", table(&rows));
    let last = (last, fleet.len());
    match restart(&runtime, &mut pair, &sides, last, repeats) {
        Ok(found) => rows.extend(found),
        Err(error) => rows.push(Row::failed("start after kill -9", &error)),
    }
    Ok(rows)
}

/// What is resident over two minutes, in the middle. Go collects its garbage every two minutes at
/// the latest, and a single look tells mostly how long ago that was.
fn usual(pair: &Pair) -> [f64; 2] {
    let mut seen: [Vec<f64>; 2] = Default::default();
    for look in 0..13 {
        if look > 0 {
            std::thread::sleep(Duration::from_secs(10));
        }
        for (all, now) in seen.iter_mut().zip(pair.resident()) {
            all.push(now);
        }
    }
    seen.map(median)
}

fn ingest(
    samples: f64,
    before: [f64; 2],
    after: [f64; 2],
    requests: [Vec<Duration>; 2],
) -> Vec<Row> {
    let [ours, theirs] = [0, 1].map(|side| samples / (after[side] - before[side]));
    let ratio = ours / theirs;
    let [our_times, their_times] = requests.map(Times::new);
    let (p50, p99) = (our_times.ms(0.5), our_times.ms(0.99));
    let (their_p50, their_p99) = (their_times.ms(0.5), their_times.ms(0.99));
    vec![
        Row::new(
            "remote write, samples per second of a processor",
            format!(
                "{} (**{ratio:.1}×**; {} samples)",
                grouped(ours),
                grouped(samples)
            ),
            format!("{} {PEER}", grouped(theirs)),
            "≥ 3×",
            ratio >= 3.0,
        ),
        Row::compared(
            "… a request of 2,000 samples, 16 at once",
            format!(
                "p50 {p50:.1} ms, p99 {p99:.1} ms (p50 {:.2}×, p99 {:.2}×; durable)",
                p50 / their_p50,
                p99 / their_p99
            ),
            format!("p50 {their_p50:.1} ms, p99 {their_p99:.1} ms (not synced) {PEER}"),
        ),
    ]
}

fn memory(series: usize, empty: [f64; 2], full: [f64; 2]) -> Row {
    // Gigabytes per million is kilobytes per series.
    let [ours, theirs] = [0, 1].map(|side| (full[side] - empty[side]) * 1e6 / series as f64 / 1e3);
    let ratio = ours / theirs;
    Row::new(
        "resident memory per million series with two hours at 15 s",
        format!(
            "{ours:.2} GB (**{ratio:.2}×**; {} series, whole process {:.0} MB, empty {:.0})",
            grouped(series as f64),
            full[0],
            empty[0]
        ),
        format!(
            "{theirs:.2} GB (whole process {:.0} MB, empty {:.0}) {PEER}",
            full[1], empty[1]
        ),
        "≤ 1.2 GB, ≤ 0.4×",
        ours <= 1.2 && ratio <= 0.4,
    )
}

/// Kills and starts both until they answer with all series.
fn restart(
    runtime: &tokio::runtime::Runtime,
    pair: &mut Pair,
    sides: &[Side; 2],
    (last, series): (i64, usize),
    repeats: usize,
) -> Result<Vec<Row>> {
    let running = pair.resident();
    let (mut seconds, mut peaks): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
    let mut cpu: [Vec<f64>; 2] = Default::default();
    for _ in 0..repeats.min(3) {
        for side in 0..2 {
            let begin = Instant::now();
            if side == 0 {
                pair.ours.kill()?;
                pair.ours.up()?;
            } else {
                pair.theirs.kill();
                pair.theirs.up()?;
            }
            let query = "count({__name__!=\"\"})";
            let found = runtime.block_on(sides[side].number(query, last))?;
            seconds[side].push(begin.elapsed().as_secs_f64());
            cpu[side].push(process::cpu(pair.pids()[side]));
            if found as usize != series {
                bail!(
                    "{} has {found} series of {series} after a crash",
                    sides[side].name
                );
            }
            std::thread::sleep(Duration::from_secs(5));
            peaks[side].push(process::peak(pair.pids()[side]) as f64 / 1e6);
        }
    }
    let [ours, theirs] = seconds.map(median);
    let [our_peak, their_peak] = peaks.map(median);
    let [our_cpu, their_cpu] = cpu.map(median);
    Ok(vec![
        Row::new(
            "start after kill -9 with that, until all series are found",
            format!(
                "{ours:.1} s (**{:.2}×**; {our_cpu:.1} s of a processor, {:.2}×)",
                ours / theirs,
                our_cpu / their_cpu
            ),
            format!("{theirs:.1} s ({their_cpu:.1} s of a processor) {PEER}"),
            "≤ 5 s",
            ours <= 5.0,
        ),
        Row::new(
            "… the most memory meanwhile",
            format!(
                "{our_peak:.0} MB ({:.2} of the {:.0} before)",
                our_peak / running[0],
                running[0]
            ),
            format!(
                "{their_peak:.0} MB ({:.2} of {:.0}) {PEER}",
                their_peak / running[1],
                running[1]
            ),
            "≤ 1",
            our_peak <= running[0] * 1.02,
        ),
    ])
}
