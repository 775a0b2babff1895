//! How long what is kept, and that bytes are freed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::promql::{
    Hints, Labels, Level, Matcher, Settings, Source, Value as Result_, parse, range,
};
use towpath_signals::metrics::{Options, Rule, Store};
use towpath_signals::{Append, Sample, Value};

use crate::{Set, all, folder, options};

const DAY: i64 = 86_400_000;
const START: i64 = 19_676 * DAY;
const EVERY: i64 = 60_000;

fn labels(job: &str, number: usize) -> Labels {
    [
        ("__name__", "x_total".to_owned()),
        ("job", job.to_owned()),
        ("n", number.to_string()),
    ]
    .into_iter()
    .collect()
}

/// Samples of two jobs over some days.
fn fill(store: &Arc<Store>, clock: &Arc<Set>, from: i64, days: i64) -> i64 {
    let mut at = from;
    let mut seed = 1u64;
    let all: Vec<_> = ["keep", "drop"]
        .iter()
        .flat_map(|job| (0..4).map(|n| labels(job, n)))
        .collect();
    while at < from + days * DAY {
        clock.0.store(at, Ordering::SeqCst);
        let samples: Vec<Sample> = all
            .iter()
            .map(|labels| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                Sample {
                    series: store.resolve(labels).unwrap(),
                    at,
                    value: Value::Float((seed >> 40) as f64 / 1000.0),
                    start: None,
                }
            })
            .collect();
        assert_eq!(store.append(&samples).unwrap().taken, samples.len());
        if (at - START) % (30 * EVERY) == 0 {
            store.maintain().unwrap();
        }
        at += EVERY;
    }
    at
}

fn opened(dir: &Path, change: impl FnOnce(&mut Options)) -> (Arc<Store>, Arc<Set>) {
    let clock = Set::new(START);
    let mut options = options(&clock);
    change(&mut options);
    (Store::open(dir, options).unwrap(), clock)
}

/// Times of the samples of a job.
fn times(store: &Store, job: &str, function: &str) -> Vec<i64> {
    let hints = Hints {
        start: START,
        end: i64::MAX,
        step: 0,
        range: i64::from(!function.is_empty()),
        function,
    };
    let matchers = [Matcher::equal("job", job), Matcher::equal("n", "0")];
    let found = store.select(&matchers, &hints).unwrap();
    found.flat_map(|one| one.unwrap().floats.times).collect()
}

fn on_disk(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".seg"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum()
}

#[test]
fn rules_keep_series_shorter_and_longer() {
    let dir = folder();
    let (store, clock) = opened(dir.path(), |options| {
        options.retention_ms = 4 * DAY;
        options.rules = vec![
            Rule {
                matchers: vec![Matcher::equal("job", "drop")],
                keep_ms: 2 * DAY,
            },
            Rule {
                matchers: vec![Matcher::equal("job", "keep"), Matcher::equal("n", "0")],
                keep_ms: 30 * DAY,
            },
        ];
    });
    let end = fill(&store, &clock, START, 12);
    let dropped = times(&store, "drop", "");
    // By whole days, and what is in the newest segments.
    let oldest = end - dropped[0];
    assert!((2 * DAY..3 * DAY + DAY / 4).contains(&oldest), "{oldest}");
    assert_eq!(
        times(&store, "keep", "").len(),
        12 * 24 * 60,
        "as a rule says"
    );
    let hints = all(START, START + 5 * DAY);
    let old = store.select(&[], &hints).unwrap();
    let old: Vec<_> = old.map(|one| one.unwrap().labels.to_string()).collect();
    assert_eq!(old.len(), 1, "{old:?}");
    let stats = store.stats();
    let freed = stats.freed;
    assert_eq!(freed[0].0, "retention");
    assert!(freed[0].1 > 0);
    assert_eq!(on_disk(dir.path()), stats.segment_bytes);
}

#[test]
fn copies_outlive_samples_and_answer_for_them() {
    let dir = folder();
    let (store, clock) = opened(dir.path(), |options| {
        options.retention_ms = 2 * DAY;
        options.retention_copies_ms = [20 * DAY, 40 * DAY];
    });
    let before = fill(&store, &clock, START, 2);
    let ask = |store: &Store, query: &str, step: i64, end: i64| {
        let expr = parse(query).unwrap();
        let settings = Settings::default();
        let answer = range(&expr, START + DAY / 4, end, step, store, &settings).unwrap();
        let Result_::Matrix(series) = answer.value else {
            panic!("no matrix");
        };
        let warnings = answer.annotations.texts(Level::Warning, query, 0);
        let points: Vec<(i64, f64)> = series.iter().flat_map(|one| one.floats.iter()).collect();
        (points, warnings)
    };
    let whole = "avg_over_time(x_total{job=\"keep\",n=\"0\"}[1h])";
    let all = ask(&store, whole, 3_600_000, START + DAY);
    let end = fill(&store, &clock, before, 10);
    let bytes = store.stats().segment_bytes;
    assert_eq!(ask(&store, whole, 3_600_000, START + DAY), all);
    // Other questions are answered from the finest copies, and it is said.
    let (points, warnings) = ask(
        &store,
        "quantile_over_time(0.5, x_total{job=\"keep\",n=\"0\"}[1h])",
        3_600_000,
        START + DAY,
    );
    assert_eq!(points.len(), 19);
    assert!(
        warnings[0].contains("only the last sample of every 5m is kept"),
        "{warnings:?}"
    );
    let (points, _) = ask(&store, "x_total{job=\"keep\",n=\"0\"}", 77_000, START + DAY);
    let steps = (DAY - DAY / 4) / 77_000 + 1;
    assert_eq!(points.len() as i64, steps, "a plain selector has no gaps");
    let raw = times(&store, "keep", "");
    assert!(raw.iter().filter(|time| **time < end - 10 * DAY).count() <= 2 * 288 + 288);
    // Opened again it is the same.
    drop(store);
    let (store, _) = opened(dir.path(), |options| {
        options.retention_ms = 2 * DAY;
        options.retention_copies_ms = [20 * DAY, 40 * DAY];
    });
    assert_eq!(ask(&store, whole, 3_600_000, START + DAY), all);
    assert_eq!(store.stats().segment_bytes, bytes);
}

#[test]
fn what_is_deleted_is_freed_by_upkeep() {
    let dir = folder();
    let (store, clock) = opened(dir.path(), |_| {});
    let end = fill(&store, &clock, START, 3);
    let before = on_disk(dir.path());
    let deleted = vec![Matcher::equal("job", "drop")];
    store.delete(deleted, i64::MIN, START + 2 * DAY).unwrap();
    fill(&store, &clock, end, 1);
    let freed = store.stats().freed[2];
    assert_eq!(freed.0, "deleted");
    assert!(freed.1 > before / 4, "{freed:?} of {before}");
    assert_eq!(on_disk(dir.path()), store.stats().segment_bytes);
    assert_eq!(times(&store, "drop", "")[0], START + 2 * DAY + EVERY);
    assert_eq!(times(&store, "keep", "")[0], START);
}
