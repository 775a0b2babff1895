//! Spans in by the doors of OpenTelemetry, traces out by the API of Tempo.

use super::{Derived, Tempo, TraceIntake};
use crate::otlp::message::ExportTraceServiceRequest;
use crate::otlp::{Sinks, tests as doors};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use prost::Message;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tower::ServiceExt;
use towpath_signals::traces::{Options, Store};
use towpath_stdx::{Clock, SystemClock};

const ID: &str = "5b8efff798038103d269b633813fc60c";

struct House {
    routes: Router,
    store: Store,
    _dir: tempfile::TempDir,
}

fn house() -> House {
    let dir = tempfile::tempdir().expect("a directory");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = Options::new(dir.path().join("traces"));
    let (store, _) = Store::open(options, Arc::clone(&clock)).expect("opens");
    let derived = Arc::new(Derived::new(|| SystemClock.monotonic()));
    let sinks = Sinks {
        traces: Some(Arc::new(TraceIntake::new(store.clone(), derived))),
        ..Sinks::default()
    };
    let tempo = Tempo::new(store.clone(), doors::door(), clock);
    let routes = crate::otlp::router(doors::access(None), sinks, "/otlp");
    House {
        routes: routes.merge(tempo.router("/tempo")),
        store,
        _dir: dir,
    }
}

impl House {
    async fn ask(&self, request: Request<Body>) -> (u16, Bytes) {
        let response = self
            .routes
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body");
        (status, body.to_bytes())
    }

    async fn get(&self, path: &str) -> (u16, Bytes) {
        let request = Request::get(format!("/tempo{path}"));
        let request = request.header("authorization", "Bearer good");
        self.ask(request.body(Body::empty()).expect("a request"))
            .await
    }

    async fn json(&self, path: &str) -> Json {
        let (status, body) = self.get(path).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
    }

    async fn send(&self, name: &str) {
        let request = Request::post("/otlp/v1/traces")
            .header("content-type", "application/json")
            .header("authorization", "Bearer good")
            .body(Body::from(doors::sample(name)));
        let (status, body) = self.ask(request.expect("a request")).await;
        assert_eq!((status, &body[..]), (200, &b"{}"[..]));
    }
}

/// The sample's hour.
const HOUR: &str = "start=1544710000&end=1544714000";

#[tokio::test]
async fn spans_that_came_in_are_found() {
    let house = house();
    house.send("GET /").await;
    for flushed in [false, true] {
        if flushed {
            house.store.flush().expect("written");
        }
        let found = house.json(&format!("/api/traces/{ID}")).await;
        let resource = &found["batches"][0];
        let span = &resource["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "W47/95gDgQPSabYzgT/GDA==");
        assert_eq!(span["kind"], "SPAN_KIND_SERVER");
        assert_eq!(span["startTimeUnixNano"], "1544712660000000000");
        assert_eq!(span["status"], json!({"code": "STATUS_CODE_ERROR"}));
        assert_eq!(span["events"][0]["name"], "e");
        let attributes = &resource["resource"]["attributes"];
        assert_eq!(
            attributes[1]["value"],
            json!({"intValue": "-9007199254740993"})
        );

        let q = "%7B%20resource.service.name%20%3D%20%22shop%22%20%26%26%20status%20%3D%20error%7D";
        let found = house.json(&format!("/api/search?q={q}&{HOUR}")).await;
        let trace = &found["traces"][0];
        assert_eq!(trace["traceID"], ID);
        assert_eq!(trace["rootServiceName"], "shop");
        assert_eq!(trace["rootTraceName"], "GET /");
        assert_eq!(trace["durationMs"], 1000);
        assert_eq!(
            trace["serviceStats"]["shop"],
            json!({"spanCount": 1, "errorCount": 1})
        );
        let span = &trace["spanSets"][0]["spans"][0];
        assert_eq!(span["spanID"], "eee19b7ec3c1b174");
        assert_eq!(span["durationNanos"], "1000000000");
        assert_eq!(
            span["attributes"][0],
            json!({"key": "service.name", "value": {"stringValue": "shop"}})
        );

        let found = house
            .json(&format!("/api/search?tags=service.name%3Dshop&{HOUR}"))
            .await;
        assert_eq!(found["traces"].as_array().map(Vec::len), Some(1));
        let none = format!("/api/search?tags=service.name%3Dshop&minDuration=2s&{HOUR}");
        assert_eq!(house.json(&none).await["traces"], json!([]));

        let names = house.json(&format!("/api/v2/search/tags?{HOUR}")).await;
        assert_eq!(names["scopes"][0]["name"], "resource");
        assert_eq!(
            names["scopes"][0]["tags"],
            json!(["l", "n", "service.name"])
        );
        let names = house.json(&format!("/api/search/tags?{HOUR}")).await;
        assert_eq!(names["tagNames"], json!(["l", "n", "service.name"]));
        let shop = json!([{"type": "string", "value": "shop"}]);
        for tag in [
            "resource.service.name",
            ".service.name",
            "resource%252Eservice%252Ename",
        ] {
            let values = house
                .json(&format!("/api/v2/search/tag/{tag}/values?{HOUR}"))
                .await;
            assert_eq!(values["tagValues"], shop, "{tag}");
        }
        let within = format!("/api/v2/search/tag/name/values?q=%7Bkind%3Dserver%7D&{HOUR}");
        let values = house.json(&within).await;
        assert_eq!(
            values["tagValues"],
            json!([{"type": "string", "value": "GET /"}])
        );
        let values = house
            .json(&format!("/api/search/tag/service.name/values?{HOUR}"))
            .await;
        assert_eq!(values["tagValues"], json!(["shop"]));
        let values = house
            .json(&format!("/api/v2/search/tag/status/values?{HOUR}"))
            .await;
        assert_eq!(
            values["tagValues"],
            json!([{"type": "keyword", "value": "error"}])
        );

        let q = "%7B%7D%20%7C%20count_over_time()%20by%20(resource.service.name)";
        let found = house
            .json(&format!("/api/metrics/query_range?q={q}&{HOUR}&step=1h"))
            .await;
        let series = &found["series"][0];
        assert_eq!(series["promLabels"], "{\"resource.service.name\"=\"shop\"}");
        let samples = series["samples"].as_array().expect("samples");
        let sum: f64 = samples.iter().filter_map(|s| s["value"].as_f64()).sum();
        assert_eq!(sum, 1.0);
        let example = &series["exemplars"][0];
        let label = json!({"key": "trace:id", "value": {"stringValue": ID}});
        assert_eq!(example["labels"][0], label);
        assert_eq!(example["value"], 1.0);
        assert!(example["timestampMs"].is_string());
        let q = "%7B%7D%20%7C%20rate()";
        let found = house
            .json(&format!("/api/metrics/query?q={q}&{HOUR}"))
            .await;
        assert_eq!(found["series"][0]["value"], 1.0 / 4000.0);
        assert_eq!(found["series"][0]["promLabels"], "{__name__=\"rate\"}");
    }
}

#[tokio::test]
async fn traces_are_told_in_protobuf() {
    let house = house();
    house.send("GET /").await;
    let ask = |path: &str| {
        let request = Request::get(format!("/tempo{path}/{ID}"))
            .header("authorization", "Bearer good")
            .header("accept", "application/protobuf");
        request.body(Body::empty()).expect("a request")
    };
    let (status, body) = house.ask(ask("/api/traces")).await;
    assert_eq!(status, 200);
    let sent: ExportTraceServiceRequest =
        serde_json::from_str(&doors::sample("GET /")).expect("JSON");
    let first = ExportTraceServiceRequest::decode(body).expect("protobuf");
    assert_eq!(first, sent);
    let (_, second) = house.ask(ask("/api/v2/traces")).await;
    // The same trace as field 1.
    assert_eq!(second[0], 0x0a);
    assert!(second.ends_with(&sent.encode_to_vec()));
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let house = house();
    assert_eq!(house.get("/api/echo").await, (200, Bytes::from("echo")));
    assert_eq!(house.get("/ready").await.0, 200);
    assert_eq!(
        house.json("/api/status/buildinfo").await["version"],
        "2.8.0"
    );
    assert_eq!(house.get(&format!("/api/traces/{ID}")).await.0, 404);
    assert_eq!(house.get("/api/traces/xyz").await.0, 400);
    assert_eq!(house.get("/api/search?q=%7B").await.0, 400);
    assert_eq!(house.get("/api/search?start=2&end=1").await.0, 400);
    assert_eq!(
        house.get("/api/search?q=%7B%7D%20%7C%20rate()").await.0,
        400
    );
    assert_eq!(house.get("/api/metrics/query_range?q=%7B%7D").await.0, 400);
    let range = "/api/metrics/query_range?q=%7B%7D%20%7C%20rate()&start=1&end=2000000000&step=1s";
    assert_eq!(house.get(range).await.0, 400);
    let nobody = Request::get("/tempo/api/search").body(Body::empty());
    assert_eq!(house.ask(nobody.expect("a request")).await.0, 401);
}
