//! Targets that are scraped over HTTP and inside the process, and what becomes of their series.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use towpath_daemon::CancellationToken;
use towpath_query::promql::{Settings, Value, instant, parse};
use towpath_signals::Append;
use towpath_signals::metrics::{Options, Store};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::family::{Family, Gather, GatherError};
use towpath_telemetry::prometheus::{Health, Targets};
use towpath_telemetry::scrape::config::{self, Job};
use towpath_telemetry::scrape::{Group, Pools};

/// What a target answers next.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<(u16, String, bool)>>);

impl Page {
    fn set(&self, status: u16, body: &str) {
        *self.0.lock() = (status, body.to_owned(), false);
    }
}

async fn answer(State(page): State<Page>, headers: HeaderMap) -> Response {
    let (status, mut body, gzip) = page.0.lock().clone();
    let asked = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    };
    assert!(asked("accept").starts_with("application/openmetrics-text;version=1.0.0"));
    assert_eq!(asked("x-prometheus-scrape-timeout-seconds"), "1");
    body += &format!("asked_with{{token=\"{}\"}} 1\n", asked("authorization"));
    let mut bytes = body.into_bytes();
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "text/plain");
    if gzip {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes).unwrap();
        bytes = packed.finish().unwrap();
        response = response.header("content-encoding", "gzip");
    }
    response
        .body(bytes.into())
        .unwrap_or_else(|_| "".into_response())
}

struct Place {
    store: Arc<Store>,
    pools: Pools,
    page: Page,
    address: String,
    cancel: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open(dir.path(), Options::new(Arc::clone(&clock))).unwrap();
        let page = Page::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = Router::new()
            .route("/metrics", get(answer))
            .with_state(page.clone());
        towpath_daemon::spawn("target of a test", axum::serve(listener, app).into_future());
        let cancel = CancellationToken::new();
        Self {
            pools: Pools::new(store.clone(), clock, cancel.clone()),
            store,
            page,
            address,
            cancel,
            _dir: dir,
        }
    }

    fn group(&self) -> Group {
        Group {
            source: "test".to_owned(),
            targets: vec![[("__address__".to_owned(), self.address.clone())].into()],
            labels: [("env".to_owned(), "test".to_owned())].into(),
        }
    }

    fn values(&self, query: &str) -> Vec<String> {
        let now = i64::try_from(SystemClock.since_epoch().as_millis()).unwrap();
        let settings = Settings::default();
        let answer = instant(&parse(query).unwrap(), now, &*self.store, &settings).unwrap();
        let Value::Vector(samples) = answer.value else {
            panic!("a vector")
        };
        samples
            .iter()
            .map(|sample| format!("{} {}", sample.labels, sample.value))
            .collect()
    }

    async fn until(&self, query: &str, expected: &[&str]) {
        let begin = Instant::now();
        loop {
            let values = self.values(query);
            if values == expected {
                return;
            }
            let late = begin.elapsed() > Duration::from_secs(20);
            assert!(!late, "{query}: {values:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn job(more: &str) -> Arc<Job> {
    let text = format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 1s\n  scrape_timeout: 1s\n{more}"
    );
    Arc::new(
        config::parse(&text, std::path::Path::new("."))
            .unwrap()
            .remove(0),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_target() {
    let place = Place::new().await;
    place.page.set(200, "a{x=\"1\",job=\"own\"} 1\nb 2\n");
    let job = job("  authorization: {credentials: s3}\n");
    place.pools.sync(&job, &[place.group()]);
    let target = format!("env=\"test\", instance=\"{}\", job=\"j\"", place.address);
    let up = format!("{{__name__=\"up\", {target}}}");
    place.until("up", &[&format!("{up} 1")]).await;
    let exported = target.replace("env=\"test\",", "env=\"test\", exported_job=\"own\",");
    place
        .until(
            "a",
            &[&format!("{{__name__=\"a\", {exported}, x=\"1\"}} 1")],
        )
        .await;
    place
        .until(
            "scrape_samples_scraped",
            &[&format!(
                "{{__name__=\"scrape_samples_scraped\", {target}}} 3"
            )],
        )
        .await;
    assert!(place.values("asked_with")[0].contains("token=\"Bearer s3\""));
    let active = place.pools.active();
    assert_eq!((active.len(), active[0].health), (1, Health::Up));
    assert_eq!(active[0].url, format!("http://{}/metrics", place.address));
    place
        .until(
            "scrape_series_added == 0",
            &[&format!("{{__name__=\"scrape_series_added\", {target}}} 0")],
        )
        .await;

    // A series that is gone ends at once; packed answers are read.
    *place.page.0.lock() = (200, "b 3\n".to_owned(), true);
    place.until("a", &[]).await;
    place
        .until("b", &[&format!("{{__name__=\"b\", {target}}} 3")])
        .await;

    // A body that breaks off brings nothing and ends everything.
    place.page.set(200, "b 4\nb{ 5\n");
    place.until("up", &[&format!("{up} 0")]).await;
    place.until("b", &[]).await;
    let error = place.pools.active()[0].last_error.clone();
    assert!(error.contains("line 2"), "{error}");

    place.page.set(503, "");
    place.until("up == 0", &[&format!("{up} 0")]).await;
    place.page.set(200, "b 6\n");
    place
        .until("b", &[&format!("{{__name__=\"b\", {target}}} 6")])
        .await;

    // The target is gone: its series end, that of its health too.
    place.pools.sync(&job, &[]);
    assert!(place.pools.active().is_empty());
    place.until("b", &[]).await;
    place.until("up", &[]).await;
    place.cancel.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_fail_scrapes_by_name() {
    let place = Place::new().await;
    place.page.set(200, "a{x=\"1\"} 1\na{x=\"2\"} 2\n");
    for (limit, error) in [
        ("sample_limit: 1", "sample limit exceeded"),
        (
            "label_limit: 2",
            "label_limit exceeded (metric: a, number of labels: 5, limit: 2)",
        ),
        (
            "label_value_length_limit: 3",
            "label_value_length_limit exceeded",
        ),
        ("body_size_limit: 10B", "body size limit exceeded"),
        (
            "target_limit: 1",
            "target_limit exceeded (number of targets: 2, limit: 1)",
        ),
    ] {
        let job = job(&format!("  {limit}\n"));
        let mut other = place.group();
        other.labels.insert("other".to_owned(), "yes".to_owned());
        let groups = match limit.starts_with("target") {
            true => vec![place.group(), other],
            false => vec![place.group()],
        };
        place.pools.sync(&job, &groups);
        let begin = Instant::now();
        loop {
            let active = place.pools.active();
            if active.iter().all(|own| own.last_error.contains(error)) {
                break;
            }
            let late = begin.elapsed() > Duration::from_secs(20);
            assert!(!late, "{limit}: {:?}", active[0].last_error);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    place.until("a", &[]).await;
    place.cancel.cancel();
}

struct Producer;

#[async_trait]
impl Gather for Producer {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let labels = vec![("cpu".into(), "0".into())];
        Ok(vec![
            Family::counter("node_cpu_seconds_total", "Seconds.").with(labels, 5.0),
        ])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_inside_the_process() {
    let place = Place::new().await;
    let job = job("");
    place.pools.gather(
        &job,
        "box",
        &[("node".to_owned(), "n1".to_owned())],
        Arc::new(Producer),
    );
    let target = "instance=\"box\", job=\"j\", node=\"n1\"";
    let labels = format!("{{__name__=\"node_cpu_seconds_total\", cpu=\"0\", {target}}}");
    place
        .until("node_cpu_seconds_total", &[&format!("{labels} 5")])
        .await;
    place
        .until("up", &[&format!("{{__name__=\"up\", {target}}} 1")])
        .await;
    let active = place.pools.active();
    let metadata = place.pools.metadata(&active[0]);
    assert_eq!(metadata["node_cpu_seconds_total"].kind, "counter");
    place.cancel.cancel();
}

/// A page of what there is.
struct Shown(&'static [&'static str]);

#[async_trait]
impl Gather for Shown {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let mut family = Family::gauge("kube_pod_info", "Pods.");
        for pod in self.0 {
            family = family.with(vec![("pod".into(), (*pod).into())], 1.0);
        }
        Ok(vec![family])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_while_the_server_was_down_is_over_at_once() {
    let place = Place::new().await;
    let job = job("");
    place
        .pools
        .gather(&job, "box", &[], Arc::new(Shown(&["stays", "goes"])));
    place.until("count(kube_pod_info)", &["{} 2"]).await;
    // What is derived is not the producer's to end.
    let now = i64::try_from(SystemClock.since_epoch().as_millis()).unwrap();
    let derived = [("__name__", "ALERTS"), ("instance", "box"), ("job", "j")];
    let series = place.store.resolve(&derived.into_iter().collect()).unwrap();
    let value = towpath_signals::Value::Float(1.0);
    let sample = towpath_signals::Sample {
        series,
        at: now,
        value,
        start: None,
    };
    place.store.append(&[sample]).unwrap();
    // As after a kill: nothing is marked.
    place.cancel.cancel();

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cancel = CancellationToken::new();
    let again = Pools::new(place.store.clone(), clock, cancel.clone());
    again.gather(&job, "box", &[], Arc::new(Shown(&["stays"])));
    place.until("count(kube_pod_info)", &["{} 1"]).await;
    place.until("count(ALERTS)", &["{} 1"]).await;
    place
        .until(
            "up == 1",
            &["{__name__=\"up\", instance=\"box\", job=\"j\"} 1"],
        )
        .await;
    cancel.cancel();
}
