//! Queries of long steps and ranges, answered from downsampled copies, beside the same queries over
//! all samples in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use towpath_query::promql::{
    Answer, Hints, Labels, Level, Matcher, Series, Settings, Source, Value, parse, range, stale,
};
use towpath_signals::metrics::Store;
use towpath_signals::{Append, Sample};

use crate::{Set, folder, options};

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;
/// A midnight.
const START: i64 = 19_676 * DAY;

/// All samples, in memory.
#[derive(Default)]
struct Model(BTreeMap<Labels, Series>);

impl Source for Model {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        let matchers = matchers.to_vec();
        let (start, end) = (hints.start, hints.end);
        let all = self.0.iter().filter_map(move |(labels, all)| {
            let passes = matchers.iter().all(|m| m.matches(labels.get(&m.name)));
            let mut one = Series::new(labels.clone());
            let within = |time: i64| time >= start && time <= end;
            for (time, value) in all.floats.iter().filter(|(time, _)| within(*time)) {
                one.floats.push(time, value);
            }
            (passes && !one.is_empty()).then_some(Ok(one))
        });
        Ok(Box::new(all))
    }
}

/// What a series does at each scrape.
#[derive(Clone, Debug)]
enum Kind {
    /// Grows, and begins anew now and then.
    Counter(u32, u32),
    Gauge(u32),
    Decimal,
    /// Comes and goes.
    Fleeting(i64),
    Constant,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (1u32..50, 50u32..4000).prop_map(|(by, life)| Kind::Counter(by, life)),
        (1u32..1000).prop_map(Kind::Gauge),
        Just(Kind::Decimal),
        (3i64..600).prop_map(Kind::Fleeting),
        Just(Kind::Constant),
    ]
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % below
    }
}

fn labels(number: usize) -> Labels {
    [
        ("__name__", "x_total".to_owned()),
        ("n", number.to_string()),
    ]
    .into_iter()
    .collect()
}

/// Days of scrapes in a store that looks after itself, and in memory.
fn filled(kinds: &[Kind], interval: i64, seed: u64, days: i64) -> (Arc<Store>, Model, Keep) {
    let dir = folder();
    let clock = Set::new(START);
    let store = Store::open(dir.path(), options(&clock)).unwrap();
    let mut random = Random(seed);
    let mut model = Model::default();
    let mut values = vec![0.0f64; kinds.len()];
    let mut at = START + 1;
    let mut next = START;
    while at < START + days * DAY + 4 * HOUR {
        clock.0.store(at, Ordering::SeqCst);
        for (number, kind) in kinds.iter().enumerate() {
            let value = &mut values[number];
            let round = (at - START) / interval;
            *value = match kind {
                Kind::Counter(_, life) if random.next(u64::from(*life)) == 0 => 1.0,
                Kind::Counter(by, _) => *value + random.next(u64::from(*by) + 1) as f64,
                Kind::Gauge(to) => random.next(u64::from(*to)) as f64 - 100.0,
                Kind::Decimal => random.next(100_000) as f64 / 100.0,
                Kind::Fleeting(length) if round / length % 2 == 1 => match round % length {
                    0 => stale(),
                    _ => continue,
                },
                Kind::Fleeting(_) => random.next(100) as f64,
                Kind::Constant => 42.5,
            };
            let labels = labels(number);
            let series = store.resolve(&labels).unwrap();
            let sample = Sample {
                series,
                at,
                value: towpath_signals::Value::Float(*value),
                start: None,
            };
            assert_eq!(store.append(&[sample]).unwrap().taken, 1);
            let own = model.0.entry(labels).or_default();
            own.floats.push(at, *value);
        }
        if at >= next {
            store.maintain().unwrap();
            next = at + HOUR;
        }
        // Scrapes are not quite regular.
        at += interval - 500 + random.next(1000) as i64;
    }
    store.maintain().unwrap();
    (store, model, Keep(dir))
}

struct Keep(#[allow(dead_code)] tempfile::TempDir);

fn ask(source: &dyn Source, query: &str, start: i64, end: i64, step: i64) -> Answer {
    let expr = parse(query).unwrap();
    range(&expr, start, end, step, source, &Settings::default()).unwrap()
}

fn points(answer: &Answer) -> Vec<(String, i64, f64)> {
    let Value::Matrix(series) = &answer.value else {
        panic!("{:?}", answer.value);
    };
    let each = series.iter().flat_map(|one| {
        let labels = one.labels.to_string();
        one.floats.iter().map(move |(t, v)| (labels.clone(), t, v))
    });
    each.collect()
}

fn same(query: &str, got: &Answer, wanted: &Answer) {
    let (got, wanted) = (points(got), points(wanted));
    assert_eq!(got.len(), wanted.len(), "{query}");
    for (got, wanted) in got.iter().zip(&wanted) {
        assert_eq!((&got.0, got.1), (&wanted.0, wanted.1), "{query}");
        let close = (got.2 - wanted.2).abs() <= 1e-9 * wanted.2.abs().max(1.0);
        assert!(close, "{query}: {got:?} {wanted:?}");
    }
}

fn infos(answer: &Answer) -> Vec<String> {
    answer.annotations.texts(Level::Info, "x_total", 0)
}

const FUNCTIONS: [&str; 11] = [
    "rate",
    "increase",
    "delta",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "ts_of_last_over_time",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn whole_intervals_answer_as_all_samples_do(
        kinds in prop::collection::vec(kind(), 4..7),
        interval in prop_oneof![Just(30_000i64), Just(60_000), Just(15_000)],
        seed: u64,
    ) {
        let (store, model, _keep) = filled(&kinds, interval, seed, 2);
        let (start, end) = (START + 6 * HOUR, START + 2 * DAY + 3 * HOUR);
        for function in FUNCTIONS {
            for (length, step) in [
                (25 * MINUTE, 5 * MINUTE),
                (HOUR, 30 * MINUTE),
                (5 * HOUR, HOUR),
                (6 * HOUR, 5 * HOUR + 5 * MINUTE),
            ] {
                let query = format!("{function}(x_total[{length}ms])");
                let got = ask(&*store, &query, start, end, step);
                let wanted = ask(&model, &query, start, end, step);
                same(&query, &got, &wanted);
            }
        }
        for (query, step) in [
            ("x_total", 30 * MINUTE),
            ("x_total", 5 * HOUR),
            ("sum(x_total)", HOUR),
            ("x_total offset 10m", 25 * MINUTE),
            ("timestamp(x_total)", 5 * HOUR),
            ("absent_over_time(x_total{n=\"3\"}[1h])", HOUR),
            ("max_over_time(avg_over_time(x_total[25m])[10h:1h])", 5 * HOUR),
        ] {
            let got = ask(&*store, query, start, end, step);
            let wanted = ask(&model, query, start, end, step);
            same(query, &got, &wanted);
            assert!(infos(&got).iter().any(|info| info.contains("downsampled to")), "{query}");
        }
        // What needs all samples gets all samples.
        for query in [
            "quantile_over_time(0.9, x_total[5h])",
            "irate(x_total[5h])",
            "resets(x_total[5h])",
            "stddev_over_time(x_total[5h])",
            "rate(x_total[5h] smoothed)",
        ] {
            let got = ask(&*store, query, start, end, HOUR);
            let wanted = ask(&model, query, start, end, HOUR);
            same(query, &got, &wanted);
            assert!(!infos(&got).iter().any(|info| info.contains("downsampled to")), "{query}");
        }
    }

    #[test]
    fn windows_that_cut_intervals_are_moved_by_less_than_one(
        kinds in prop::collection::vec(kind(), 4..7),
        seed: u64,
        offset in 1i64..300_000,
    ) {
        let (store, model, _keep) = filled(&kinds, 30_000, seed, 2);
        let mut moved = Model::default();
        for (labels, all) in &model.0 {
            let own = moved.0.entry(labels.clone()).or_default();
            let plain: Vec<(i64, f64)> = all
                .floats
                .iter()
                .filter(|(_, value)| value.to_bits() != stale().to_bits())
                .collect();
            for same in plain.chunk_by(|a, b| (a.0 - 1) / 300_000 == (b.0 - 1) / 300_000) {
                let last = same[same.len() - 1].0;
                same.iter().for_each(|(_, value)| own.floats.push(last, *value));
            }
        }
        let (start, end) = (START + 7 * HOUR + offset, START + 2 * DAY - HOUR);
        for (function, length) in [
            ("avg_over_time", HOUR + 15_000),
            ("min_over_time", HOUR + 15_000),
            ("max_over_time", HOUR + 15_000),
            ("last_over_time", HOUR + 15_000),
            ("sum_over_time", 5 * HOUR),
            ("count_over_time", 6 * HOUR),
        ] {
            let query = format!("{function}(x_total[{length}ms])");
            let got = ask(&*store, &query, start, end, HOUR);
            same(&query, &got, &ask(&moved, &query, start, end, HOUR));
            assert!(infos(&got).iter().any(|info| info.contains("to 5m")), "{query}");
        }
        // A plain selector would see samples that are too old.
        let got = ask(&*store, "x_total", start, end, HOUR);
        same("x_total", &got, &ask(&model, "x_total", start, end, HOUR));
        prop_assert_eq!(infos(&got), Vec::<String>::new());
    }
}

#[test]
fn a_steady_rate_is_steady_wherever_windows_begin() {
    let (store, model, _keep) = filled(&[Kind::Counter(20, 1_000_000)], 15_000, 3, 2);
    for (offset, length) in [(0, HOUR + 15_000), (77_777, HOUR), (1, 30 * MINUTE)] {
        let query = format!("rate(x_total[{length}ms])");
        let (start, end) = (START + 7 * HOUR + offset, START + 2 * DAY - HOUR);
        let got = ask(&*store, &query, start, end, HOUR);
        let wanted = ask(&model, &query, start, end, HOUR);
        assert_eq!(infos(&got).len(), 1);
        let (got, wanted) = (points(&got), points(&wanted));
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(wanted) {
            // The rate of what was scraped is itself uneven.
            assert!((got.2 / wanted.2 - 1.0).abs() < 0.1, "{got:?} {wanted:?}");
        }
    }
}

/// What copies add to a day of scrapes as those of machines and objects are: half of the series
/// stand still, some count, some go up and down.
#[test]
fn copies_are_small_beside_the_samples() {
    let dir = folder();
    let clock = Set::new(START);
    let store = Store::open(dir.path(), options(&clock)).unwrap();
    let mut random = Random(7);
    let mut values = [0.0f64; 40];
    let all: Vec<_> = (0..40)
        .map(|n| store.resolve(&labels(n)).unwrap())
        .collect();
    let mut at = START + 1;
    let mut apart = (0, 0);
    while at < START + DAY + 5 * HOUR {
        clock.0.store(at, Ordering::SeqCst);
        for (number, value) in values.iter_mut().enumerate() {
            *value = match number {
                0..20 => number as f64,
                20..26 if random.next(4) > 0 => *value,
                20..32 => *value + random.next(50) as f64,
                32..34 => *value + random.next(1000) as f64 / 100.0,
                34..37 => 1e9 + 4096.0 * random.next(10_000) as f64,
                _ => random.next(10_000) as f64 / 100.0,
            };
        }
        let samples = all.iter().zip(&values).map(|(series, value)| Sample {
            series: *series,
            at,
            value: towpath_signals::Value::Float(*value),
            start: None,
        });
        store.append(&samples.collect::<Vec<_>>()).unwrap();
        if (at / 15_000) % 120 == 0 {
            store.maintain().unwrap();
            let stats = store.stats();
            if stats.segments >= 11 {
                apart = (stats.segment_bytes, stats.segment_samples);
            }
        }
        at += 15_000;
    }
    store.maintain().unwrap();
    let stats = store.stats();
    assert!(stats.segments < 4, "{}", stats.segments);
    let of = |(bytes, samples): (u64, u64)| bytes as f64 / samples as f64;
    let (before, after) = (of(apart), of((stats.segment_bytes, stats.segment_samples)));
    println!("{before:.3} bytes a sample in segments of two hours, {after:.3} in days with copies");
    assert!(after < 1.15 * before, "{before} {after}");
}
