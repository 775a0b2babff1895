//! The store of metrics at scale, by hand: how fast it answers, what it takes, how soon it is back.
//!
//! ```text
//! scale fill <folder> <series> <hours>   writes samples 15 s apart and moves them into segments
//! scale query <folder> [substring] [runs] times queries as dashboards ask them, over all that is there
//! scale head <folder> <series> <samples> memory of a head
//! scale open <folder>                    time and memory of a restart, then time of a count of all
//! ```

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)] // a tool

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use towpath_query::promql::{self, Labels, Settings};
use towpath_signals::metrics::{Options, Store};
use towpath_signals::{Append, Sample, SeriesRef, Value};
use towpath_stdx::Clock;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STEP: i64 = 15_000;
/// A multiple of a day.
const START: i64 = 1_780_272_000_000;

struct Now(AtomicI64, Instant);

impl Clock for Now {
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed) as u64)
    }

    fn monotonic(&self) -> Instant {
        self.1
    }
}

fn options(clock: &Arc<Now>) -> Options {
    Options {
        background: false,
        // Whenever it is asked to look after itself.
        checkpoint: Duration::ZERO,
        memory_bytes: 16 << 30,
        ..Options::new(Arc::clone(clock) as Arc<dyn Clock>)
    }
}

/// Series as a cluster has them: 100 metrics, of containers.
fn labels(at: usize) -> Labels {
    let metric = at % 100;
    let container = at / 100;
    let pod = container / 2;
    let kind = ["total", "bytes"][metric % 2];
    [
        ("__name__", format!("container_metric_{metric:02}_{kind}")),
        ("namespace", format!("team-{}", pod % 20)),
        ("pod", format!("service-{}-7d9f8c6b5d-{pod:05x}", pod % 50)),
        ("container", ["app", "sidecar"][container % 2].to_owned()),
        ("node", format!("node-{}", pod % 30)),
        ("instance", format!("10.0.{}.1:10250", pod % 30)),
        ("job", "kubelet".to_owned()),
        (
            "image",
            format!("registry.example/service-{}:v{}", pod % 50, pod % 7),
        ),
        (
            "id",
            format!(
                "/kubepods/burstable/pod{:08x}-aaaa-bbbb/{:016x}",
                pod,
                container * 7919
            ),
        ),
        ("cluster", "main".to_owned()),
    ]
    .into_iter()
    .collect()
}

/// Steady random numbers.
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

struct State {
    values: Vec<f64>,
    refs: Vec<SeriesRef>,
}

impl State {
    fn step(&mut self, tick: u64) {
        for (at, value) in self.values.iter_mut().enumerate() {
            let random = mix(tick << 32 | at as u64);
            match at % 100 {
                // Seconds in hundredths, as kernels count them, that only grow.
                metric if metric % 2 == 0 && metric % 10 < 4 => {
                    *value = ((*value * 100.0).round() + (random % 1500) as f64) / 100.0;
                }
                // Sums of fractions.
                metric if metric % 2 == 0 && metric % 10 < 6 => {
                    *value += (random % 1500) as f64 / 1000.0;
                }
                // Whole numbers that only grow.
                metric if metric % 2 == 0 => *value += (random % 1000) as f64,
                // Bytes in pages.
                metric if metric % 10 < 7 => {
                    if random.is_multiple_of(4) {
                        *value = ((random >> 8) % 100_000 * 4096) as f64;
                    }
                }
                // What hardly ever changes.
                _ => {
                    if random.is_multiple_of(1000) {
                        *value = ((random >> 8) % 100) as f64;
                    }
                }
            }
        }
    }
}

fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 1024
    };
    (of("VmRSS"), of("VmHWM"))
}

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let rest = stat.rsplit(')').next().unwrap();
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<f64>().unwrap();
    (next() + next()) / 100.0
}

fn fill(dir: &Path, series: usize, ticks: usize, flush: bool) -> (Arc<Store>, Arc<Now>) {
    let clock = Arc::new(Now(AtomicI64::new(START), Instant::now()));
    let store = Store::open(dir, options(&clock)).unwrap();
    let refs = (0..series)
        .map(|at| store.resolve(&labels(at)).unwrap())
        .collect();
    let mut state = State {
        values: vec![0.0; series],
        refs,
    };
    println!("{series} series made: {:?} MiB", resident());
    let mut batch = Vec::with_capacity(10_000);
    let begun = cpu();
    for tick in 0..ticks {
        // Targets are scraped at different times.
        let at = START + tick as i64 * STEP;
        clock.0.store(at + STEP, Ordering::Relaxed);
        state.step(tick as u64);
        for (index, (series, value)) in state.refs.iter().zip(&state.values).enumerate() {
            let at = at + (index / 100 % 150) as i64 * 100;
            batch.push(Sample {
                series: *series,
                at,
                value: Value::Float(*value),
                start: None,
            });
            if batch.len() == 10_000 {
                assert_eq!(store.append(&batch).unwrap().refused_count, 0);
                batch.clear();
            }
        }
        assert_eq!(store.append(&batch).unwrap().refused_count, 0);
        batch.clear();
        // Of a head, the log holds the last five minutes.
        let due = if flush {
            tick % 20 == 19
        } else {
            tick + 20 == ticks
        };
        if due {
            store.maintain().unwrap();
        }
    }
    let samples = (series * ticks) as f64;
    println!(
        "{:.2} M samples a CPU-second",
        samples / (cpu() - begun) / 1e6
    );
    (store, clock)
}

const QUERIES: &[&str] = &[
    "sum by (namespace) (container_metric_01_bytes)",
    "sum by (namespace) (rate(container_metric_00_total[5m]))",
    "sum by (pod) (rate(container_metric_02_total{namespace=\"team-3\"}[5m]))",
    "rate(container_metric_00_total{pod=~\"service-7-.*\"}[5m])",
    "container_metric_03_bytes{pod=~\"service-9-.*\",container=\"app\"}",
    "topk(5, sum by (pod) (rate(container_metric_04_total[5m])))",
    "sum(container_metric_09_bytes) by (node) / sum(container_metric_05_bytes) by (node)",
    "count(container_metric_07_bytes)",
    "max by (node) (max_over_time(container_metric_11_bytes[10m]))",
    "avg by (image) (container_metric_13_bytes{namespace=~\"team-(1|2|3)\"})",
    "sum(rate(container_metric_06_total{container!=\"\",image!=\"\"}[5m])) without (id, image)",
    "histogram_quantile(0.9, sum by (le, job) (rate(container_metric_08_total[5m])))",
    "sum by (namespace) ({__name__=~\"container_metric_0[0-9]_total\"})",
];

fn query(dir: &Path, only: &str, runs: usize) {
    let clock = Arc::new(Now(AtomicI64::new(START), Instant::now()));
    let store = Store::open(dir, options(&clock)).unwrap();
    let stats = store.stats();
    let (first, last) = store_times(&store);
    println!(
        "{} series in the head, {} samples in {} segments, {:.2} bytes each, {:?} MiB",
        stats.series,
        stats.segment_samples,
        stats.segments,
        stats.segment_bytes as f64 / stats.segment_samples.max(1) as f64,
        resident()
    );
    let spans = [
        ("24h", 86_400_000, 240_000),
        ("1h", 3_600_000, 15_000),
        ("now", 0, 0),
    ];
    for text in QUERIES.iter().filter(|query| query.contains(only)) {
        let expr = promql::parse(text).unwrap();
        print!("{text}\n    ");
        for (name, length, step) in spans {
            let from = (last - length).max(first);
            let mut best = f64::MAX;
            let mut series = 0;
            for _ in 0..runs {
                let settings = Settings {
                    max_samples: 500_000_000,
                    ..Settings::default()
                };
                let begun = cpu_ns();
                let answer = match step {
                    0 => promql::instant(&expr, last, &*store, &settings),
                    _ => promql::range(&expr, from, last, step, &*store, &settings),
                };
                series = match answer.unwrap().value {
                    promql::Value::Matrix(all) => all.len(),
                    promql::Value::Vector(all) => all.len(),
                    _ => 0,
                };
                best = best.min((cpu_ns() - begun) as f64 / 1e6);
            }
            print!("{name} {best:.2} ms ({series})  ");
        }
        println!();
    }
    println!("{:?} MiB", resident());
}

fn open(dir: &Path) {
    let clock = Arc::new(Now(AtomicI64::new(START), Instant::now()));
    let (begun, used) = (Instant::now(), cpu());
    let store = Store::open(dir, options(&clock)).unwrap();
    let stats = store.stats();
    println!(
        "back after {:.2} s, {:.2} CPU-s; {} series, {:?} MiB, {:?}",
        begun.elapsed().as_secs_f64(),
        cpu() - used,
        stats.series,
        resident(),
        stats.replayed.bytes
    );
    let expr = promql::parse("count({__name__!=\"\"})").unwrap();
    let (_, last) = store_times(&store);
    let (begun, used) = (Instant::now(), cpu());
    let counted = promql::instant(&expr, last, &*store, &Settings::default()).unwrap();
    println!(
        "{:?} after {:.2} s, {:.2} CPU-s",
        counted.value,
        begun.elapsed().as_secs_f64(),
        cpu() - used
    );
}

fn cpu_ns() -> u64 {
    // Brings the figure up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn store_times(store: &Store) -> (i64, i64) {
    let oldest = store.stats().oldest.unwrap();
    let newest = towpath_signals::Read::cardinality(store, 0).times;
    (oldest, newest.map_or(oldest, |(_, last)| last))
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = Path::new(&args[2]);
    let number = |at: usize| args[at].parse::<usize>().unwrap();
    match args[1].as_str() {
        "fill" => {
            let ticks = number(4) * 240;
            let (store, _) = fill(dir, number(3), ticks, true);
            store.close();
            println!("{:?} MiB, {:?}", resident(), store.stats().segments);
        }
        "query" => {
            let runs = args.get(4).map_or(4, |runs| runs.parse().unwrap());
            query(dir, args.get(3).map_or("", String::as_str), runs);
        }
        "head" => {
            let (store, _) = fill(dir, number(3), number(4), false);
            let stats = store.stats();
            let series = stats.series.max(1);
            println!(
                "head: {} MiB and {} bytes a series counted, {:?} MiB resident, {} chunks",
                stats.memory_bytes >> 20,
                stats.memory_bytes / series,
                resident(),
                towpath_signals::Read::cardinality(&*store, 0).chunks
            );
            store.close();
        }
        "open" => open(dir),
        other => panic!("what is {other}?"),
    }
}
