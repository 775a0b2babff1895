//! What happened to alerts, asked with LogQL; receivers' status, and messages that test them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use towpath_alerting::alertmanager::Alert;
use towpath_signals::logs::{LogStore, Options};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::alertmanager::{Alertmanager, Settings};
use towpath_telemetry::loki::{Loki, Settings as LokiSettings};

use crate::alerts::{door, now, serve, until};

async fn ask(url: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let address = url.trim_start_matches("http://");
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("opens");
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("shakes");
    towpath_daemon::spawn("test connection", async move { drop(connection.await) });
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("authorization", "Bearer good")
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Lines of a question, the oldest first, with the labels that it gives them.
async fn lines(url: &str, query: &str) -> Vec<Value> {
    let mut escaped = String::new();
    for byte in query.bytes() {
        escaped += &format!("%{byte:02X}");
    }
    let path = format!(
        "/loki/api/v1/query_range?query={escaped}&direction=forward&limit=1000&start={}&end={}",
        (now() - 3_600_000) * 1_000_000,
        (now() + 60_000) * 1_000_000
    );
    let (status, answer) = ask(url, "GET", &path, None).await;
    assert_eq!(status, 200, "{answer}");
    let mut out: Vec<(String, Value)> = Vec::new();
    for stream in answer["data"]["result"].as_array().expect("streams") {
        for value in stream["values"].as_array().expect("values") {
            let at = value[0].as_str().expect("a time").to_owned();
            let text = value[1].as_str().expect("a line");
            out.push((at, serde_json::from_str(text).expect("JSON")));
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out.into_iter().map(|(_, line)| line).collect()
}

fn alert(name: &str) -> Alert {
    Alert {
        labels: BTreeMap::from([("alertname".to_owned(), name.to_owned())]),
        annotations: BTreeMap::from([("summary".to_owned(), "hot".to_owned())]),
        starts_at: now() - 1000,
        ends_at: now() + 3_600_000,
        updated_at: now(),
        generator_url: String::new(),
        timeout: false,
    }
}

/// A service that says no once, and says the secret it was given when it does.
async fn moody() -> String {
    let first = Arc::new(parking_lot::Mutex::new(true));
    let hook = move |body: Bytes| {
        let first = first.clone();
        async move {
            match std::mem::replace(&mut *first.lock(), false) {
                true => (http::StatusCode::SERVICE_UNAVAILABLE, body),
                false => (http::StatusCode::ACCEPTED, Bytes::from_static(b"{}")),
            }
        }
    };
    serve(Router::new().fallback(hook)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_asked_with_logql() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = LogStore::open(&dir.path().join("logs"), Options::default(), clock.clone());
    let store = Arc::new(store.expect("a store"));
    let loki = Loki::new(store.clone(), clock.clone(), LokiSettings::default());
    let hook = moody().await;
    let file = dir.path().join("alertmanager.yml");
    let config = format!(
        "route: {{receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers:\n- name: team\n  pagerduty_configs: [{{url: '{hook}/paging', routing_key: s3cret-key, description: 'about {{{{ .CommonLabels.alertname }}}}'}}]\n- name: away\n  webhook_configs: [{{url: 'http://127.0.0.1:1/hidden-path'}}]\n"
    );
    std::fs::write(&file, config).expect("a configuration");
    let throttle = "receivers: {team: {throttle: {burst: 1, every: 1h}}}";
    std::fs::write(dir.path().join("receivers.yml"), throttle).expect("further settings");
    let manager = Alertmanager::open(
        Settings {
            directory: dir.path().join("alerts"),
            config_file: Some(file),
            external_url: "http://towpath.test".to_owned(),
            allow_local: true,
            version: String::new(),
        },
        clock,
    )
    .expect("opens");
    manager.keep_history(store);
    let cancel = CancellationToken::new();
    towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel.clone()));
    let url = serve(loki.router(Some(door())).merge(manager.router(door()))).await;
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "Quiet", "isRegex": false}],
        "startsAt": "2026-01-02T03:04:05Z", "endsAt": "2090-01-02T03:04:05Z",
        "createdBy": "me", "comment": "c", "annotations": {"ticket": "T-1"},
    });
    let (status, made) = ask(
        &url,
        "POST",
        "/alertmanager/api/v2/silences",
        Some(&silence),
    )
    .await;
    assert_eq!(status, 200, "{made}");
    let id = made["silenceID"].as_str().expect("an id").to_owned();
    manager.take(vec![alert("Quiet")]);
    manager.take(vec![alert("Loud")]);
    // The first one takes the only token; the second one waits for the digest.
    until("the failure", || !manager.failures().is_empty()).await;
    manager.take(vec![alert("Late")]);
    let suppressed = "{job=\"towpath/notifications\", event=\"suppression\"}";
    for _ in 0..400 {
        if lines(&url, suppressed).await.len() >= 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let found = lines(&url, suppressed).await;
    assert_eq!(found.len(), 2, "{found:#?}");
    let of = |name: &str| found.iter().find(|line| line["alertname"] == name);
    let quiet = of("Quiet").expect("the silenced one");
    assert_eq!(quiet["by"], json!([{"kind": "silence", "name": id}]));
    let late = of("Late").expect("the one that does not fit");
    assert_eq!(late["cause"], "throttle");
    assert_eq!(late["causeName"], "team/pagerduty[0]");
    let fires = "{job=\"towpath/notifications\"} | json | event_extracted=\"fires\"";
    assert_eq!(lines(&url, fires).await.len(), 3);
    // Now by hand: one that arrives, and one that does not.
    let (status, told) = ask(&url, "POST", "/api/v1/receivers/team/test", None).await;
    assert_eq!(
        (status, &told["results"][0]["delivered"]),
        (200, &json!(true)),
        "{told}"
    );
    let (_, told) = ask(&url, "POST", "/api/v1/receivers/away/test", None).await;
    assert_eq!(told["results"][0]["delivered"], false);
    let (status, _) = ask(&url, "POST", "/api/v1/receivers/nobody/test", None).await;
    assert_eq!(status, 404);
    let deliveries = lines(&url, "{job=\"towpath/notifications\", event=\"delivery\"}").await;
    let words: Vec<(&str, bool, i64)> = deliveries
        .iter()
        .map(|line| {
            let event = line["event"].as_str().unwrap_or_default();
            (
                event,
                line["test"] == true,
                line["code"].as_i64().unwrap_or(0),
            )
        })
        .collect();
    assert_eq!(
        words,
        [
            ("failed", false, 503),
            ("delivered", true, 202),
            ("failed", true, 0)
        ]
    );
    let first = &deliveries[0];
    assert_eq!(first["again"], true);
    assert!(
        first["seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    let body: Value = serde_json::from_str(first["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(body["payload"]["summary"], "about Loud");
    assert_eq!(body["routing_key"], "<secret>");
    let (_, shown) = ask(&url, "GET", "/api/v1/receivers", None).await;
    let status = &shown["receivers"][0]["integrations"][0]["status"];
    assert_eq!(status["failing"], false, "{shown}");
    assert!(
        status["lastError"]
            .as_str()
            .is_some_and(|why| why.contains("503"))
    );
    assert_eq!(shown["receivers"][0]["throttle"]["burst"], 1);
    assert_eq!(
        shown["receivers"][1]["integrations"][0]["status"]["failing"],
        true
    );
    let all = lines(&url, "{job=\"towpath/notifications\"}").await;
    let all = format!("{} {shown} {told}", json!(all));
    assert!(
        !all.contains("s3cret") && !all.contains("hidden-path"),
        "{all}"
    );
    let (_, silences) = ask(&url, "GET", "/alertmanager/api/v2/silences", None).await;
    assert_eq!(silences[0]["annotations"]["ticket"], "T-1");
    cancel.cancel();
}
