//! Collection as a service: configured targets, lists that change, producers inside the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use towpath_daemon::{CancellationToken, Services};
use towpath_query::promql::{Settings, Value, instant, parse};
use towpath_signals::metrics::{Options, Store};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::collect::{Collection, Parts};
use towpath_telemetry::family::{Family, Gather, GatherError};
use towpath_telemetry::prometheus::Targets;
use towpath_telemetry::scrape::Pools;
use towpath_telemetry::scrape::config::parse as parse_jobs;

struct Producer;

#[async_trait]
impl Gather for Producer {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        Ok(vec![
            Family::gauge("own_value", "Own.").with(vec![("job".into(), "x".into())], 7.0),
        ])
    }
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let begin = Instant::now();
    while !reached() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_and_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(&dir.path().join("store"), Options::new(Arc::clone(&clock))).unwrap();
    let page = || async { ([("content-type", "text/plain")], "page_value 3\n") };
    let app = axum::Router::new().route("/metrics", axum::routing::get(page));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    towpath_daemon::spawn("page of a test", axum::serve(listener, app).into_future());

    let config = dir.path().join("prometheus.yml");
    let job = "- {job_name: files, scrape_interval: 1s, scrape_timeout: 1s, \
               file_sd_configs: [{files: [t/*.json], refresh_interval: 1s}]}";
    std::fs::write(&config, format!("scrape_configs:\n{job}\n")).unwrap();
    std::fs::create_dir(dir.path().join("t")).unwrap();

    let cancel = CancellationToken::new();
    let pools = Arc::new(Pools::new(store.clone(), clock, cancel.clone()));
    let own = "scrape_configs: [{job_name: own, scrape_interval: 1s, honor_labels: true}]";
    let own = parse_jobs(own, dir.path()).unwrap().remove(0);
    pools.gather(&Arc::new(own), "here", &[], Arc::new(Producer));
    let collection = Collection::new(Parts {
        pools: Arc::clone(&pools),
        config: config.clone(),
        cluster: None,
    });
    let services = vec![collection.service(&[])];
    let services = Services::start(services, Duration::from_secs(10))
        .await
        .unwrap();

    let value = |query: &str| {
        let now = i64::try_from(SystemClock.since_epoch().as_millis()).unwrap();
        let settings = Settings::default();
        let answer = instant(&parse(query).unwrap(), now, &*store, &settings).unwrap();
        match answer.value {
            Value::Vector(samples) => samples.first().map(|sample| sample.value),
            _ => None,
        }
    };
    until("own value", || {
        value("own_value{job=\"x\",instance=\"here\"}") == Some(7.0)
    })
    .await;
    until("own health", || value("up{job=\"own\"}") == Some(1.0)).await;

    let list = format!("[{{\"targets\": [\"{address}\"], \"labels\": {{\"env\": \"p\"}}}}]");
    std::fs::write(dir.path().join("t/a.json"), list).unwrap();
    until("a file", || {
        value("page_value{job=\"files\",env=\"p\"}") == Some(3.0)
    })
    .await;
    assert_eq!(pools.pools(), ["files", "own"]);

    // A broken configuration changes nothing; a good one does.
    std::fs::write(&config, "scrape_configs: [{job_nam: x}]\n").unwrap();
    assert!(
        collection
            .reload()
            .unwrap_err()
            .to_string()
            .contains("job_nam")
    );
    std::fs::write(&config, "scrape_configs: []\n").unwrap();
    collection.reload().unwrap();
    until("no pool", || pools.pools() == ["own"]).await;
    cancel.cancel();
    services.stop(Duration::from_secs(5)).await;
}
