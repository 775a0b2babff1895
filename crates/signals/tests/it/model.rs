//! The store beside a plain map of samples: random appends, late ones, restarts, crashes,
//! segments, compaction and deletes, with queries between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use towpath_query::promql::{Labels, MatchOp, Matcher, Source, stale};
use towpath_signals::metrics::Store;
use towpath_signals::{Append, Read, Refused, Sample, Value};

use crate::{Set, all, copy, folder, options, wait};

#[derive(Clone, Debug)]
enum Step {
    /// Some seconds pass and every n-th series gets a sample.
    Scrape(i64, usize, u8),
    /// A sample this many seconds late, of a series.
    Late(i64, usize, i8),
    /// Upkeep.
    Maintain,
    Restart,
    /// What was synced is copied away and opened.
    Crash,
    Select(usize, i64, i64),
    /// Deletes a series for some time back.
    Delete(usize, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (1i64..1200, 1usize..4, any::<u8>()).prop_map(|(s, n, v)| Step::Scrape(s, n, v)),
        4 => (1i64..900, 0usize..12, any::<i8>()).prop_map(|(s, n, v)| Step::Late(s, n, v)),
        4 => Just(Step::Maintain),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        4 => (0usize..6, 0i64..400_000, 0i64..400_000).prop_map(|(m, a, b)| Step::Select(m, a, b)),
        1 => (0usize..12, 0i64..50_000).prop_map(|(n, s)| Step::Delete(n, s)),
    ];
    prop::collection::vec(step, 50..400)
}

const SERIES: usize = 12;

fn labels(number: usize) -> Labels {
    let mut pairs = vec![
        ("__name__", format!("metric_{}", number % 3)),
        ("instance", format!("host-{}", number / 3)),
    ];
    if number.is_multiple_of(2) {
        pairs.push(("even", "yes".to_owned()));
    }
    pairs.into_iter().collect()
}

fn matchers(kind: usize) -> Vec<Matcher> {
    let new = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    match kind {
        0 => vec![],
        1 => vec![Matcher::equal("__name__", "metric_1")],
        2 => vec![new("instance", MatchOp::Regex, "host-(0|2)")],
        3 => vec![
            new("even", MatchOp::NotEqual, "yes"),
            new("__name__", MatchOp::Regex, "metric_.*"),
        ],
        4 => vec![
            new("even", MatchOp::Equal, ""),
            new("instance", MatchOp::NotRegex, "host-1|x"),
        ],
        _ => vec![
            new("instance", MatchOp::Regex, ".*[13]"),
            new("even", MatchOp::Regex, ".+"),
        ],
    }
}

type Model = BTreeMap<Labels, BTreeMap<i64, u64>>;

const START: i64 = 1_700_000_000_000;

struct Run {
    clock: Arc<Set>,
    dir: tempfile::TempDir,
    store: Option<Arc<Store>>,
    model: Model,
    now: i64,
}

impl Run {
    fn new() -> Self {
        let clock = Set::new(START);
        let dir = folder();
        let store = Store::open(dir.path(), options(&clock)).unwrap();
        Self {
            clock,
            dir,
            store: Some(store),
            model: Model::new(),
            now: START,
        }
    }

    fn store(&self) -> &Arc<Store> {
        self.store.as_ref().unwrap()
    }

    fn append(&mut self, number: usize, at: i64, value: f64) -> Result<(), Refused> {
        let labels = labels(number);
        let store = self.store();
        let series = store.resolve(&labels).unwrap();
        let sample = Sample {
            series,
            at,
            value: Value::Float(value),
            start: None,
        };
        let outcome = store.append(&[sample]).unwrap();
        if let Some((_, why)) = outcome.refused.into_iter().next() {
            return Err(why);
        }
        let samples = self.model.entry(labels).or_default();
        let before = samples.insert(at, value.to_bits());
        assert!(before.is_none_or(|before| before == value.to_bits()));
        Ok(())
    }

    fn select(&self, matchers: &[Matcher], start: i64, end: i64) {
        let hints = all(start, end);
        let mut got = Model::new();
        for series in self.store().select(matchers, &hints).unwrap() {
            let series = series.unwrap();
            assert!(series.floats.times.is_sorted_by(|a, b| a < b));
            let samples = series.floats.iter().map(|(t, v)| (t, v.to_bits()));
            let before = got.insert(series.labels, samples.collect());
            assert!(before.is_none(), "each series once");
        }
        let passes = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name)));
        let mut wanted = Model::new();
        for (labels, samples) in self.model.iter().filter(|(labels, _)| passes(labels)) {
            let within: BTreeMap<_, _> =
                samples.range(start..=end).map(|(t, v)| (*t, *v)).collect();
            if !within.is_empty() {
                wanted.insert(labels.clone(), within);
            }
        }
        assert_eq!(got, wanted);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Scrape(seconds, every, value) => {
                self.now += seconds * 1000;
                self.clock.0.store(self.now, Ordering::SeqCst);
                for number in (0..SERIES).step_by(*every) {
                    let value = match value % 16 {
                        0 => stale(),
                        15 => f64::from(*value) / 7.0,
                        low => f64::from(low) * 0.5 + number as f64,
                    };
                    self.append(number, self.now, value).unwrap();
                }
            }
            Step::Late(seconds, number, value) => {
                let at = self.now - seconds * 1000;
                let there = self
                    .model
                    .get(&labels(*number))
                    .and_then(|s| s.get(&at))
                    .copied();
                let value = f64::from(*value);
                match self.append(*number, at, value) {
                    Ok(()) => {}
                    Err(Refused::TooOld) => assert!(*seconds > 600, "{seconds}"),
                    Err(Refused::Duplicate) => assert_ne!(there, Some(value.to_bits())),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Maintain => self.store().maintain().unwrap(),
            Step::Restart => {
                self.store = None;
                self.store = Some(Store::open(self.dir.path(), options(&self.clock)).unwrap());
                assert_eq!(self.store().stats().replayed.damage, []);
            }
            Step::Crash => {
                wait(self.store().sync()).unwrap();
                let dir = copy(self.dir.path());
                self.store = Some(Store::open(dir.path(), options(&self.clock)).unwrap());
                self.dir = dir;
                assert_eq!(self.store().stats().replayed.damage, []);
            }
            Step::Select(kind, from, length) => {
                let start = self.now - from * 1000;
                self.select(&matchers(*kind), start, start + length * 1000);
            }
            Step::Delete(number, seconds) => {
                let labels = labels(*number);
                let matchers: Vec<Matcher> = labels
                    .iter()
                    .map(|(name, value)| Matcher::equal(name, value))
                    .chain((!number.is_multiple_of(2)).then(|| Matcher::equal("even", "")))
                    .collect();
                // Late samples that come after would be out of sight too.
                let (start, end) = (self.now - seconds * 1000, self.now - 2_000_000);
                self.store().delete(matchers, start, end).unwrap();
                if let Some(samples) = self.model.get_mut(&labels) {
                    samples.retain(|at, _| *at < start || *at > end);
                }
                if seconds % 3 == 0 {
                    self.store().clean().unwrap();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_of_samples(steps in steps()) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
        run.select(&[], i64::MIN, i64::MAX);
        let all = run.store().series(&[], i64::MIN, i64::MAX, 0).unwrap();
        let wanted: Vec<&Labels> =
            run.model.iter().filter(|(_, s)| !s.is_empty()).map(|(labels, _)| labels).collect();
        // A series whose samples are deleted may still be named.
        prop_assert!(wanted.iter().all(|labels| all.contains(labels)));
    }
}

#[test]
fn weeks_are_compacted_and_dropped() {
    let clock = Set::new(START);
    let dir = folder();
    let mut options = options(&clock);
    options.retention_ms = 9 * 86_400_000;
    let store = Store::open(dir.path(), options).unwrap();
    let series: Vec<_> = (0..SERIES)
        .map(|n| store.resolve(&labels(n)).unwrap())
        .collect();
    let mut most = 0;
    for minute in 0..(20 * 24 * 60 / 5) {
        let at = START + minute * 300_000;
        clock.0.store(at, Ordering::SeqCst);
        let samples: Vec<Sample> = series
            .iter()
            .map(|series| Sample {
                series: *series,
                at,
                value: Value::Float(minute as f64),
                start: None,
            })
            .collect();
        assert_eq!(store.append(&samples).unwrap().taken, SERIES);
        if minute % 12 == 0 {
            store.maintain().unwrap();
            most = most.max(store.stats().segments);
        }
    }
    let stats = store.stats();
    assert!(most < 30, "{most} segments at once");
    assert!(stats.segments < 25);
    let last = START + (20 * 24 * 60 / 5 - 1) * 300_000;
    let kept = last - stats.oldest.unwrap();
    // What is joined into a week goes when the whole of it is too old.
    assert!(
        (9 * 86_400_000..17 * 86_400_000).contains(&kept),
        "{}",
        kept / 86_400_000
    );
    let on_disk: u64 = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".seg"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert_eq!(on_disk, stats.segment_bytes);
}
