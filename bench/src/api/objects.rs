//! Creates, updates, gets and lists by 64 clients.

use super::load::{CLIENTS, Load, MAPS, body, load, runtime};
use super::{PEER, Pair, Target, row};
use crate::report::Row;
use crate::stats::median;
use crate::{counted, disk};
use anyhow::Result;

const TARGET: Target = Target {
    text: "≥ 3×, p99 ≤ 0.5×",
    rate: 3.0,
    p99: 0.5,
};

type Runs = [Vec<Load>; 2];

pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let pair = Pair::start("api")?;
    let (writes, lists) = (counted(4000), counted(300));
    let fsync = disk::rate()?;
    let [mut creates, mut updates, mut gets, mut listed]: [Runs; 4] = Default::default();
    for round in 0..repeats.min(3) {
        for (side, at) in pair.sides().iter().enumerate() {
            let path =
                move |url: &str, number: usize| format!("{url}{MAPS}/w{round}-{}", number % writes);
            let create = move |client: &reqwest::Client, url: &str, number: usize| {
                client
                    .post(format!("{url}{MAPS}"))
                    .body(body(&format!("w{round}-{number}"), "x"))
            };
            creates[side].push(runtime.block_on(load(at, (CLIENTS, writes), create))?);
            let update = move |client: &reqwest::Client, url: &str, number: usize| {
                client
                    .put(path(url, number))
                    .body(body(&format!("w{round}-{number}"), "y"))
            };
            updates[side].push(runtime.block_on(load(at, (CLIENTS, writes), update))?);
            let get = move |client: &reqwest::Client, url: &str, number: usize| {
                client.get(path(url, number))
            };
            gets[side].push(runtime.block_on(load(at, (CLIENTS, writes * 2), get))?);
            let list = |client: &reqwest::Client, url: &str, _: usize| {
                client.get(format!("{url}{MAPS}?limit=500"))
            };
            listed[side].push(runtime.block_on(load(at, (CLIENTS, lists), list))?);
        }
    }
    let rate = median(creates[0].iter().map(|l| l.per_second).collect());
    let multiple = rate / fsync;
    let memory = pair.resident();
    Ok(vec![
        row("durable creates by 64 clients", &creates, TARGET),
        Row::new(
            "… against the disk's own rate with one writer",
            format!("{multiple:.1}× of {fsync:.0}/s"),
            "",
            "≥ 10×",
            multiple >= 10.0,
        ),
        row("updates by 64 clients", &updates, TARGET),
        row("gets by 64 clients", &gets, TARGET),
        row("lists of 500 by 64 clients", &listed, TARGET),
        Row::new(
            "resident memory after that",
            format!("{:.0} MB (whole platform)", memory[0]),
            format!("{:.0} MB {PEER}", memory[1]),
            "",
            true,
        ),
    ])
}
