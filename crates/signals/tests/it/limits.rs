//! Limits: what does not fit is refused by name, and the rest goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::promql::{Labels, Matcher, Source};
use towpath_signals::metrics::{Options, Store};
use towpath_signals::{Append, Delete, Exemplar, Metadata, Read, Refused, Sample, Value};

use crate::{Set, all, copy, folder, options, wait};

fn series(number: usize) -> Labels {
    [
        ("__name__", "requests_total".to_owned()),
        ("job", format!("job-{}", number % 2)),
        ("pod", format!("pod-{number}")),
    ]
    .into_iter()
    .collect()
}

const NOW: i64 = 1_700_000_000_000;

fn sample(series: towpath_signals::SeriesRef, at: i64, value: f64) -> Sample {
    Sample {
        series,
        at,
        value: Value::Float(value),
        start: None,
    }
}

#[test]
fn series_are_limited() {
    let dir = folder();
    let mut options = options(&Set::new(NOW));
    options.max_series = 10;
    let store = Store::open(dir.path(), options).unwrap();
    for number in 0..10 {
        store.resolve(&series(number)).unwrap();
    }
    let refused = store.resolve(&series(10)).unwrap_err();
    assert_eq!(
        refused,
        Refused::Limit("limit of 10 series is reached".into())
    );
    store.resolve(&series(3)).unwrap();
    let shed = store.stats().shed;
    assert_eq!(
        (shed[0].source.as_str(), shed[0].reason, shed[0].count),
        ("job-0", "series", 1)
    );
}

#[test]
fn memory_is_limited_and_freed_early() {
    let dir = folder();
    let clock = Set::new(NOW);
    let mut options = options(&clock);
    options.memory_bytes = 3 << 20;
    let store = Store::open(dir.path(), options).unwrap();
    let all: Vec<_> = (0..1000)
        .map(|n| store.resolve(&series(n)).unwrap())
        .collect();
    let mut seed = 1u64;
    let mut refused = 0;
    for round in 0..2000 {
        let at = NOW + round * 15_000;
        clock.0.store(at, Ordering::SeqCst);
        let samples: Vec<Sample> = all
            .iter()
            .map(|series| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                sample(*series, at, f64::from_bits(seed >> 2))
            })
            .collect();
        let outcome = store.append(&samples).unwrap();
        refused += outcome.refused_count;
        // While there is upkeep, what is full goes into segments early.
        assert!(refused == 0 || round > 1000);
        for (_, why) in &outcome.refused {
            assert!(
                matches!(why, Refused::Limit(text) if text.contains("memory limit of 3145728"))
            );
        }
        assert!(store.stats().memory_bytes < (3 << 20) + (1 << 18));
        if round % 4 == 0 && round < 1000 {
            store.maintain().unwrap();
        }
    }
    let stats = store.stats();
    assert!(
        refused > 0 && stats.samples_taken > 100_000,
        "{refused} {}",
        stats.samples_taken
    );
    assert!(stats.segments > 0);
    assert!(stats.shed.iter().any(|shed| shed.reason == "memory"));
}

/// Series of a source, as many as are taken; each with a sample at a time.
fn scrape(store: &Store, job: &str, numbers: std::ops::Range<usize>, at: i64) -> Vec<Refused> {
    let mut refused = Vec::new();
    for number in numbers {
        let pairs = [
            ("__name__", "requests_total".to_owned()),
            ("job", job.to_owned()),
            ("id", format!("identifier-{number}")),
        ];
        match store.resolve(&pairs.into_iter().collect()) {
            Ok(series) => {
                let outcome = store.append(&[sample(series, at, number as f64)]).unwrap();
                refused.extend(outcome.refused.into_iter().map(|(_, why)| why));
            }
            Err(why) => refused.push(why),
        }
    }
    refused
}

#[test]
fn the_source_that_grew_pays_first() {
    let dir = folder();
    let clock = Set::new(NOW);
    let mut options = options(&clock);
    options.memory_bytes = 3 << 20;
    let store = Store::open(dir.path(), options).unwrap();
    let mut shed = 0;
    for round in 0..300i64 {
        let at = NOW + round * 60_000;
        clock.0.store(at, Ordering::SeqCst);
        // Two that are as they always were, and one whose labels explode after some hours.
        for (job, count) in [("steady", 500), ("quiet", 50)] {
            assert_eq!(scrape(&store, job, 0..count, at), [], "{round}");
        }
        let numbers = if round < 200 {
            0..50
        } else {
            round as usize * 1000..round as usize * 1000 + 1000
        };
        let refused = scrape(&store, "exploding", numbers, at);
        shed += refused.len() as u64;
        for why in refused {
            let Refused::Limit(text) = &why else {
                panic!("{why}");
            };
            assert!(text.contains("job \"exploding\" grew"), "{text}");
        }
        if round % 4 == 0 {
            store.maintain().unwrap();
        }
    }
    let stats = store.stats();
    assert!(shed > 1000, "{shed}");
    assert!(stats.memory_bytes < 3 << 20);
    assert!(stats.shed.iter().all(|one| one.source == "exploding"));
    assert_eq!(stats.shed.iter().map(|one| one.count).sum::<u64>(), shed);
}

#[test]
fn the_source_with_more_and_more_series_is_refused_first() {
    let dir = folder();
    let clock = Set::new(NOW);
    let mut options = options(&clock);
    options.max_series = 1000;
    let store = Store::open(dir.path(), options).unwrap();
    assert_eq!(scrape(&store, "steady", 0..200, NOW), []);
    let refused = scrape(&store, "exploding", 0..900, NOW);
    assert_eq!(refused.len(), 150);
    assert_eq!(
        refused[0].to_string(),
        "limit of 1000 series is near, and job \"exploding\" grew"
    );
    assert_eq!(scrape(&store, "steady", 200..240, NOW), []);
}

#[test]
fn times_are_bounded() {
    let dir = folder();
    let store = Store::open(dir.path(), options(&Set::new(NOW))).unwrap();
    let one = store.resolve(&series(0)).unwrap();
    let other = store.resolve(&series(1)).unwrap();
    let why = |series, at, value| {
        let outcome = store.append(&[sample(series, at, value)]).unwrap();
        outcome.refused.into_iter().next().map(|(_, why)| why)
    };
    assert_eq!(why(one, NOW, 1.0), None);
    assert_eq!(why(one, NOW, 1.0), None, "the same again is no error");
    assert_eq!(why(one, NOW, 2.0), Some(Refused::Duplicate));
    assert_eq!(why(one, NOW + 600_001, 1.0), Some(Refused::OutOfBounds));
    assert_eq!(why(one, NOW - 600_001, 1.0), Some(Refused::TooOld));
    assert_eq!(why(one, NOW - 600_000, 1.0), None);
    // A quiet series may go on half a block back.
    assert_eq!(why(other, NOW - 3_600_000, 1.0), None);
    assert_eq!(why(other, NOW - 3_600_001, 1.0), Some(Refused::TooOld));
    let gone = towpath_signals::SeriesRef(99);
    assert!(matches!(why(gone, NOW, 1.0), Some(Refused::Labels(_))));
}

#[test]
fn without_a_window_late_samples_are_out_of_order() {
    let dir = folder();
    let mut options = options(&Set::new(NOW));
    options.out_of_order_ms = 0;
    let store = Store::open(dir.path(), options).unwrap();
    let one = store.resolve(&series(0)).unwrap();
    let batch = [
        sample(one, NOW, 1.0),
        sample(one, NOW - 1, 1.0),
        sample(one, NOW - 4_000_000, 1.0),
    ];
    store.append(&batch[..1]).unwrap();
    let refused = store.append(&batch).unwrap().refused;
    assert_eq!(
        refused,
        [(1, Refused::OutOfOrder), (2, Refused::OutOfBounds)]
    );
}

#[test]
fn what_is_beside_samples_outlives_a_restart() {
    let dir = folder();
    let clock = Set::new(NOW);
    let said = Metadata {
        kind: "counter".into(),
        help: "Requests.".into(),
        unit: String::new(),
    };
    let exemplar = |at, value| Exemplar {
        labels: [("trace_id", "abc")].into_iter().collect(),
        value,
        at,
    };
    {
        let store = Store::open(dir.path(), options(&clock)).unwrap();
        let one = store.resolve(&series(0)).unwrap();
        store.append(&[sample(one, NOW, 1.0)]).unwrap();
        store.metadata("requests_total", said.clone());
        store.exemplar(one, exemplar(NOW, 0.5)).unwrap();
        assert_eq!(
            store.exemplar(one, exemplar(NOW, 0.5)),
            Err(Refused::Duplicate)
        );
        assert_eq!(
            store.exemplar(one, exemplar(NOW - 1, 0.5)),
            Err(Refused::OutOfOrder)
        );
        store.exemplar(one, exemplar(NOW + 1, 0.25)).unwrap();
        wait(store.sync()).unwrap();
    }
    for _ in 0..2 {
        let store = Store::open(dir.path(), options(&clock)).unwrap();
        assert_eq!(
            store.families(None)["requests_total"],
            std::slice::from_ref(&said)
        );
        let sets = [vec![Matcher::equal("job", "job-0")]];
        let found = store.exemplars(&sets, NOW, NOW + 10).unwrap();
        assert_eq!(
            found[0].exemplars,
            [exemplar(NOW, 0.5), exemplar(NOW + 1, 0.25)]
        );
        assert_eq!(
            store.label_names(&[], 0, i64::MAX, 2).unwrap(),
            ["__name__", "job"]
        );
        assert_eq!(
            store.label_values("pod", &sets, 0, i64::MAX, 0).unwrap(),
            ["pod-0"]
        );
        let cardinality = store.cardinality(5);
        assert_eq!((cardinality.series, cardinality.label_pairs), (1, 3));
        clock.0.fetch_add(600_000, Ordering::SeqCst);
        store.maintain().unwrap();
        clock.0.store(NOW, Ordering::SeqCst);
    }
}

#[test]
fn series_without_samples_are_forgotten_and_come_back() {
    let dir = folder();
    let clock = Set::new(NOW);
    let store = Store::open(dir.path(), options(&clock)).unwrap();
    let gone = store.resolve(&series(0)).unwrap();
    store.append(&[sample(gone, NOW, 1.0)]).unwrap();
    let stays = store.resolve(&series(1)).unwrap();
    for step in 0..60 {
        let at = NOW + step * 600_000;
        clock.0.store(at, Ordering::SeqCst);
        store.append(&[sample(stays, at, 1.0)]).unwrap();
        store.maintain().unwrap();
    }
    assert_eq!(store.stats().series, 1);
    assert_eq!(store.labels(gone), None);
    let at = NOW + 60 * 600_000;
    clock.0.store(at, Ordering::SeqCst);
    let refused = store.append(&[sample(gone, at, 1.0)]).unwrap().refused;
    assert!(matches!(refused[..], [(0, Refused::Labels(_))]));
    let again = store.resolve(&series(0)).unwrap();
    assert_ne!(again, gone);
    assert_eq!(store.append(&[sample(again, at, 2.0)]).unwrap().taken, 1);
    let hints = all(NOW, at);
    let all = store
        .select(&[Matcher::equal("pod", "pod-0")], &hints)
        .unwrap();
    let all: Vec<_> = all.map(Result::unwrap).collect();
    assert_eq!(all[0].floats.times, [NOW, at]);
}

#[test]
fn writers_and_readers_work_side_by_side() {
    let dir = folder();
    let clock = Set::new(NOW);
    let mut options = options(&clock);
    options.block_ms = 60_000;
    options.out_of_order_ms = 1_000;
    let store = Store::open(dir.path(), options).unwrap();
    let over = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..4usize {
            let (store, over, clock) = (Arc::clone(&store), &over, &clock);
            scope.spawn(move || {
                for round in 0..400i64 {
                    let at = NOW + round * 1000;
                    clock.0.fetch_max(at, Ordering::SeqCst);
                    for number in 0..20 {
                        let own = store.resolve(&series(writer * 100 + number)).unwrap();
                        store.append(&[sample(own, at, round as f64)]).unwrap();
                    }
                }
                over.fetch_add(1, Ordering::SeqCst);
            });
        }
        let (store, over) = (Arc::clone(&store), &over);
        scope.spawn(move || {
            while over.load(Ordering::SeqCst) < 4 {
                store.maintain().unwrap();
                let hints = all(NOW, i64::MAX);
                for series in store.select(&[], &hints).unwrap().take(10) {
                    assert!(series.unwrap().floats.times.is_sorted());
                }
            }
        });
    });
    store.maintain().unwrap();
    assert!(store.stats().segments > 1);
    assert_eq!(store.stats().series, 80);
}

#[test]
fn what_is_deleted_is_out_of_sight_and_frees_bytes() {
    let dir = folder();
    let clock = Set::new(NOW);
    let store = Store::open(dir.path(), options(&clock)).unwrap();
    let all: Vec<_> = (0..200)
        .map(|n| store.resolve(&series(n)).unwrap())
        .collect();
    for step in 0..60 {
        let at = NOW + step * 300_000;
        clock.0.store(at, Ordering::SeqCst);
        let samples: Vec<Sample> = all
            .iter()
            .map(|series| sample(*series, at, (step * series.0 as i64) as f64 / 3.0))
            .collect();
        store.append(&samples).unwrap();
        store.maintain().unwrap();
    }
    let job = vec![Matcher::equal("job", "job-1")];
    let deleted: &dyn Delete = &*store;
    deleted
        .delete(std::slice::from_ref(&job), 0, i64::MAX)
        .unwrap();
    let hints = crate::all(0, i64::MAX);
    assert_eq!(store.select(&job, &hints).unwrap().count(), 0);
    assert_eq!(store.select(&[], &hints).unwrap().count(), 100);
    let before = store.stats().segment_bytes;
    let freed = deleted.clean().unwrap();
    assert_eq!(store.stats().segment_bytes, before - freed);
    assert!(freed > before / 3, "{freed} of {before}");
    assert_eq!(store.select(&job, &hints).unwrap().count(), 0);
}

/// Samples that come fast, with a look now and then whether something is due; what a crash leaves.
fn fast(log_bytes: u64) -> (tempfile::TempDir, Options) {
    let clock = Set::new(NOW);
    let mut options = options(&clock);
    options.log_bytes = log_bytes;
    let dir = folder();
    let store = Store::open(dir.path(), options.clone()).unwrap();
    let labels: Labels = [("__name__", "up")].into_iter().collect();
    let series = store.resolve(&labels).unwrap();
    for at in 0..MANY {
        let value = (at * 7919 % 1000) as f64 / 7.0;
        store.append(&[sample(series, NOW + at, value)]).unwrap();
        if at % 1000 == 0 {
            wait(store.sync()).unwrap();
            store.maintain().unwrap();
        }
    }
    wait(store.sync()).unwrap();
    (copy(dir.path()), options)
}

const MANY: i64 = 100_000;

/// However fast samples come, what has to be read back after a crash stays short.
#[test]
fn a_long_log_is_written_down_early() {
    let (left, options) = fast(64 << 10);
    let store = Store::open(left.path(), options).unwrap();
    let replayed = store.stats().replayed.bytes;
    assert!(replayed < 256 << 10, "{replayed} bytes");
    assert_eq!(count(&store), MANY as usize);
    // A long one that is found is not left for the next crash, either.
    let (left, mut options) = fast(u64::MAX);
    options.log_bytes = 64 << 10;
    let store = Store::open(left.path(), options.clone()).unwrap();
    let replayed = store.stats().replayed.bytes;
    assert!(replayed > 256 << 10, "{replayed} bytes");
    store.maintain().unwrap();
    let left = copy(left.path());
    let store = Store::open(left.path(), options).unwrap();
    assert_eq!(store.stats().replayed.records, 0);
    assert_eq!(count(&store), MANY as usize);
}

fn count(store: &Store) -> usize {
    let hints = all(0, i64::MAX);
    let all = store.select(&[], &hints).unwrap();
    all.map(|series| series.unwrap().floats.iter().count())
        .sum()
}
