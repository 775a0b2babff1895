//! Lines: the same answers wherever segments are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use towpath_query::logql::{self, Direction, Settings};
use towpath_signals::logs::{Line, LogStore, Options, Stream};
use towpath_signals::objects::Objects;
use towpath_stdx::Clock;

use super::metrics::{HOUR, START, files};
use super::objects;
use super::peer::Peer;
use crate::{Set, folder, wait};

pub(super) fn open(dir: &Path, clock: &Arc<Set>, objects: &Objects) -> LogStore {
    let options = Options {
        block_bytes: 2000,
        flush_after: Duration::from_secs(60),
        objects: Some(objects.clone()),
        ..Options::default()
    };
    LogStore::open(dir, options, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
}

pub(super) fn fill(store: &LogStore, clock: &Arc<Set>, rounds: std::ops::Range<i64>) {
    for round in rounds {
        let from = START + round * 600_000;
        clock.0.store(from + 400_000, Ordering::SeqCst);
        for app in ["a", "b"] {
            let lines = (0..200).map(|n| Line {
                at: (from + n * 1000) * 1_000_000,
                text: format!("request {:x} of {app} took {n}ms", (round * 1000 + n) * 977),
                metadata: Vec::new(),
            });
            let stream = Stream {
                labels: [("app", app)].into_iter().collect(),
                lines: lines.collect(),
            };
            store.push(vec![stream]).unwrap();
        }
        store.flush().unwrap();
        store.maintain().unwrap();
    }
    wait(store.sync()).unwrap();
}

fn ask(store: &LogStore, query: &str) -> Result<Vec<(i64, String)>, String> {
    let query = logql::parse_log(query).unwrap();
    let settings = Settings {
        max_entries: 1_000_000,
        ..Settings::default()
    };
    let times = (START * 1_000_000, (START + 1000 * HOUR) * 1_000_000);
    let answer = logql::logs(
        &query,
        times,
        Direction::Forward,
        1_000_000,
        store,
        &settings,
    );
    let answer = answer.map_err(|error| error.to_string())?;
    let mut out: Vec<(i64, String)> = (answer.entries.iter())
        .map(|one| (one.at, one.line.to_string()))
        .collect();
    out.sort();
    Ok(out)
}

pub(super) fn answers(store: &LogStore) -> Vec<Vec<(i64, String)>> {
    let all = [
        "{app=~\".+\"}",
        "{app=\"a\"} |= \"2bb1\"",
        "{app=\"b\"} |= \"17ms\"",
    ];
    all.map(|query| ask(store, query).unwrap()).into()
}

#[test]
fn the_same_questions_have_the_same_answers() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..5);
    store
        .delete(
            "{app=\"b\"} |= \"13ms\"",
            START * 1_000_000,
            (START + HOUR) * 1_000_000,
        )
        .unwrap();
    store.maintain().unwrap();
    let before = answers(&store);
    assert!(
        before[0].len() > 1900 && before[2].len() > 1,
        "{}",
        before[0].len()
    );
    store.upload().unwrap();
    assert_eq!(files(dir.path(), "seg"), 0);
    assert_eq!(answers(&store), before);
    drop(store);
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(answers(&store), before);
    // Small ones that are away are made one.
    fill(&store, &clock, 5..12);
    let merged = answers(&store);
    store.upload().unwrap();
    assert_eq!(answers(&store), merged);
    let kept = store.health().segments;
    assert!(kept < 12, "{kept}");
    // What counts no longer does not come back after a restart.
    drop(store);
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(
        (answers(&store), store.health().segments),
        (merged.clone(), kept)
    );
    store.upload().unwrap();
    // From the bucket alone, and on from there; twice, as its log begins anew.
    store.close();
    drop(store);
    let fresh = folder();
    let store = open(fresh.path(), &clock, &objects);
    assert_eq!(answers(&store), merged);
    fill(&store, &clock, 12..13);
    let more = |n: i64| Stream {
        labels: [("app", "a")].into_iter().collect(),
        lines: vec![Line {
            at: (START + 130 * 60_000 + n) * 1_000_000,
            text: format!("late {n}"),
            metadata: Vec::new(),
        }],
    };
    store.push(vec![more(1)]).unwrap();
    wait(store.sync()).unwrap();
    let grown = answers(&store);
    drop(store);
    let store = open(fresh.path(), &clock, &objects);
    assert_eq!(answers(&store), grown, "the log of this directory counts");
    fill(&store, &clock, 13..25);
    let grown = answers(&store);
    store.upload().unwrap();
    assert_eq!(answers(&store), grown);
    drop(store);
    assert_eq!(answers(&open(fresh.path(), &clock, &objects)), grown);
}

#[test]
fn a_server_that_is_away_is_named() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let objects = objects(&peer, "away");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..3);
    let before = answers(&store);
    store.upload().unwrap();
    drop(store);
    peer.stop();
    let store = open(dir.path(), &clock, &objects);
    let error = ask(&store, "{app=\"a\"}").unwrap_err();
    assert!(error.contains("s3://kept/away/logs/segments/"), "{error}");
    assert!(error.contains("onnect"), "{error}");
    // What should be made one waits.
    for round in 3..9 {
        let at = START + round * 600_000;
        clock.0.store(at, Ordering::SeqCst);
        let stream = Stream {
            labels: [("app", "c")].into_iter().collect(),
            lines: vec![Line {
                at: at * 1_000_000,
                text: format!("line {round}"),
                metadata: Vec::new(),
            }],
        };
        store.push(vec![stream]).unwrap();
        store.flush().unwrap();
    }
    assert!(store.maintain().is_err());
    assert_eq!(store.maintain().unwrap().merged, 0, "not at once again");
    // Words that are in no block are known not to be there.
    assert_eq!(ask(&store, "{app=\"a\"} |= \" nowhere \""), Ok(Vec::new()));
    peer.again();
    assert_eq!(answers(&store)[1..], before[1..]);
    clock.0.fetch_add(120_000, Ordering::SeqCst);
    assert_eq!(store.maintain().unwrap().merged, 1);
    assert_eq!(answers(&store)[1..], before[1..]);
    assert_eq!(ask(&store, "{app=\"c\"}").unwrap().len(), 6);
}
