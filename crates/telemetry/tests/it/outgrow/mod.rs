//! Outgrowing beside the real Prometheus server: it reads from here, takes what is copied, and is
//! asked for what is older.

mod before;
mod copied;
mod held;
mod others;
mod served;
pub(crate) mod server;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use towpath_query::promql::{Histogram, Labels, ResetHint, stale};
use towpath_signals::metrics::{Options, Store};
use towpath_signals::{Append, Sample, Value};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::prometheus::{Api, NoRules, NoTargets, Parts, Settings};

pub(crate) const STEP: i64 = 15_000;

pub(crate) fn now() -> i64 {
    i64::try_from(SystemClock.since_epoch().as_millis()).unwrap() / STEP * STEP
}

pub(crate) fn store(dir: &std::path::Path) -> Arc<Store> {
    let mut options = Options::new(Arc::new(SystemClock));
    options.out_of_order_ms = 0;
    Store::open(dir, options).unwrap()
}

/// The API of Prometheus over samples.
pub(crate) fn api(read: Arc<dyn towpath_signals::Read>) -> axum::Router {
    let api = Api::new(Parts {
        read,
        targets: Arc::new(NoTargets),
        rules: Arc::new(NoRules),
        remove: None,
        clock: Arc::new(SystemClock),
        settings: Settings::default(),
    });
    api.router(None)
}

/// Some series of every kind at one time: numbers that grow and start anew, such that go away, and
/// histograms. `at` counts the steps.
pub(crate) fn step(store: &dyn Append, time: i64, at: i64) {
    let labels = |name: &str, job: &str| -> Labels {
        [("__name__", name), ("job", job)].into_iter().collect()
    };
    let mut samples = Vec::new();
    let mut put = |labels: Labels, value: Value| {
        samples.push(Sample {
            series: store.resolve(&labels).unwrap(),
            at: time,
            value,
            start: None,
        });
    };
    for (job, speed) in [("a", 1), ("b", 7)] {
        let count = (at * speed % 60) as f64;
        put(labels("things_total", job), Value::Float(count));
        let level = (at as f64 / 3.0).sin();
        put(labels("level", job), Value::Float(level));
    }
    let there = at % 20 < 10;
    if there || at % 20 == 10 {
        let value = if there { 1.0 } else { stale() };
        put(labels("sometimes", "c"), Value::Float(value));
    }
    let count = at as f64;
    let histogram = Histogram {
        hint: ResetHint::Unknown,
        schema: 1,
        zero_threshold: 1e-128,
        zero_count: 1.0,
        count: 1.0 + 3.0 * count,
        sum: 2.5 * count,
        positive: vec![(-1, count), (0, count), (4, count)],
        ..Histogram::default()
    };
    put(
        labels("took_seconds", "a"),
        Value::Histogram(Arc::new(histogram)),
    );
    let outcome = store.append(&samples).unwrap();
    assert_eq!(outcome.refused, []);
}

/// Queries whose answers must be equal here and there.
pub(crate) const QUERIES: [&str; 9] = [
    "things_total",
    "rate(things_total[5m])",
    "sum by (job) (increase(things_total[10m]))",
    "avg_over_time(level[3m])",
    "sometimes",
    "count_over_time(sometimes[20m])",
    "took_seconds",
    "histogram_quantile(0.9, rate(took_seconds[5m]))",
    "{job=~\"a|c\",__name__!=\"level\"}",
];

/// The result of a range query, in order of the labels.
pub(crate) fn range(base: &str, query: &str, start: i64, end: i64) -> Json {
    let path = format!(
        "/api/v1/query_range?query={}&start={}&end={}&step=15",
        escaped(query),
        start / 1000,
        end / 1000
    );
    let (status, body) = server::get(base, &path);
    let reply: Json = serde_json::from_str(&body).unwrap_or(Json::Null);
    assert_eq!(status, 200, "{query}: {body}");
    let mut result = reply["data"]["result"].as_array().cloned().unwrap();
    result.sort_by_key(|series| series["metric"].to_string());
    Json::Array(result)
}

pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// All queries, here and there.
pub(crate) fn equal(here: &str, there: &str, start: i64, end: i64) {
    for query in QUERIES {
        let (own, other) = (
            range(here, query, start, end),
            range(there, query, start, end),
        );
        assert_ne!(own, serde_json::json!([]), "{query} has an answer");
        assert!(own == other, "{query}: {}", differs(&own, &other));
    }
}

/// The first place where two results differ.
fn differs(own: &Json, other: &Json) -> String {
    let (own, other) = (own.to_string(), other.to_string());
    let same = own.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
    let at = same.count().saturating_sub(150);
    let part = |text: &str| text.chars().skip(at).take(300).collect::<String>();
    format!("…{}\nthere …{}", part(&own), part(&other))
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}: not within a minute");
}
