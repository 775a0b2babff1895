//! A thousand watches of one kind while 100 objects a second change: how long after it was asked
//! for each watcher has a change, and whether each has all of them. Ten more watchers never read.

use super::load::{MAPS, client, runtime};
use super::{PEER, Pair};
use crate::counted;
use crate::report::Row;
use crate::stats::Times;
use anyhow::{Context, Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WATCHERS: usize = 1000;
const STALLED: usize = 10;
/// Watches that share a connection, as those of one controller do.
const PER_CONNECTION: usize = 16;
const PER_SECOND: usize = 100;
const SECONDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

struct Delivered {
    times: Times,
    lost: usize,
    rate: f64,
}

pub fn bench(_: usize) -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let pair = Pair::start("watch")?;
    let mut sides = Vec::new();
    for at in &pair.sides() {
        sides.push(runtime.block_on(measure(at))?);
    }
    let [ours, theirs] = &sides[..] else {
        bail!("not two sides");
    };
    let words = |side: &Delivered| {
        let (p50, p99) = (side.times.ms(0.5), side.times.ms(0.99));
        format!(
            "p50 {p50:.1} ms, p99 {p99:.1} ms, {} lost, {:.0} changes/s",
            side.lost, side.rate
        )
    };
    let ratio = ours.times.ms(0.99) / theirs.times.ms(0.99);
    let memory = pair.resident();
    Ok(vec![
        Row::new(
            format!(
                "{} watchers × {PER_SECOND} events/s, {STALLED} more that never read: from request to event",
                counted(WATCHERS)
            ),
            format!("{} (p99 **{ratio:.2}×**)", words(ours)),
            format!("{} {PEER}", words(theirs)),
            "p99 ≤ 20 ms, 0 lost",
            ours.times.ms(0.99) <= 20.0 && ours.lost == 0,
        ),
        Row::new(
            "… resident memory with the watchers",
            format!("{:.0} MB (whole platform)", memory[0]),
            format!("{:.0} MB {PEER}", memory[1]),
            "",
            true,
        ),
    ])
}

async fn measure((url, token): &(String, String)) -> Result<Delivered> {
    let (watchers, seconds) = (counted(WATCHERS), counted(SECONDS).max(3));
    let span = Duration::from_secs(seconds as u64);
    let writer = client(token)?;
    let object = format!("{url}{MAPS}/watched");
    let made = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"watched"}}"#;
    let made = writer
        .post(format!("{url}{MAPS}"))
        .body(made)
        .send()
        .await?;
    let made: serde_json::Value = serde_json::from_slice(&made.bytes().await?)?;
    let from = made["metadata"]["resourceVersion"]
        .as_str()
        .context("revision")?
        .to_string();
    let path = format!(
        "{url}{MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={from}&fieldSelector=metadata.name%3Dwatched"
    );
    let (epoch, open) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    let mut shared = client(token)?;
    for number in 0..watchers {
        if number % PER_CONNECTION == 0 {
            shared = client(token)?;
        }
        let (request, open) = (shared.get(&path), open.clone());
        tasks.push(async move {
            let answer = request.timeout(Duration::from_secs(600)).send().await?;
            if !answer.status().is_success() {
                bail!("a watch was answered by {}", answer.status());
            }
            open.fetch_add(1, Ordering::Relaxed);
            follow(answer, epoch).await
        });
    }
    let mut stalled = Vec::new();
    for _ in 0..STALLED.min(watchers) {
        let client = client(token)?;
        // Held, not read.
        stalled.push(client.get(&path).send().await?);
    }
    let write = async {
        while open.load(Ordering::Relaxed) < watchers {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let begin = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_secs(1) / PER_SECOND as u32);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut number, mut over) = (0, false);
        // One after the other; where that takes longer than the pace, it is the server's pace.
        while !over {
            tick.tick().await;
            over = begin.elapsed() >= span;
            let (at, end) = (epoch.elapsed().as_micros(), if over { "y" } else { "n" });
            let patch = format!(r#"{{"data":{{"at":"{at}","n":"{number}","end":"{end}"}}}}"#);
            let request = writer
                .patch(&object)
                .header("content-type", "application/merge-patch+json");
            let answer = request.body(patch).send().await?;
            if !answer.status().is_success() {
                bail!("a change was answered by {}", answer.status());
            }
            answer.bytes().await?;
            number += 1;
        }
        anyhow::Ok((number, number as f64 / begin.elapsed().as_secs_f64()))
    };
    let watched = async {
        let all = futures::future::try_join_all(tasks);
        tokio::time::timeout(PATIENCE * 5, all)
            .await
            .context("watchers did not end")?
    };
    let ((changes, rate), told) = tokio::try_join!(write, watched)?;
    drop(stalled);
    let lost = told.iter().map(|times| changes - times.len()).sum();
    Ok(Delivered {
        times: Times::new(told.into_iter().flatten().collect()),
        lost,
        rate,
    })
}

/// Reads changes until the last; how late each was.
async fn follow(mut answer: reqwest::Response, epoch: Instant) -> Result<Vec<Duration>> {
    let (mut times, mut rest) = (Vec::new(), Vec::new());
    loop {
        let part = tokio::time::timeout(PATIENCE, answer.chunk()).await;
        let Ok(Ok(Some(part))) = part else {
            // An ended watch has lost what is left.
            return Ok(times);
        };
        rest.extend_from_slice(&part);
        let now = epoch.elapsed();
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', &rest[from..]) {
            let line = &rest[from..from + length];
            from += length + 1;
            let Some(at) = stamp(line) else {
                continue;
            };
            times.push(now.saturating_sub(Duration::from_micros(at)));
            if memchr::memmem::find(line, br#""end":"y""#).is_some() {
                return Ok(times);
            }
        }
        rest.drain(..from);
    }
}

// When a change was asked for, without reading the whole object: a thousand readers share the
// processors with the servers.
fn stamp(line: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br#""at":""#;
    let digits = &line[memchr::memmem::find(line, KEY)? + KEY.len()..];
    let length = digits.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}
