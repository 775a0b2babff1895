//! What comes back after a crash, of so many series that several threads read it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::promql::{Histogram, Labels, Source};
use towpath_signals::metrics::{Options, Store};
use towpath_signals::{Append, Sample, SeriesRef, Value};

use crate::{Set, all, copy, folder, options, wait};

const NOW: i64 = 1_700_000_000_000;

fn labels(number: usize) -> Labels {
    let pairs = [
        ("__name__", format!("metric_{}", number % 100)),
        ("instance", format!("host-{}", number / 100)),
        ("job", format!("job-{}", number / 7000)),
    ];
    pairs.into_iter().collect()
}

fn made(store: &Store, numbers: std::ops::Range<usize>) -> Vec<SeriesRef> {
    let each = |number| store.resolve(&labels(number)).unwrap();
    numbers.map(each).collect()
}

/// A sample of each series; of some of them a histogram.
fn scrape(store: &Store, series: &[SeriesRef], at: i64) {
    let value = |number: usize| match number % 1000 {
        0 => Value::Histogram(Arc::new(Histogram {
            count: at as f64,
            zero_count: at as f64,
            ..Histogram::default()
        })),
        _ => Value::Float((number as i64 % 977 * (at % 31_000)) as f64),
    };
    let sample = |(number, series): (usize, &SeriesRef)| Sample {
        series: *series,
        at,
        value: value(number),
        start: None,
    };
    let samples: Vec<Sample> = series.iter().enumerate().map(sample).collect();
    for part in samples.chunks(2000) {
        assert_eq!(store.append(part).unwrap().refused_count, 0);
    }
}

/// All samples, told by their bits.
fn content(store: &Store) -> BTreeMap<Labels, (Vec<(i64, u64)>, usize)> {
    let series = store.select(&[], &all(0, i64::MAX)).unwrap();
    let each = series.map(|one| {
        let one = one.unwrap();
        let floats = one.floats.iter().map(|(at, value)| (at, value.to_bits()));
        (one.labels, (floats.collect(), one.histograms.len()))
    });
    each.collect()
}

#[test]
fn many_series_are_all_back() {
    let dir = folder();
    let clock = Set::new(NOW);
    let store = Store::open(dir.path(), small(&clock)).unwrap();
    let mut series = made(&store, 0..20_000);
    for round in 0..30 {
        let at = NOW + round * 15_000;
        clock.0.store(at, Ordering::SeqCst);
        if round == 20 {
            // New ones, whose place in the log is between samples of the others.
            series.extend(made(&store, 20_000..25_000));
        }
        scrape(&store, &series, at);
        if round == 12 {
            let late = Sample {
                series: series[77],
                at: at - 40_000,
                value: Value::Float(5.0),
                start: None,
            };
            assert_eq!(store.append(&[late]).unwrap().refused_count, 0);
        }
        if round == 8 || round == 14 {
            store.maintain().unwrap();
        }
    }
    wait(store.sync()).unwrap();
    let before = content(&store);
    assert_eq!(before.len(), 25_000);
    let stats = store.stats();
    let left = copy(dir.path());
    for _ in 0..2 {
        // The second time what the first one wrote down at its end is read.
        let again = Store::open(left.path(), small(&clock)).unwrap();
        assert!(content(&again) == before, "not all is back");
        let now = again.stats();
        assert_eq!(now.series, stats.series);
        assert_eq!(now.replayed.damage, []);
        // Counted as it was, but for what the first chunks have of room to grow.
        let (bytes, counted) = (stats.memory_bytes as f64, now.memory_bytes as f64);
        assert!(
            (0.8..1.1).contains(&(counted / bytes)),
            "{counted} of {bytes}"
        );
        again.close();
    }
}

/// Written down each time it is asked to look after itself.
fn small(clock: &Arc<Set>) -> Options {
    Options {
        checkpoint: std::time::Duration::ZERO,
        ..options(clock)
    }
}
