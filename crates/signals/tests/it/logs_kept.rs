//! How long lines are kept, that bytes are freed, and what happens when the disk is damaged or full.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use towpath_query::logql::{self, Direction, Settings};
use towpath_query::promql::{Labels, Matcher};
use towpath_signals::logs::{Line, LogStore, Options, PushError, Rule, Stream};
use towpath_stdx::Clock;

use crate::disk::{Mounted, fill, goes_on};
use crate::{Set, folder, wait};

const DAY: i64 = 86_400_000;
const START: i64 = 19_676 * DAY;

fn open(dir: &Path, clock: &Arc<Set>, change: impl FnOnce(&mut Options)) -> LogStore {
    let mut options = Options {
        block_bytes: 2000,
        flush_after: Duration::from_secs(60),
        ..Options::default()
    };
    change(&mut options);
    LogStore::open(dir, options, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
}

fn labels(app: &str) -> Labels {
    [("app", app)].into_iter().collect()
}

/// Lines of an app, one a second, none alike.
fn stream(app: &str, at: i64, count: i64) -> Stream {
    let lines = (0..count).map(|n| {
        let at = (at + n * 1000) * 1_000_000;
        let hash = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Line {
            at,
            text: format!("request {hash:016x} of {app} took {}ms", hash % 977),
            metadata: Vec::new(),
        }
    });
    Stream {
        labels: labels(app),
        lines: lines.collect(),
    }
}

/// Times of the lines of an app, in milliseconds.
fn ask(store: &LogStore, app: &str, from: i64, to: i64) -> Result<Vec<i64>, String> {
    let query = logql::parse_log(&format!("{{app=\"{app}\"}}")).unwrap();
    let settings = Settings {
        max_entries: 1_000_000,
        ..Settings::default()
    };
    let times = (from.saturating_mul(1_000_000), to.saturating_mul(1_000_000));
    let answer = logql::logs(
        &query,
        times,
        Direction::Forward,
        1_000_000,
        store,
        &settings,
    );
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(answer
        .entries
        .iter()
        .map(|one| one.at / 1_000_000)
        .collect())
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = all
        .filter(|path| path.extension().is_some_and(|ext| ext == "seg"))
        .collect();
    all.sort();
    all
}

fn on_disk(dir: &Path) -> u64 {
    let bytes = |path: &PathBuf| std::fs::metadata(path).unwrap().len();
    segments(dir).iter().map(bytes).sum()
}

fn rule(app: &str, days: u64) -> Rule {
    Rule {
        matchers: vec![Matcher::equal("app", app)],
        keep: Duration::from_secs(days * 86_400),
    }
}

#[test]
fn rules_keep_streams_shorter_and_longer() {
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, |options| {
        options.retention = Duration::from_secs(6 * 86_400);
        options.rules = vec![rule("short", 2), rule("long", 60)];
    });
    let mut end = START;
    for hour in (0..20 * 24).step_by(6) {
        end = START + hour * 3_600_000;
        clock.0.store(end, Ordering::SeqCst);
        for app in ["short", "long", "usual"] {
            let pushed = store.push(vec![stream(app, end - 100_000, 100)]).unwrap();
            assert_eq!(pushed.refused, []);
        }
        clock.0.store(end + 61_000, Ordering::SeqCst);
        store.maintain().unwrap();
    }
    let first = |app: &str| ask(&store, app, 0, i64::MAX / 1_000_000).unwrap()[0];
    let kept = |app: &str| end - first(app);
    assert_eq!(first("long"), START - 100_000, "as a rule says");
    assert!(
        (2 * DAY..=3 * DAY + DAY / 2).contains(&kept("short")),
        "{}",
        kept("short")
    );
    assert!(
        (6 * DAY - DAY / 2..8 * DAY).contains(&kept("usual")),
        "{}",
        kept("usual")
    );
    let health = store.health();
    assert_eq!(health.disk_bytes, on_disk(dir.path()));
    assert!(health.freed[0].1 > 10_000, "{:?}", health.freed);
    // What a rule keeps for long is taken late, what it keeps shortly is not.
    let late = |app: &str| {
        let stream = stream(app, end - 10 * DAY, 1);
        store.push(vec![stream]).unwrap().taken
    };
    assert_eq!((late("long"), late("short"), late("usual")), (1, 0, 0));
}

#[test]
fn forgotten_lines_free_bytes() {
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, |_| {});
    for app in ["a", "b"] {
        store
            .push(vec![stream(app, START - 5_000_000, 4000)])
            .unwrap();
    }
    store.flush().unwrap();
    let before = on_disk(dir.path());
    store.delete("{app=\"a\"}", 0, i64::MAX).unwrap();
    store.maintain().unwrap();
    let after = on_disk(dir.path());
    assert!(after < before * 6 / 10, "{before} {after}");
    assert_eq!(store.health().freed[2], ("deleted", before - after));
    assert_eq!(ask(&store, "b", 0, START).unwrap().len(), 4000);
}

#[test]
fn a_flipped_bit_is_named_and_the_rest_goes_on() {
    let dir = folder();
    let clock = Set::new(START);
    {
        let store = open(dir.path(), &clock, |_| {});
        for part in 0..3 {
            let at = START - 10_000_000 + part * 1_000_000;
            store
                .push(vec![stream("a", at, 300), stream("b", at, 300)])
                .unwrap();
            store.flush().unwrap();
        }
    }
    // In the middle one, the first block of the first stream.
    let damaged = segments(dir.path())[1].clone();
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[200] ^= 4;
    std::fs::write(&damaged, bytes).unwrap();
    let store = open(dir.path(), &clock, |_| {});
    let (from, to) = (START - 9_000_000, START - 8_500_000);
    let why = ask(&store, "a", from, to).unwrap_err();
    assert!(
        why.contains(damaged.to_str().unwrap()) && why.contains("checksum"),
        "{why}"
    );
    assert_eq!(
        ask(&store, "b", from, to).unwrap().len(),
        300,
        "another block"
    );
    assert_eq!(
        ask(&store, "a", to, START).unwrap().len(),
        300,
        "another segment"
    );
    assert_eq!(ask(&store, "a", 0, from).unwrap().len(), 300);
    // The others are still made one, again and again.
    for round in 0..20 {
        store
            .push(vec![stream("a", START - 4_000_000 + round * 100_000, 100)])
            .unwrap();
        store.flush().unwrap();
        store.maintain().unwrap();
    }
    assert!(store.health().segments < 10, "{:?}", store.health());
    assert!(damaged.exists());
    assert_eq!(ask(&store, "a", to, START).unwrap().len(), 2300);
}

#[test]
fn a_full_disk_refuses_lines_and_goes_on_when_there_is_room() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let dir = mounted.0.path().join("logs");
    let clock = Set::new(START);
    let store = open(&dir, &clock, |_| {});
    let mut at = START - 10 * DAY;
    let mut taken = 0;
    let mut push = |store: &LogStore| {
        at += 1_000_000;
        let pushed = store.push(vec![stream("a", at, 1000)]);
        taken += pushed.as_ref().map_or(0, |pushed| pushed.taken);
        (pushed, taken)
    };
    push(&store).0.unwrap();
    wait(store.sync()).unwrap();
    let filler = mounted.0.path().join("filler");
    fill(&filler, 300_000);
    let mut refused = None;
    for _ in 0..200 {
        if let Err(why) = push(&store).0 {
            refused = Some(why);
            break;
        }
        // A group that cannot be written is told to who waits for it.
        let _ = wait(store.sync());
    }
    let refused = refused.unwrap();
    assert!(
        matches!(&refused, PushError::Full(why) if why.contains("disk full")),
        "{refused}"
    );
    // Upkeep may fail and does not hang; reads go on.
    let _ = store.maintain();
    let taken = push(&store).1;
    assert_eq!(ask(&store, "a", 0, START).unwrap().len(), taken);
    std::fs::remove_file(&filler).unwrap();
    let mut total = taken;
    goes_on(|| {
        let (pushed, taken) = push(&store);
        total = taken;
        pushed.is_ok()
    });
    wait(store.sync()).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = open(&dir, &clock, |_| {});
    assert_eq!(
        ask(&store, "a", 0, START).unwrap().len(),
        total,
        "nothing taken is lost"
    );
}

#[test]
fn a_nearly_full_disk_is_left_some_room() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let dir = mounted.0.path().join("logs");
    let clock = Set::new(START);
    let store = open(&dir, &clock, |_| {});
    let filler = mounted.0.path().join("filler");
    fill(&filler, 900_000);
    store.maintain().unwrap();
    let refused = store.push(vec![stream("a", START, 1)]).unwrap_err();
    assert!(refused.to_string().contains("disk full"), "{refused}");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(store.push(vec![stream("a", START, 1)]).unwrap().taken, 1);
}

#[test]
fn the_sender_that_grew_is_refused_first() {
    let dir = folder();
    let clock = Set::new(START);
    let store = open(dir.path(), &clock, |options| {
        options.max_head_bytes = 600_000
    });
    let from = |namespace: &str, at: i64, count: i64| Stream {
        labels: [("app", "x"), ("namespace", namespace)]
            .into_iter()
            .collect(),
        ..stream("x", at, count)
    };
    let mut refused = 0;
    for round in 0..100 {
        let at = START - 1_000_000 + round * 10_000;
        let taken = store.push(vec![from("steady", at, 2)]).unwrap().taken;
        assert_eq!(taken, 2, "{round}");
        match store.push(vec![from("exploding", at, 900)]) {
            Ok(_) => assert_eq!(refused, 0),
            Err(PushError::Full(why)) => {
                assert!(why.contains("source \"exploding\" grew"), "{why}");
                refused += 900;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let shed = store.health().shed;
    assert_eq!(shed.len(), 1);
    assert_eq!(
        (shed[0].source.as_str(), shed[0].count),
        ("exploding", refused)
    );
    assert!(refused > 0);
    // With the head in a segment there is room for all.
    store.flush().unwrap();
    assert_eq!(
        store
            .push(vec![from("exploding", START, 10)])
            .unwrap()
            .taken,
        10
    );
}
