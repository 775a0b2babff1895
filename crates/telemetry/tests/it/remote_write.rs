//! Remote write with the real client, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value as Json, json};
use tower::ServiceExt;
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};
use towpath_query::promql::{Settings, Value, instant, parse};
use towpath_signals::Read;
use towpath_signals::metrics::{Options, Store};
use towpath_stdx::{Clock, Secret, SystemClock};
use towpath_telemetry::door::Door;
use towpath_telemetry::receive::{RemoteWrite, router};

use super::peer::{ask, peer};
use super::scraped::Message;

struct Doors;

#[async_trait]
impl Authenticator for Doors {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError> {
        let token = match credential {
            Credential::Bearer(token) => token,
            Credential::Basic { password, .. } => password,
        };
        match token.reveal_secret() {
            "writer" | "reader" => Ok(Principal {
                name: token.reveal_secret().to_owned(),
                ..Principal::default()
            }),
            _ => Err(AuthError::Rejected),
        }
    }

    fn mint(&self, _: &Principal, _: Duration) -> Secret {
        Secret::from(String::new())
    }
}

impl Authorizer for Doors {
    fn allowed(&self, principal: &Principal, action: &Action) -> bool {
        principal.name == "writer" && action.resource == "signals" && action.verb == "create"
    }
}

struct Place {
    store: Arc<Store>,
    router: axum::Router,
    _dir: tempfile::TempDir,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(dir.path(), Options::new(Arc::clone(&clock))).unwrap();
    let doors = Arc::new(Doors);
    let door = Door {
        authenticator: doors.clone(),
        authorizer: doors,
    };
    let write = RemoteWrite::new(store.clone(), door, clock);
    Place {
        store,
        router: router(Arc::new(write)),
        _dir: dir,
    }
}

fn now() -> i64 {
    i64::try_from(SystemClock.since_epoch().as_millis()).unwrap()
}

fn value(store: &Store, query: &str, at: i64) -> String {
    let answer = instant(&parse(query).unwrap(), at, store, &Settings::default()).unwrap();
    match answer.value {
        Value::Vector(samples) => samples
            .iter()
            .map(|sample| match &sample.histogram {
                Some(histogram) => histogram.to_string(),
                None => sample.value.to_string(),
            })
            .collect::<Vec<_>>()
            .join(" "),
        other => format!("{other:?}"),
    }
}

async fn send(place: &Place, token: &str, content_type: &str, body: Vec<u8>) -> (u16, String) {
    let request = Request::post("/prometheus/api/v1/write")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", content_type)
        .header("content-encoding", "snappy")
        .body(Body::from(body))
        .unwrap();
    let response = place.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    (
        status,
        String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    )
}

const ONE: &str = "application/x-protobuf";
const TWO: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

fn packed(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_client_writes() {
    let Some(peer) = peer() else { return };
    for version in [1, 2] {
        let place = place();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/prometheus/api/v1/write",
            listener.local_addr().unwrap()
        );
        let served = towpath_daemon::spawn(
            "remote write of a test",
            axum::serve(listener, place.router.clone()).into_future(),
        );
        let from = now() - 60_000;
        let job = |token: &str, from: i64| {
            json!({
                "url": url, "token": token, "version": version,
                "series": 20, "samples": 30, "from": from,
            })
        };
        // The last one comes again with other values at the same times, the second with the same.
        let jobs = [
            job("writer", from),
            job("writer", from),
            job("reader", from),
            job("", from),
        ];
        let peer = peer.clone();
        let answers = tokio::task::spawn_blocking(move || ask(&peer, "write", &jobs));
        let answers: Vec<Json> = answers.await.unwrap();
        assert!(answers[0]["error"].is_null(), "{}", answers[0]);
        assert_eq!(answers[0]["samples"], 600);
        assert_eq!(answers[0]["histograms"], 30);
        assert_eq!(answers[0]["exemplars"], 20);
        assert!(
            answers[1]["error"].is_null(),
            "a repeated request: {}",
            answers[1]
        );
        let error = |at: usize| answers[at]["error"].as_str().unwrap_or_default().to_owned();
        assert!(error(2).contains("403"), "{}", error(2));
        assert!(error(3).contains("401"), "{}", error(3));
        assert_eq!(answers[2]["retry"], false);

        let at = from + 29_000;
        assert_eq!(value(&place.store, "peer_total{series=\"c\"}", at), "2029");
        assert_eq!(value(&place.store, "count(peer_total)", at), "20");
        assert_eq!(
            value(&place.store, "histogram_count(peer_native)", at),
            "93"
        );
        assert_eq!(
            value(&place.store, "peer_native", from + 1_000),
            "{count:9, sum:37, [-0.001,0.001]:3, (0.5,0.7071067811865475]:2, \
             (0.7071067811865475,1]:2, (2.82842712474619,4]:2}"
        );
        let families = place.store.families(Some("peer_total"));
        assert_eq!(families["peer_total"][0].kind, "counter");
        assert_eq!(families["peer_total"][0].help, "Of the peer.");
        let all = place.store.exemplars(&[Vec::new()], 0, i64::MAX).unwrap();
        assert_eq!(all.len(), 20);
        served.abort();
    }
}

/// A request of the first version: one series with its samples.
fn request(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Vec<u8> {
    let mut series = Message::default();
    for (name, value) in labels {
        let mut label = Message::default();
        label.bytes(1, name.as_bytes());
        label.bytes(2, value.as_bytes());
        series.bytes(1, &label.0);
    }
    for (at, value) in samples {
        let mut sample = Message::default();
        sample.double(1, *value);
        sample.number(2, *at as u64);
        series.bytes(2, &sample.0);
    }
    let mut out = Message::default();
    out.bytes(1, &series.0);
    packed(&out.0)
}

#[tokio::test]
async fn what_is_refused() {
    let place = place();
    let at = now();
    let name = [("__name__", "m"), ("job", "j")];
    let (status, _) = send(&place, "writer", ONE, request(&name, &[(at, 1.0)])).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, body) = send(&place, "writer", ONE, request(&name, &[(at, 2.0)])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("duplicate sample for timestamp"), "{body}");
    let ahead = request(&name, &[(at + 3_600_000, 1.0)]);
    let (status, body) = send(&place, "writer", ONE, ahead).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("too far in the future"), "{body}");

    let (status, body) = send(&place, "writer", "text/plain", Vec::new()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(
        body.starts_with("expected application/x-protobuf"),
        "{body}"
    );
    let other = "application/x-protobuf;proto=other.Message";
    let (status, body) = send(&place, "writer", other, Vec::new()).await;
    assert_eq!((status, body.contains("other.Message")), (415, true));
    let (status, _) = send(&place, "writer", ONE, b"not snappy".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = send(&place, "writer", ONE, packed(b"\xff\xff")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    // A body that says it has a gigabyte is refused before anything is made for it.
    let bomb = packed(&vec![0; 48 << 20]);
    assert!(bomb.len() < 4 << 20);
    let (status, body) = send(&place, "writer", TWO, bomb).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("bytes limit"), "{body}");
}

#[tokio::test]
async fn version_two_tells_what_is_wrong_and_keeps_the_rest() {
    let place = place();
    let at = now();
    let mut out = Message::default();
    for symbol in ["", "__name__", "good", "bad"] {
        out.bytes(4, symbol.as_bytes());
    }
    for (name, samples) in [(2, 1), (9, 1), (3, 0)] {
        let mut series = Message::default();
        series.bytes(1, &[1, name]);
        for _ in 0..samples {
            let mut sample = Message::default();
            sample.double(1, 7.0);
            sample.number(2, at as u64);
            series.bytes(2, &sample.0);
        }
        out.bytes(5, &series.0);
    }
    let (status, body) = send(&place, "writer", TWO, packed(&out.0)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body.contains("labelRefs 1 (name) = 9 (value) outside of symbols table"),
        "{body}"
    );
    assert!(body.contains("at least one sample or histogram for series {__name__=\"bad\"}"));
    assert_eq!(value(&place.store, "good", at), "7");
}
