//! Random requests to our server and to the real kube-apiserver: both must answer alike.
//!
//! A case is made from a seed and its number alone, and both are told with a difference:
//! `TOWPATH_RANDOM_SEED=7 TOWPATH_RANDOM_CASE=12` plays that case again. `TOWPATH_RANDOM_FULL=1`
//! plays as many as a change of these parts deserves.

mod histories;
mod patches;
mod reviews;

use crate::contract::difference;
use crate::door::{Ask, Door};
use crate::normal::Normal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A generator that gives the same on every machine.
pub(super) struct Dice(u64);

impl Dice {
    fn new(seed: u64, case: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (case + 1));
        dice.next();
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below a bound.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Some of them, in their order.
    fn some<T: Copy>(&mut self, list: &[T]) -> Vec<T> {
        list.iter().copied().filter(|_| self.one_in(2)).collect()
    }

    /// Some of them, in any order.
    fn shuffled<T: Copy>(&mut self, list: &[T]) -> Vec<T> {
        let mut list = self.some(list);
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
        list
    }
}

/// Cases of this run: a count, or the one that is asked for.
fn cases(few: u64, all: u64) -> (u64, std::ops::Range<u64>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("TOWPATH_RANDOM_SEED").unwrap_or(1);
    let range = match number("TOWPATH_RANDOM_CASE") {
        Some(case) => case..case + 1,
        None if std::env::var_os("TOWPATH_RANDOM_FULL").is_some() => 0..all,
        None => 0..few,
    };
    (seed, range)
}

/// Both doors, with a namespace in each; nothing where there is no peer.
async fn doors(namespace: &str) -> Option<[Door; 2]> {
    let doors = [Door::own().await, Door::peer().await?];
    for door in &doors {
        let body = json!({"metadata": {"name": namespace}});
        let (code, made) = door.call("POST", "/api/v1/namespaces", &body).await;
        assert_eq!(code, 201, "{made}");
        let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        let begin = Instant::now();
        while door.call("GET", &account, &Value::Null).await.0 != 200 {
            assert!(begin.elapsed() < Duration::from_secs(20), "no {account}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Some(doors)
}

/// Sends the same requests to both, one after the other, and tells the first difference.
async fn play(doors: &[Door; 2], asks: &[Ask]) -> Option<String> {
    let text = |ask: &Ask| {
        format!(
            "{} {} {}",
            ask.method,
            ask.path,
            String::from_utf8_lossy(&ask.body)
        )
    };
    let script: String = asks.iter().map(|ask| text(ask) + "\n").collect();
    let mut normal = [Normal::new(&script), Normal::new(&script)];
    for (at, ask) in asks.iter().enumerate() {
        let mut told = Vec::new();
        for (door, normal) in doors.iter().zip(&mut normal) {
            let answer = door.send(ask).await;
            let mut body = answer.value();
            if answer.code >= 400 {
                // Words of failures are the corpus's business.
                body = json!({"reason": body["reason"], "message": body["message"]});
            }
            told.push((answer.code, normal.value(body)));
        }
        let mut wrong = Vec::new();
        if told[0].0 != told[1].0 {
            wrong.push(format!(
                "ours {} {}, theirs {} {}",
                told[0].0, told[0].1, told[1].0, told[1].1
            ));
        } else if told[0].0 < 400 {
            difference("", &told[0].1, &told[1].1, &mut wrong);
        }
        if !wrong.is_empty() {
            wrong.truncate(6);
            let before: Vec<String> = asks[..=at].iter().map(text).collect();
            return Some(format!(
                "{}\n    {}",
                before.join("\n  "),
                wrong.join("\n    ")
            ));
        }
    }
    None
}

fn report(what: &str, seed: u64, count: u64, begin: Instant, found: &[(u64, String)]) {
    eprintln!(
        "{count} {what} in {:?}, {} differ",
        begin.elapsed(),
        found.len()
    );
    let shown = found.iter().take(12);
    let text: Vec<String> = shown
        .map(|(case, why)| {
            format!("TOWPATH_RANDOM_SEED={seed} TOWPATH_RANDOM_CASE={case}\n  {why}")
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} of {count} {what} differ:\n{}",
        found.len(),
        text.join("\n")
    );
}
