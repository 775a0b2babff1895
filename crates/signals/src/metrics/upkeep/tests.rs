//! A crash at every step of upkeep: what was durable before is there after.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::AtomicI64;

use towpath_query::promql::{Hints, Labels, Source};

use super::*;
use crate::metrics::Options;
use crate::{Append, Sample, SeriesRef, Value};

thread_local! {
    pub(super) static STEP: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

struct Set(AtomicI64, Instant);

impl Clock for Set {
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst) as u64)
    }

    fn monotonic(&self) -> Instant {
        self.1 + self.since_epoch()
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = folder();
    fs::create_dir(to.path().join("wal")).unwrap();
    for part in ["", "wal"] {
        for entry in fs::read_dir(from.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let target: PathBuf = to.path().join(part).join(path.file_name().unwrap());
                fs::copy(path, target).unwrap();
            }
        }
    }
    to
}

fn open(dir: &Path, clock: &Arc<Set>) -> Arc<Store> {
    let mut options = Options::new(Arc::clone(clock) as Arc<dyn Clock>);
    options.background = false;
    options.block_ms = 6 * 3_600_000;
    Store::open(dir, options).unwrap()
}

fn labels(number: usize) -> Labels {
    let pairs = [("__name__", "up".to_owned()), ("n", number.to_string())];
    pairs.into_iter().collect()
}

fn count(store: &Store) -> usize {
    let hints = Hints {
        start: 0,
        end: i64::MAX,
        step: 0,
        range: 0,
        function: "",
    };
    let all = store.select(&[], &hints).unwrap();
    all.map(|series| {
        let series = series.unwrap();
        assert!(series.floats.times.is_sorted_by(|a, b| a < b));
        let right = |(at, value): (i64, f64)| (at / 1000) as f64 == value;
        assert!(series.floats.iter().all(right));
        series.floats.len()
    })
    .sum()
}

fn scrape(store: &Store, series: &[SeriesRef], at: i64) {
    let sample = |series: &SeriesRef| Sample {
        series: *series,
        at,
        value: Value::Float((at / 1000) as f64),
        start: None,
    };
    let samples: Vec<Sample> = series.iter().map(sample).collect();
    assert_eq!(store.append(&samples).unwrap().taken, series.len());
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    const START: i64 = 1_700_006_400_000;
    let clock = Arc::new(Set(AtomicI64::new(START), Instant::now()));
    let dir = folder();
    let store = open(dir.path(), &clock);
    let series: Vec<SeriesRef> = (0..3).map(|n| store.resolve(&labels(n)).unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let steps = Rc::new(RefCell::new(0));
    let mut wanted = 0;
    for round in 0..60 * 2 {
        let at = START + round * 1_800_000;
        clock.0.store(at, Ordering::SeqCst);
        scrape(&store, &series, at);
        wanted += series.len();
        runtime.block_on(store.sync()).unwrap();
        let (from, steps, clock) = (dir.path().to_owned(), Rc::clone(&steps), Arc::clone(&clock));
        STEP.set(Some(Box::new(move || {
            *steps.borrow_mut() += 1;
            let crashed = copy(&from);
            let store = open(crashed.path(), &clock);
            assert_eq!(store.replayed.damage, []);
            assert_eq!(count(&store), wanted);
            // It goes on, and its own upkeep finds nothing in its way.
            let again = store.resolve(&labels(1)).unwrap();
            scrape(&store, &[again], at + 1000);
            store.maintain().unwrap();
            assert_eq!(count(&store), wanted + 1);
        })));
        store.maintain().unwrap();
        STEP.set(None);
        assert_eq!(count(&store), wanted);
    }
    assert!(*steps.borrow() > 300, "{}", steps.borrow());
}
