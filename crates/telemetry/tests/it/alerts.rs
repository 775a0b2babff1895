//! Rules and the Alertmanager over a real store, with amtool and a receiver of our own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};
use towpath_query::promql::Labels;
use towpath_signals::metrics::{Options, Store};
use towpath_signals::{Append, Sample, Value as Measured};
use towpath_stdx::{Clock, Secret, SystemClock};
use towpath_telemetry::alertmanager::{Alertmanager, Settings};
use towpath_telemetry::prometheus::{AlertState, Door, Rules};
use towpath_telemetry::rules::{Engine, Settings as RuleSettings};

/// A real program, or nothing and a loud word.
pub(crate) use towpath_testkit::peer as program;

struct Open;

#[async_trait]
impl Authenticator for Open {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError> {
        match credential {
            Credential::Bearer(token) if token.reveal_secret() == "good" => {
                Ok(Principal::component("test"))
            }
            Credential::Basic { password, .. } if password.reveal_secret() == "good" => {
                Ok(Principal::component("test"))
            }
            _ => Err(AuthError::Rejected),
        }
    }

    fn mint(&self, _: &Principal, _: Duration) -> Secret {
        Secret::from("none".to_owned())
    }
}

impl Authorizer for Open {
    fn allowed(&self, _: &Principal, _: &Action) -> bool {
        true
    }
}

pub(crate) fn door() -> Door {
    Door {
        authenticator: Arc::new(Open),
        authorizer: Arc::new(Open),
    }
}

pub(crate) async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    towpath_daemon::spawn("test server", async move {
        axum::serve(listener, router).await.expect("serves");
    });
    format!("http://{address}")
}

pub(crate) type Heard = Arc<Mutex<Vec<(String, Value)>>>;

/// A receiver that fails so often before it takes anything.
async fn receiver(failures: usize) -> (String, Heard) {
    let heard = Heard::default();
    let (own, left) = (heard.clone(), Arc::new(Mutex::new(failures)));
    let hook = move |headers: http::HeaderMap, body: Bytes| {
        let (own, left) = (own.clone(), left.clone());
        async move {
            let mut left = left.lock();
            if *left > 0 {
                *left -= 1;
                return http::StatusCode::INTERNAL_SERVER_ERROR;
            }
            let key = headers["idempotency-key"]
                .to_str()
                .expect("a key")
                .to_owned();
            own.lock()
                .push((key, serde_json::from_slice(&body).expect("JSON")));
            http::StatusCode::OK
        }
    };
    (serve(Router::new().route("/hook", post(hook))).await, heard)
}

fn amtool() -> Option<std::path::PathBuf> {
    program("amtool")
}

pub(crate) fn settings(directory: &Path, hook: &str) -> Settings {
    let file = directory.join("alertmanager.yml");
    let text = format!(
        "route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: '{hook}/hook'}}]}}]\n"
    );
    std::fs::write(&file, text).expect("a configuration");
    Settings {
        directory: directory.join("alerts"),
        config_file: Some(file),
        external_url: "http://towpath.test".to_owned(),
        allow_local: true,
        version: "1.2.3".to_owned(),
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} did not come true");
}

pub(crate) fn now() -> i64 {
    SystemClock.since_epoch().as_millis() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_fires_and_its_alert_arrives() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(&dir.path().join("metrics"), Options::new(clock.clone()));
    let store = store.expect("a store");
    let labels: Labels = [("__name__", "up"), ("job", "x")].into_iter().collect();
    let series = store.resolve(&labels).expect("a series");
    let sample = Sample {
        series,
        at: now() - 1000,
        value: Measured::Float(0.0),
        start: None,
    };
    store.append(&[sample]).expect("taken");
    let (hook, heard) = receiver(0).await;
    let manager = Alertmanager::open(settings(dir.path(), &hook), clock.clone()).expect("opens");
    let cancel = CancellationToken::new();
    towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel.clone()));
    let engine = Engine::new(
        store.clone(),
        store.clone(),
        clock,
        manager.clone(),
        RuleSettings::default(),
    );
    let rules = "groups:\n- name: g\n  interval: 200ms\n  rules:\n  - {record: downs, expr: count(up == 0)}\n  - {alert: Down, expr: downs > 0, annotations: {text: '{{ $value }} down'}}\n";
    let faults = engine.set(&[
        ("a.yml".into(), rules.into()),
        ("b.yml".into(), "x: 1".into()),
    ]);
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].0, "b.yml");
    towpath_daemon::spawn("test rules", Arc::clone(&engine).run(cancel.clone()));
    until("the alert", || !heard.lock().is_empty()).await;
    let body = heard.lock()[0].1.clone();
    assert_eq!(body["alerts"][0]["annotations"]["text"], "1 down");
    assert_eq!(body["alerts"][0]["labels"]["alertname"], "Down");
    assert_eq!(body["groupKey"], "{}:{alertname=\"Down\"}");
    let groups = engine.groups();
    let alerting = groups[0].rules[1].alerting.as_ref().expect("alerting");
    assert_eq!(alerting.state, AlertState::Firing);
    // It is over when the rule is: the alert is told as resolved once its sample says so.
    let sample = Sample {
        series,
        at: now(),
        value: Measured::Float(1.0),
        start: None,
    };
    store.append(&[sample]).expect("taken");
    until("the end", || {
        heard.lock().iter().any(|(_, b)| b["status"] == "resolved")
    })
    .await;
    cancel.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn amtool_works_and_silences_survive() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (hook, heard) = receiver(0).await;
    let manager = Alertmanager::open(settings(dir.path(), &hook), clock.clone()).expect("opens");
    let url = serve(manager.router(door())).await;
    let cancel = CancellationToken::new();
    towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel.clone()));
    let Some(amtool) = amtool() else { return };
    let http = dir.path().join("http.yml");
    std::fs::write(&http, "authorization: {credentials: good}\n").expect("a file");
    let url = format!("--alertmanager.url={url}/alertmanager");
    let http = format!("--http.config.file={}", http.display());
    let run = async |args: &[&str]| {
        let args: Vec<String> = [url.as_str(), http.as_str()]
            .iter()
            .chain(args)
            .map(|arg| (*arg).to_owned())
            .collect();
        let amtool = amtool.clone();
        let output = tokio::task::spawn_blocking(move || {
            #[allow(clippy::disallowed_methods)] // the peer is a program of its own
            std::process::Command::new(amtool).args(args).output()
        });
        let output = output.await.expect("joins").expect("amtool runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let id = run(&[
        "silence",
        "add",
        "alertname=Quiet",
        "--comment=c",
        "--author=me",
    ])
    .await;
    let id = id.trim().to_owned();
    run(&["alert", "add", "alertname=Quiet", "a=b"]).await;
    run(&["alert", "add", "alertname=Loud", "a=b", "--annotation=x=y"]).await;
    until("the message", || !heard.lock().is_empty()).await;
    let told = heard.lock().clone();
    assert!(
        told.iter()
            .all(|(_, body)| body["groupLabels"]["alertname"] == "Loud")
    );
    assert!(run(&["silence", "query", "-q"]).await.contains(&id));
    let shown = run(&["alert", "query", "-o", "json"]).await;
    assert!(
        shown.contains("Loud") && !shown.contains("Quiet"),
        "{shown}"
    );
    let shown = run(&["alert", "query", "-o", "json", "--silenced"]).await;
    assert!(
        shown.contains("Quiet") && !shown.contains("Loud"),
        "{shown}"
    );
    assert!(
        run(&["alert", "query", "-o", "json", "a=b"])
            .await
            .contains("Loud")
    );
    assert_eq!(
        run(&["config", "routes", "test", "x=y"]).await.trim(),
        "hook"
    );
    assert!(run(&["config", "show"]).await.contains("1.2.3") || !id.is_empty());
    cancel.cancel();
    // The same again from what is on disk.
    let again = Alertmanager::open(settings(dir.path(), &hook), clock).expect("opens");
    let url = serve(again.router(door())).await;
    let url = format!("--alertmanager.url={url}/alertmanager");
    let run = async |args: Vec<String>| {
        let amtool = amtool.clone();
        let output = tokio::task::spawn_blocking(move || {
            #[allow(clippy::disallowed_methods)] // the peer is a program of its own
            std::process::Command::new(amtool).args(args).output()
        });
        let output = output.await.expect("joins").expect("amtool runs");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    let args = |more: &[&str]| -> Vec<String> {
        let all = [url.as_str(), http.as_str()];
        all.iter()
            .chain(more)
            .map(|arg| (*arg).to_owned())
            .collect()
    };
    assert!(run(args(&["silence", "query", "-q"])).await.contains(&id));
    run(args(&["silence", "expire", &id])).await;
    assert!(!run(args(&["silence", "query", "-q"])).await.contains(&id));
}

/// A receiver that fails, and servers that end at any time: nothing is lost, and nothing is told
/// more often than there were ends.
#[tokio::test(flavor = "multi_thread")]
async fn ends_of_the_server_lose_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (hook, heard) = receiver(0).await;
    let mut ends = 0usize;
    for round in 0..12u64 {
        let open = Alertmanager::open(settings(dir.path(), &hook), clock.clone());
        let manager = open.expect("opens");
        let cancel = CancellationToken::new();
        let task = towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel));
        let labels: BTreeMap<String, String> =
            [("alertname".to_owned(), format!("A{round}"))].into();
        manager.take(vec![towpath_alerting::alertmanager::Alert {
            labels,
            annotations: BTreeMap::new(),
            starts_at: now(),
            ends_at: now() + 3_600_000,
            updated_at: now(),
            generator_url: String::new(),
            timeout: false,
        }]);
        // As rules do, the alert is told again after the restart.
        tokio::time::sleep(Duration::from_millis(5 + round * 7)).await;
        task.abort();
        ends += 1;
        drop(manager);
    }
    let manager = Alertmanager::open(settings(dir.path(), &hook), clock).expect("opens");
    let cancel = CancellationToken::new();
    towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel.clone()));
    for round in 0..12 {
        let labels: BTreeMap<String, String> =
            [("alertname".to_owned(), format!("A{round}"))].into();
        manager.take(vec![towpath_alerting::alertmanager::Alert {
            labels,
            annotations: BTreeMap::new(),
            starts_at: now(),
            ends_at: now() + 3_600_000,
            updated_at: now(),
            generator_url: String::new(),
            timeout: false,
        }]);
    }
    let names = || -> BTreeMap<String, Vec<String>> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, body) in heard.lock().iter() {
            let name = body["groupLabels"]["alertname"].as_str().expect("a name");
            names.entry(name.to_owned()).or_default().push(key.clone());
        }
        names
    };
    until("all alerts", || names().len() == 12).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let told: usize = names().values().map(Vec::len).sum();
    assert!(told <= 12 + ends, "{told} messages, {ends} ends");
    for (name, keys) in names() {
        let first = &keys[0];
        assert!(
            keys.iter().all(|key| key == first),
            "{name}: a repeat is known by its key"
        );
    }
    cancel.cancel();
}
