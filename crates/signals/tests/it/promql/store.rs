//! The durable store under the runner of scripts.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use towpath_query::promql::{Hints, Histogram, Labels, Matcher, Notated, Series, Source};
use towpath_signals::metrics::{self, Options};
use towpath_signals::{Append, Read, Refused, Sample, Value};
use towpath_stdx::Clock;

use super::memory;

thread_local! {
    /// Whether what is loaded goes through a restart and, in part, into a segment.
    pub(super) static MOVED: Cell<bool> = const { Cell::new(false) };
}

/// Far in the future, so that nothing a script loads is.
struct Late;

impl Clock for Late {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(1 << 40)
    }

    #[allow(clippy::disallowed_methods)] // a clock
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

pub(super) struct Store {
    store: Arc<metrics::Store>,
    dir: tempfile::TempDir,
    /// The same after a restart, half of the samples in a segment.
    moved: OnceLock<(Arc<metrics::Store>, tempfile::TempDir)>,
}

fn options() -> Options {
    Options {
        block_ms: 1 << 50,
        background: false,
        ..Options::new(Arc::new(Late))
    }
}

impl Default for Store {
    fn default() -> Self {
        let dir = crate::folder();
        let store = metrics::Store::open(dir.path(), options()).unwrap();
        let moved = OnceLock::new();
        Self { store, dir, moved }
    }
}

impl Store {
    fn restarted(&self) -> (Arc<metrics::Store>, tempfile::TempDir) {
        crate::wait(self.store.sync()).unwrap();
        let dir = crate::copy(self.dir.path());
        let store = metrics::Store::open(dir.path(), options()).unwrap();
        let times = self.store.cardinality(0).times.unwrap_or_default();
        store.flush(times.0 + (times.1 - times.0) / 2).unwrap();
        (store, dir)
    }
}

impl Store {
    fn append(&self, labels: &Labels, samples: impl Iterator<Item = (i64, Value)>) {
        let series = self.store.resolve(labels).unwrap();
        let samples: Vec<Sample> = samples
            .map(|(at, value)| Sample {
                series,
                at,
                value,
                start: None,
            })
            .collect();
        let outcome = self.store.append(&samples).unwrap();
        // A script gives one series twice; of two samples at a time the first one stays.
        let strange = |refused: &&(usize, Refused)| refused.1 != Refused::Duplicate;
        assert_eq!(outcome.refused.iter().find(strange), None, "{labels}");
    }

    pub(super) fn load(&mut self, labels: &Labels, values: &[Notated], step: i64) {
        self.moved = OnceLock::new();
        let value = |value: &Notated| match value {
            Notated::Gap => None,
            Notated::Float(value) => Some(Value::Float(*value)),
            Notated::Histogram(value, _) => {
                Some(Value::Histogram(Arc::new(Histogram::clone(value))))
            }
        };
        let samples = (0..).map(|at| at * step).zip(values);
        let samples = samples.filter_map(|(time, given)| Some((time, value(given)?)));
        self.append(labels, samples);
    }

    pub(super) fn load_converted(&mut self, loaded: &[(Labels, Vec<Notated>)], step: i64) {
        let mut converted = memory::Store::default();
        converted.load_converted(loaded, step);
        let all = crate::all(i64::MIN, i64::MAX);
        for series in converted.select(&[], &all).unwrap() {
            let series = series.unwrap();
            let samples = series.histograms.into_iter();
            self.append(
                &series.labels,
                samples.map(|(time, value)| (time, Value::Histogram(Arc::new(each_once(&value))))),
            );
        }
    }
}

/// The same with each bound once, as upstream converts it: a script gives one twice.
fn each_once(of: &Histogram) -> Histogram {
    let mut bounds = of.bounds.to_vec();
    bounds.retain(|bound| bound.is_finite());
    bounds.dedup();
    let mut positive: Vec<(i32, f64)> = Vec::new();
    for (index, count) in &of.positive {
        let bound = of.bounds.get(*index as usize);
        let at = bound.and_then(|bound| bounds.iter().position(|own| own == bound));
        let at = at.unwrap_or(bounds.len()) as i32;
        match positive.last_mut() {
            Some((last, sum)) if *last == at => *sum += count,
            _ => positive.push((at, *count)),
        }
    }
    Histogram {
        positive,
        bounds: bounds.into(),
        ..of.clone()
    }
}

impl Source for Store {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        if MOVED.get() {
            let (store, _) = self.moved.get_or_init(|| self.restarted());
            return store.select(matchers, hints);
        }
        self.store.select(matchers, hints)
    }
}
