//! What the process counts of itself: counters, gauges and histograms by name and labels, cheap
//! enough for every request. Who counts keeps a handle; who shows asks for a [`read`].
//!
//! One registry for the process. Asking for the same name and labels again gives the same number;
//! a family holds at most [`SERIES`] of them, and what is asked for beyond counts for nobody.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most series of one family.
pub const SERIES: usize = 5_000;

/// Seconds, from half a millisecond to a minute: the bounds that dashboards of API servers ask for
/// are among them.
pub const LATENCY: &[f64] = &[
    0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
];

/// Only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// More, or less where negative.
    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Now this.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

/// How long things took.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self(Arc::new(Buckets {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            nanos: AtomicU64::new(0),
        }))
    }

    /// One that took so long.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.0.bounds.partition_point(|bound| *bound < seconds);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn read(&self) -> Number {
        let mut so_far = 0;
        let mut cumulative = Vec::with_capacity(self.0.bounds.len());
        for (at, count) in self.0.counts.iter().enumerate() {
            so_far += count.load(Ordering::Relaxed);
            if let Some(bound) = self.0.bounds.get(at) {
                cumulative.push((*bound, so_far));
            }
        }
        Number::Histogram {
            buckets: cumulative,
            sum: self.0.nanos.load(Ordering::Relaxed) as f64 / 1e9,
            count: so_far,
        }
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(i64),
    /// Of a histogram: upper bounds with cumulative counts, seconds.
    Histogram {
        /// All bounds but the last, which is infinite.
        buckets: Vec<(f64, u64)>,
        /// Seconds in all.
        sum: f64,
        /// How many in all.
        count: u64,
    },
}

/// Names and values of labels.
pub type Labels = Vec<(&'static str, String)>;

/// A family that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Its series, in order of their labels.
    pub series: Vec<(Labels, Number)>,
}

#[derive(Clone)]
enum Meter {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

struct Known {
    help: &'static str,
    series: BTreeMap<Labels, Meter>,
}

static REGISTRY: Mutex<BTreeMap<&'static str, Known>> = Mutex::new(BTreeMap::new());

fn meter(
    name: &'static str,
    help: &'static str,
    labels: &[(&'static str, &str)],
    new: impl FnOnce() -> Meter,
) -> Meter {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let known = registry.entry(name).or_insert_with(|| Known {
        help,
        series: BTreeMap::new(),
    });
    let labels: Labels = labels
        .iter()
        .map(|(name, value)| (*name, (*value).to_string()))
        .collect();
    if let Some(meter) = known.series.get(&labels) {
        return meter.clone();
    }
    let meter = new();
    if known.series.len() < SERIES {
        known.series.insert(labels, meter.clone());
    }
    meter
}

/// The counter of a name and labels.
pub fn counter(name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Counter {
    match meter(name, help, labels, || Meter::Counter(Counter::default())) {
        Meter::Counter(counter) => counter,
        // The name is another kind of number: counts for nobody.
        _ => Counter::default(),
    }
}

/// The gauge of a name and labels.
pub fn gauge(name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
    match meter(name, help, labels, || Meter::Gauge(Gauge::default())) {
        Meter::Gauge(gauge) => gauge,
        _ => Gauge::default(),
    }
}

/// The histogram of a name and labels; `bounds` ascend, in seconds.
pub fn histogram(
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    labels: &[(&'static str, &str)],
) -> Histogram {
    match meter(name, help, labels, || {
        Meter::Histogram(Histogram::new(bounds))
    }) {
        Meter::Histogram(histogram) => histogram,
        _ => Histogram::new(bounds),
    }
}

/// Families whose names a test accepts, as they are now.
pub fn read(wanted: impl Fn(&str) -> bool) -> Vec<Family> {
    let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let families = registry.iter().filter(|(name, _)| wanted(name));
    families
        .map(|(name, known)| Family {
            name,
            help: known.help,
            series: known
                .series
                .iter()
                .map(|(labels, meter)| {
                    let number = match meter {
                        Meter::Counter(counter) => Number::Counter(counter.get()),
                        Meter::Gauge(gauge) => Number::Gauge(gauge.0.load(Ordering::Relaxed)),
                        Meter::Histogram(histogram) => histogram.read(),
                    };
                    (labels.clone(), number)
                })
                .collect(),
        })
        .collect()
}

/// The same in the text format 0.0.4.
pub fn text(wanted: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    for family in read(wanted) {
        let kind = match family.series.first() {
            Some((_, Number::Counter(_))) => "counter",
            Some((_, Number::Gauge(_))) => "gauge",
            Some((_, Number::Histogram { .. })) => "histogram",
            None => continue,
        };
        let name = family.name;
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        for (labels, number) in &family.series {
            match number {
                Number::Counter(value) => line(&mut out, name, "", labels, None, value),
                Number::Gauge(value) => line(&mut out, name, "", labels, None, value),
                Number::Histogram {
                    buckets,
                    sum,
                    count,
                } => {
                    for (bound, count) in buckets {
                        let bound = bound.to_string();
                        line(&mut out, name, "_bucket", labels, Some(&bound), count);
                    }
                    line(&mut out, name, "_bucket", labels, Some("+Inf"), count);
                    line(&mut out, name, "_sum", labels, None, sum);
                    line(&mut out, name, "_count", labels, None, count);
                }
            }
        }
    }
    out
}

fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &Labels,
    bound: Option<&str>,
    value: &dyn std::fmt::Display,
) {
    let _ = write!(out, "{name}{suffix}");
    let own = labels.iter().map(|(name, value)| (*name, value.as_str()));
    let mut before = '{';
    for (name, value) in own.chain(bound.map(|bound| ("le", bound))) {
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        let _ = write!(out, "{before}{name}=\"{value}\"");
        before = ',';
    }
    let close = if before == ',' { "}" } else { "" };
    let _ = writeln!(out, "{close} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shared_by_name_and_labels() {
        let one = counter("t_seen_total", "Seen.", &[("kind", "a\"b")]);
        counter("t_seen_total", "Seen.", &[("kind", "a\"b")]).add(2);
        one.inc();
        assert_eq!(one.get(), 3);
        // Another kind under the same name is nobody's.
        gauge("t_seen_total", "Seen.", &[("kind", "a\"b")]).set(9);
        let wait = histogram("t_wait_seconds", "Wait.", &[0.1, 1.0], &[]);
        for ms in [50, 100, 500, 5000] {
            wait.observe(Duration::from_millis(ms));
        }
        gauge("t_depth", "Depth.", &[]).add(-2);
        assert_eq!(
            text(|name| name.starts_with("t_")),
            "# HELP t_depth Depth.\n# TYPE t_depth gauge\nt_depth -2\n\
             # HELP t_seen_total Seen.\n# TYPE t_seen_total counter\n\
             t_seen_total{kind=\"a\\\"b\"} 3\n\
             # HELP t_wait_seconds Wait.\n# TYPE t_wait_seconds histogram\n\
             t_wait_seconds_bucket{le=\"0.1\"} 2\nt_wait_seconds_bucket{le=\"1\"} 3\n\
             t_wait_seconds_bucket{le=\"+Inf\"} 4\nt_wait_seconds_sum 5.65\n\
             t_wait_seconds_count 4\n"
        );
    }

    #[test]
    fn a_family_is_bounded() {
        for n in 0..SERIES + 10 {
            counter("b_many_total", "Many.", &[("n", &n.to_string())]).inc();
        }
        assert_eq!(read(|name| name == "b_many_total")[0].series.len(), SERIES);
    }
}
