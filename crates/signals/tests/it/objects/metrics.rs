//! Samples: the same answers wherever segments are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::promql::{Labels, Matcher, Source};
use towpath_signals::metrics::{Options, Store};
use towpath_signals::objects::Objects;
use towpath_signals::{Append, Read, Sample, Value};

use super::peer::Peer;
use super::{objects, until, with};
use crate::{Set, all, copy, folder, options, wait};

pub(super) const HOUR: i64 = 3_600_000;
pub(super) const START: i64 = 19_676 * 24 * HOUR;

pub(super) fn open(dir: &Path, clock: &Arc<Set>, objects: &Objects) -> Arc<Store> {
    Store::open(dir, settings(clock, objects)).unwrap()
}

pub(super) fn settings(clock: &Arc<Set>, objects: &Objects) -> Options {
    Options {
        objects: Some(objects.clone()),
        ..options(clock)
    }
}

/// Samples of some series, one a minute.
pub(super) fn fill(store: &Store, clock: &Arc<Set>, hours: std::ops::Range<i64>) {
    let all: Vec<_> = (0..20)
        .map(|number| {
            let pairs = [
                ("__name__", format!("metric_{}", number % 4)),
                ("n", number.to_string()),
            ];
            let labels: Labels = pairs.into_iter().collect();
            store.resolve(&labels).unwrap()
        })
        .collect();
    for minute in hours.start * 60..hours.end * 60 {
        let at = START + minute * 60_000;
        clock.0.store(at, Ordering::SeqCst);
        let samples: Vec<Sample> = (all.iter().enumerate())
            .map(|(number, series)| Sample {
                series: *series,
                at,
                value: Value::Float((minute * 7 % 1009) as f64 * 0.37 + number as f64),
                start: None,
            })
            .collect();
        store.append(&samples).unwrap();
    }
    store.maintain().unwrap();
    wait(store.sync()).unwrap();
}

pub(super) type Answer = Vec<(String, Vec<(i64, f64)>)>;

/// The samples of series that pass, from and to an hour.
pub(super) fn ask(
    store: &Store,
    matchers: &[Matcher],
    hours: (i64, i64),
) -> Result<Answer, String> {
    let hints = all(START + hours.0 * HOUR, START + hours.1 * HOUR);
    let mut out = Vec::new();
    for series in store.select(matchers, &hints)? {
        let series = series?;
        out.push((series.labels.to_string(), series.floats.iter().collect()));
    }
    out.sort_by(|a: &(String, Vec<_>), b| a.0.cmp(&b.0));
    Ok(out)
}

/// All that is asked in these tests.
fn answers(store: &Store) -> (Vec<Answer>, Vec<Labels>, Vec<String>) {
    let regex = |text: &str| {
        Matcher::new("n", towpath_query::promql::MatchOp::Regex, text.to_owned()).unwrap()
    };
    let asked = [
        ask(store, &[], (0, 1000)),
        ask(store, &[Matcher::equal("__name__", "metric_2")], (3, 5)),
        ask(store, &[regex("1.*")], (9, 30)),
    ];
    (
        asked.into_iter().map(Result::unwrap).collect(),
        store.series(&[], i64::MIN, i64::MAX, 0).unwrap(),
        store.label_values("n", &[], i64::MIN, i64::MAX, 0).unwrap(),
    )
}

pub(super) fn files(dir: &Path, kind: &str) -> usize {
    let all = std::fs::read_dir(dir).unwrap();
    all.map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == kind))
        .count()
}

#[test]
fn the_same_questions_have_the_same_answers() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "a/prefix");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..13);
    store
        .delete(vec![Matcher::equal("n", "3")], START, START + 5 * HOUR)
        .unwrap();
    let before = answers(&store);
    let waiting = files(dir.path(), "seg");
    assert!(waiting >= 5, "{waiting}");
    store.upload().unwrap();
    assert_eq!(files(dir.path(), "seg"), 0, "none stays");
    assert_eq!(files(dir.path(), "tail"), waiting);
    let stats = store.stats().objects.unwrap();
    assert_eq!((stats.segments, stats.waiting), (waiting as u64, 0));
    assert!(stats.trouble.is_none() && stats.away_bytes > 0, "{stats:?}");
    assert_eq!(answers(&store), before);
    drop(store);
    // The same after a restart.
    let store = open(dir.path(), &clock, &objects);
    assert_eq!(answers(&store), before);
    // What is joined of segments that are away is the same, and goes up in turn.
    fill(&store, &clock, 13..60);
    let whole = answers(&store);
    store.upload().unwrap();
    assert_eq!(answers(&store), whole);
    store.close();
    drop(store);
    // And from the bucket alone: the head is lost with the disk, no more.
    let fresh = folder();
    let store = open(fresh.path(), &clock, &objects);
    let flushed = 58 * HOUR + START;
    let cut = |answer: &(Vec<Answer>, Vec<Labels>, Vec<String>)| -> Vec<Answer> {
        let mut all = answer.0.clone();
        for one in all.iter_mut().flatten() {
            one.1.retain(|(at, _)| *at < flushed);
        }
        all
    };
    assert_eq!(cut(&answers(&store)), cut(&whole));
    // It goes on there.
    fill(&store, &clock, 60..70);
    store.upload().unwrap();
    let grown = answers(&store);
    drop(store);
    let store = open(fresh.path(), &clock, &objects);
    assert_eq!(answers(&store), grown);
}

#[test]
fn what_a_kill_interrupts_is_done_again() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "kill");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..5);
    store.upload().unwrap();
    fill(&store, &clock, 5..9);
    let before = answers(&store);
    let (local, remote) = (copy(dir.path()), peer.keep());
    store.upload().unwrap();
    drop(store);
    let after = peer.objects("kill/metrics/segments");
    // Killed with the catalog written and nothing of it known here.
    let dir = copy(local.path());
    let resumed = open(dir.path(), &clock, &objects);
    assert_eq!(answers(&resumed), before);
    resumed.upload().unwrap();
    assert_eq!(answers(&resumed), before);
    assert_eq!(
        peer.objects("kill/metrics/segments"),
        after,
        "nothing twice"
    );
    drop(resumed);
    // Killed with segments uploaded and not named.
    peer.put_back(&remote, "kill/metrics/manifest");
    let dir = copy(local.path());
    let resumed = open(dir.path(), &clock, &objects);
    resumed.upload().unwrap();
    assert_eq!(answers(&resumed), before);
    assert!(peer.objects("kill/metrics/segments").len() > after.len());
    // What nobody names is collected, later.
    clock.0.fetch_add(2 * HOUR, Ordering::SeqCst);
    resumed.upload().unwrap();
    let kept = peer.objects("kill/metrics/segments").len() as u64;
    assert_eq!(kept, resumed.stats().objects.unwrap().segments);
    assert_eq!(answers(&resumed), before);
}

#[test]
fn a_server_that_is_away_costs_nothing_that_is_here() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let objects = objects(&peer, "away");
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 0..5);
    store.upload().unwrap();
    let before = ask(&store, &[], (0, 3)).unwrap();
    drop(store);
    peer.stop();
    let store = open(dir.path(), &clock, &objects);
    fill(&store, &clock, 5..9);
    let error = store.upload().unwrap_err().to_string();
    assert!(error.contains("bucket kept"), "{error}");
    let stats = store.stats().objects.unwrap();
    assert!(stats.waiting >= 2 && stats.failures == 1, "{stats:?}");
    assert!(stats.trouble.unwrap().contains("bucket kept"));
    // What is here is told; what is not says where it is and why it cannot be had.
    assert!(!ask(&store, &[], (6, 9)).unwrap().is_empty());
    let error = ask(&store, &[], (0, 3)).unwrap_err();
    assert!(
        error.contains("s3://kept/away/metrics/segments/"),
        "{error}"
    );
    assert!(
        error.contains("bucket kept") && error.contains("onnect"),
        "{error}"
    );
    peer.again();
    store.upload().unwrap();
    let stats = store.stats().objects.unwrap();
    assert_eq!((stats.waiting, stats.trouble), (0, None));
    assert_eq!(ask(&store, &[], (0, 3)).unwrap(), before);
}

#[test]
fn what_counts_no_longer_is_deleted_after_a_while() {
    let Some(peer) = Peer::start() else { return };
    let objects = objects(&peer, "grace");
    let dir = folder();
    let clock = Set::new(START);
    let mut options = settings(&clock, &objects);
    options.retention_ms = 4 * 24 * HOUR;
    let store = Store::open(dir.path(), options).unwrap();
    let named = || peer.objects("grace/metrics/segments").len();
    fill(&store, &clock, 0..23);
    store.upload().unwrap();
    let small = named();
    assert!(small >= 10, "{small}");
    // The day is joined; its parts stay for a while.
    fill(&store, &clock, 23..30);
    store.upload().unwrap();
    let joined = store.stats().objects.unwrap().segments as usize;
    assert!(joined < small && named() > joined, "{joined} {}", named());
    let before = answers(&store);
    clock.0.fetch_add(59 * 60_000, Ordering::SeqCst);
    store.upload().unwrap();
    assert!(named() > joined, "not yet");
    clock.0.fetch_add(2 * 60_000, Ordering::SeqCst);
    store.upload().unwrap();
    assert_eq!(named(), joined);
    assert_eq!(answers(&store), before);
    // What is too old goes as well.
    fill(&store, &clock, 32..24 * 8);
    store.upload().unwrap();
    clock.0.fetch_add(2 * HOUR, Ordering::SeqCst);
    store.upload().unwrap();
    let stats = store.stats().objects.unwrap();
    assert_eq!(named() as u64, stats.segments);
    assert!(stats.deleted > 10, "{stats:?}");
    assert!(ask(&store, &[], (0, 20)).unwrap().is_empty());
}

#[test]
fn local_copies_stay_within_their_limit_and_uploads_happen_by_themselves() {
    let Some(peer) = Peer::start() else { return };
    let dir = folder();
    let clock = Set::new(START);
    let first = objects(&peer, "limit");
    let store = open(
        dir.path(),
        &clock,
        &with(&first, |own| own.local_bytes = u64::MAX),
    );
    fill(&store, &clock, 0..13);
    store.upload().unwrap();
    let stats = store.stats().objects.unwrap();
    let all = files(dir.path(), "seg");
    assert_eq!(stats.away_bytes, 0, "all are still here");
    let before = answers(&store);
    drop(store);
    let half = stats.bytes / 2;
    let own = with(&first, |own| {
        own.local_bytes = half;
        own.background = true;
    });
    let store = open(dir.path(), &clock, &own);
    until("the oldest are gone", || files(dir.path(), "seg") < all);
    until("it is counted", || {
        store.stats().objects.unwrap().away_bytes > 0
    });
    let left = files(dir.path(), "seg");
    assert!(left > 0, "the youngest stay");
    assert!(dir.path().join("OBJECTS").exists());
    assert_eq!(answers(&store), before);
    // A new segment goes up without being asked to.
    fill(&store, &clock, 13..17);
    until("it is uploaded", || {
        let stats = store.stats();
        let objects = stats.objects.unwrap();
        stats.segments == objects.segments && objects.waiting == 0
    });
}

#[test]
fn what_should_be_joined_waits_for_the_bucket() {
    let Some(mut peer) = Peer::start() else {
        return;
    };
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, &objects(&peer, "wait"));
    fill(&store, &clock, 0..23);
    store.upload().unwrap();
    let small = store.stats().segments;
    drop(store);
    let store = open(dir.path(), &clock, &objects(&peer, "wait"));
    peer.stop();
    // The day is over, and its parts cannot be read.
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fill(&store, &clock, 23..27);
    }));
    assert!(refused.is_err(), "it says that it could not");
    assert!(store.stats().segments > small);
    peer.again();
    fill(&store, &clock, 27..30);
    let joined = store.stats().segments;
    assert!(joined < small, "{joined}");
    assert_eq!(ask(&store, &[], (0, 29)).unwrap()[0].1.len(), 29 * 60 + 1);
}
