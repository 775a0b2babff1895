//! The API of Loki: what is pushed is found again, in the shapes that clients read.

use std::io::{Read, Write};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use serde_json::{Value, json};
use tower::ServiceExt;
use towpath_signals::logs::{LogStore, Options};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::loki::{Loki, Settings};

struct Server {
    router: Router,
    store: Arc<LogStore>,
    now: i64,
    _dir: tempfile::TempDir,
}

fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = LogStore::open(dir.path(), Options::default(), clock.clone()).unwrap();
    let store = Arc::new(store);
    let now = clock.since_epoch().as_nanos() as i64;
    let loki = Loki::new(store.clone(), clock, Settings::default());
    Server {
        router: loki.router(None),
        store,
        now,
        _dir: dir,
    }
}

impl Server {
    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body).into_owned()));
        (status, value)
    }

    async fn get(&self, path: &str, params: &[(&str, &str)]) -> (StatusCode, Value) {
        let params: Vec<String> = params
            .iter()
            .map(|(name, value)| {
                let bytes = value.bytes().map(|byte| format!("%{byte:02X}"));
                format!("{name}={}", bytes.collect::<String>())
            })
            .collect();
        let uri = format!("/loki/api/v1/{path}?{}", params.join("&"));
        self.send(Request::get(uri).body(Body::empty()).unwrap())
            .await
    }

    async fn ok(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let (status, value) = self.get(path, params).await;
        assert_eq!(status, StatusCode::OK, "{value}");
        value
    }

    async fn push(&self, body: Value) -> (StatusCode, Value) {
        let request = Request::post("/loki/api/v1/push")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    /// Two services with a few lines a second apart, the newest ten seconds ago.
    async fn filled(&self) {
        let at = |back: i64| (self.now - back * 1_000_000_000).to_string();
        let (status, body) = self
            .push(json!({ "streams": [
                { "stream": { "app": "api", "env": "prd" }, "values": [
                    [at(12), "level=info msg=served took=12ms status=200"],
                    [at(11), "level=error msg=failed took=2s status=500", { "trace_id": "abc" }],
                    [at(10), "level=info msg=served took=15ms status=200"],
                ] },
                { "stream": { "app": "web", "env": "dev" }, "values": [
                    [at(10), "{\"level\":\"warn\",\"user\":{\"id\":7}}"],
                ] },
            ] }))
            .await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    }
}

#[tokio::test]
async fn health_is_a_vector_of_two() {
    let server = server();
    let answer = server
        .ok(
            "query",
            &[("query", "vector(1)+vector(1)"), ("time", "4000000000")],
        )
        .await;
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["data"]["resultType"], "vector");
    let result = json!([{ "metric": {}, "value": [4_000_000_000i64, "2"] }]);
    assert_eq!(answer["data"]["result"], result);
    assert!(answer["data"]["stats"]["summary"]["execTime"].is_number());
}

#[tokio::test]
async fn lines_come_back() {
    let server = server();
    server.filled().await;
    for round in 0..2 {
        let answer = server
            .ok(
                "query_range",
                &[("query", "{app=\"api\"}"), ("direction", "forward")],
            )
            .await;
        let data = &answer["data"];
        assert_eq!(data["resultType"], "streams", "round {round}");
        let lines: usize = data["result"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| stream["values"].as_array().unwrap().len())
            .sum();
        assert_eq!(lines, 3);
        assert_eq!(data["stats"]["summary"]["totalEntriesReturned"], 3);
        let traced = server
            .ok(
                "query_range",
                &[("query", "{app=\"api\"} | trace_id=\"abc\"")],
            )
            .await;
        let stream = &traced["data"]["result"][0];
        assert_eq!(stream["stream"]["trace_id"], "abc");
        assert_eq!(stream["stream"]["detected_level"], "error");
        assert_eq!(stream["stream"]["service_name"], "api");
        assert_eq!(
            stream["values"][0][1],
            "level=error msg=failed took=2s status=500"
        );
        server.store.flush().unwrap();
    }
}

#[tokio::test]
async fn labels_are_told_apart_where_asked() {
    let server = server();
    server.filled().await;
    let uri =
        "/loki/loki/api/v1/query_range?query=%7Bapp%3D%22api%22%7D%7C%3D%22failed%22%7Clogfmt";
    let request = Request::get(uri)
        .header("X-Loki-Response-Encoding-Flags", "categorize-labels")
        .body(Body::empty());
    let (_, answer) = server.send(request.unwrap()).await;
    assert_eq!(
        answer["data"]["encodingFlags"],
        json!(["categorize-labels"])
    );
    let stream = &answer["data"]["result"][0];
    assert_eq!(
        stream["stream"],
        json!({ "app": "api", "env": "prd", "service_name": "api" })
    );
    let own = &stream["values"][0][2];
    assert_eq!(own["structuredMetadata"]["trace_id"], "abc");
    assert_eq!(own["parsed"]["status"], "500");
}

#[tokio::test]
async fn metrics_are_counted() {
    let server = server();
    server.filled().await;
    let answer = server
        .ok(
            "query",
            &[("query", "sum by (app) (count_over_time({env=~\".+\"}[1h]))")],
        )
        .await;
    let result = &answer["data"]["result"];
    assert_eq!(result[0]["metric"], json!({ "app": "api" }));
    assert_eq!(result[0]["value"][1], "3");
    assert_eq!(result[1]["value"][1], "1");
    let answer = server
        .ok(
            "query_range",
            &[
                (
                    "query",
                    "sum(count_over_time({app=\"api\"} | detected_level=\"error\" [1h]))",
                ),
                ("step", "60000ms"),
            ],
        )
        .await;
    assert_eq!(answer["data"]["resultType"], "matrix");
    let values = answer["data"]["result"][0]["values"].as_array().unwrap();
    assert_eq!(values.last().unwrap()[1], "1");
}

#[tokio::test]
async fn names_and_amounts() {
    let server = server();
    server.filled().await;
    let data = |value: Value| value["data"].clone();
    assert_eq!(
        data(server.ok("labels", &[]).await),
        json!(["app", "env", "service_name"])
    );
    assert_eq!(
        data(server.ok("label/app/values", &[]).await),
        json!(["api", "web"])
    );
    let narrowed = server
        .ok("label/app/values", &[("query", "{env=\"dev\"}")])
        .await;
    assert_eq!(data(narrowed), json!(["web"]));
    let series = server.ok("series", &[("match[]", "{app=\"web\"}")]).await;
    assert_eq!(
        data(series),
        json!([{ "app": "web", "env": "dev", "service_name": "web" }])
    );
    let stats = server
        .ok("index/stats", &[("query", "{app=\"api\"}")])
        .await;
    assert_eq!(
        (&stats["streams"], &stats["entries"]),
        (&json!(1), &json!(3))
    );
    let volume = server
        .ok(
            "index/volume",
            &[("query", "{env=~\".+\"}"), ("targetLabels", "app")],
        )
        .await;
    assert_eq!(
        volume["data"]["result"][0]["metric"],
        json!({ "app": "api" })
    );
    let range = server
        .ok(
            "index/volume_range",
            &[("query", "{app=\"api\"}"), ("step", "60")],
        )
        .await;
    assert_eq!(range["data"]["resultType"], "matrix");
    let detected = server.ok("detected_labels", &[]).await;
    assert_eq!(
        detected["detectedLabels"][0],
        json!({ "label": "app", "cardinality": 2 })
    );
    let fields = server
        .ok("detected_fields", &[("query", "{app=\"api\"}")])
        .await;
    let field = |name: &str| {
        let all = fields["fields"].as_array().unwrap();
        all.iter()
            .find(|field| field["label"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&field("status")["type"], &field("took")["type"]),
        (&json!("int"), &json!("duration"))
    );
    assert_eq!(field("status")["parsers"], json!(["logfmt"]));
    assert_eq!(field("trace_id")["parsers"], Value::Null);
    let values = server
        .ok(
            "detected_field/status/values",
            &[("query", "{app=\"api\"}")],
        )
        .await;
    assert_eq!(values["values"], json!(["200", "500"]));
    let patterns = server.ok("patterns", &[("query", "{app=\"api\"}")]).await;
    let first = &patterns["data"][0];
    assert_eq!(
        first["pattern"],
        "level=info msg=served took=<_> status=<_>"
    );
    let formatted = server
        .ok("format_query", &[("query", "{a=\"b\"}|=\"c\"")])
        .await;
    assert_eq!(formatted["data"], "{a=\"b\"} |= \"c\"");
    assert!(server.ok("status/buildinfo", &[]).await["version"].is_string());
    assert_eq!(
        server.ok("drilldown-limits", &[]).await["limits"]["volume_enabled"],
        true
    );
}

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<PushStream>,
}

#[derive(Clone, PartialEq, Message)]
struct PushStream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<PushEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct PushEntry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<PushTime>,
    #[prost(string, tag = "2")]
    line: String,
}

#[derive(Clone, PartialEq, Message)]
struct PushTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[tokio::test]
async fn protobuf_is_taken() {
    let server = server();
    let push = Push {
        streams: vec![PushStream {
            labels: "{job=\"x\", a=\"b\"}".to_owned(),
            entries: vec![PushEntry {
                timestamp: Some(PushTime {
                    seconds: server.now / 1_000_000_000 - 5,
                    nanos: 7,
                }),
                line: "hello".to_owned(),
            }],
        }],
    };
    let packed = snap::raw::Encoder::new()
        .compress_vec(&push.encode_to_vec())
        .unwrap();
    let request = |body: Vec<u8>| {
        Request::post("/loki/api/v1/push")
            .header("content-type", "application/x-protobuf")
            .body(Body::from(body))
            .unwrap()
    };
    let (status, _) = server.send(request(packed)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let answer = server.ok("query_range", &[("query", "{job=\"x\"}")]).await;
    let value = &answer["data"]["result"][0]["values"][0];
    assert_eq!(value[1], "hello");
    assert!(value[0].as_str().unwrap().ends_with("000000007"));
    // A length that is claimed is not a length that is made.
    let (status, _) = server
        .send(request(vec![0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]))
        .await;
    assert!(status.is_client_error());
    let (status, _) = server.send(request(b"junk".to_vec())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn faults_are_json_with_a_message() {
    let server = server();
    for (path, params, words) in [
        ("query", vec![("query", "{app=")], "parse error at line 1"),
        (
            "query",
            vec![("query", "{app=\"a\"}")],
            "not supported as an instant query",
        ),
        (
            "query_range",
            vec![("query", "{app=\"a\"}"), ("limit", "9999")],
            "max entries limit",
        ),
        (
            "query_range",
            vec![("query", "{app=\"a\"}"), ("start", "x")],
            "could not parse 'start'",
        ),
        (
            "query_range",
            vec![("query", "{app=\"a\"}"), ("direction", "up")],
            "invalid direction",
        ),
        (
            "query_range",
            vec![("query", "rate({app=\"a\"}[1m])"), ("step", "0.0001")],
            "step",
        ),
    ] {
        let (status, answer) = server.get(path, &params).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
    let old = json!({ "streams": [{ "stream": { "a": "b" }, "values": [["1", "x"]] }] });
    let (status, answer) = server.push(old).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["message"].as_str().unwrap().contains("too old"));
    let (status, _) = server.push(json!({ "streams": [{ "stream": {} }] })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn lines_can_be_forgotten() {
    let server = server();
    server.filled().await;
    let uri = "/loki/api/v1/delete?query=%7Bapp%3D%22api%22%7D&start=0";
    let request = Request::post(uri).body(Body::empty()).unwrap();
    let (status, _) = server.send(request).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let answer = server
        .ok("query_range", &[("query", "{app=~\".+\"}")])
        .await;
    assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 1);
    let list = server.ok("delete", &[]).await;
    assert_eq!(list[0]["status"], "received");
    server.store.maintain().unwrap();
    let list = server.ok("delete", &[]).await;
    assert_eq!(list[0]["status"], "processed");
}

/// A client of a few lines: the handshake, then the text of the frames that come.
#[tokio::test(flavor = "multi_thread")]
async fn lines_are_followed() {
    let server = server();
    server.filled().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = server.router.clone();
    let serving = towpath_daemon::spawn("loki", async move { axum::serve(listener, router).await });
    let client = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        let head = "GET /loki/api/v1/tail?query=%7Bapp%3D%22api%22%7D&limit=1 HTTP/1.1\r\nHost: x\r\n\
                    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        let mut reply = Vec::new();
        let mut byte = [0];
        while !reply.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).unwrap();
            reply.push(byte[0]);
        }
        assert!(reply.starts_with(b"HTTP/1.1 101"));
        move || {
            let mut head = [0; 2];
            socket.read_exact(&mut head).unwrap();
            let mut length = usize::from(head[1]);
            if length == 126 {
                socket.read_exact(&mut head).unwrap();
                length = usize::from(u16::from_be_bytes(head));
            }
            let mut text = vec![0; length];
            socket.read_exact(&mut text).unwrap();
            serde_json::from_slice::<Value>(&text).unwrap()
        }
    });
    let mut next = client.await.unwrap();
    let (first, next) = tokio::task::spawn_blocking(move || (next(), next))
        .await
        .unwrap();
    assert_eq!(
        first["streams"][0]["values"][0][1],
        "level=info msg=served took=15ms status=200"
    );
    let (status, _) = server
        .push(json!({ "streams": [
            { "stream": { "app": "other" }, "values": [[server.now.to_string(), "not this"]] },
            { "stream": { "app": "api" }, "values": [[server.now.to_string(), "this one"]] },
        ] }))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let second = tokio::task::spawn_blocking(next).await.unwrap();
    assert_eq!(second["streams"][0]["values"][0][1], "this one");
    serving.abort();
}

#[tokio::test]
async fn lines_of_the_old_push_and_lines_apart() {
    let server = server();
    let second = 1_000_000_000;
    let base = server.now / second - 100;
    let time = |at: i64| towpath_stdx::clock::rfc3339(u64::try_from(at).unwrap());
    let entries: Vec<Value> = (0..10)
        .map(|at| json!({ "ts": time(base + at), "line": format!("line {at}") }))
        .collect();
    let body = json!({ "streams": [{ "labels": "{app=\"old\"}", "entries": entries }] });
    let request = Request::post("/loki/api/prom/push")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    let (status, said) = server.send(request.unwrap()).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{said}");
    let (start, end) = (base.to_string(), (base + 20).to_string());
    let ask = async |interval: &str, direction: &str, limit: &str| {
        let params = [
            ("query", "{app=\"old\"}"),
            ("start", &start),
            ("end", &end),
            ("interval", interval),
            ("direction", direction),
            ("limit", limit),
        ];
        let found = server.ok("query_range", &params).await;
        let values = found["data"]["result"][0]["values"].as_array().cloned();
        let values = values.unwrap_or_default().into_iter();
        let lines = values.map(|value| value[1].as_str().unwrap().replace("line ", ""));
        lines.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ask("3s", "forward", "100").await, "0 3 6 9");
    assert_eq!(ask("3", "backward", "100").await, "9 6 3 0");
    assert_eq!(ask("4s", "forward", "2").await, "0 4");
    assert_eq!(ask("", "forward", "2").await, "0 1");
    let params = [("query", "{app=\"old\"}"), ("interval", "-1s")];
    assert_eq!(server.get("query_range", &params).await.0, 400);
    let bad = json!({ "streams": [{ "labels": "{app=\"old\"}", "entries": [{ "ts": "x", "line": "" }] }] });
    assert_eq!(server.push(bad).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn rules_over_lines_are_refused_aloud() {
    let server = server();
    assert_eq!(server.get("rules", &[]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(server.get("rules/own", &[]).await.0, StatusCode::NOT_FOUND);
    let request = Request::post("/loki/api/v1/rules/own").body(Body::from("name: x"));
    let (status, said) = server.send(request.unwrap()).await;
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    assert!(said["message"].as_str().unwrap().contains("not evaluated"));
    let request = Request::get("/loki/prometheus/api/v1/rules").body(Body::empty());
    let (status, none) = server.send(request.unwrap()).await;
    assert_eq!(
        (status, &none["data"]["groups"]),
        (StatusCode::OK, &json!([]))
    );
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let server = server();
    let push = async |content: &str, encoding: &str, body: Vec<u8>| {
        let request = Request::post("/loki/api/v1/push")
            .header("content-type", content)
            .header("content-encoding", encoding)
            .body(Body::from(body));
        server.send(request.unwrap()).await
    };
    const PROTOBUF: &str = "application/x-protobuf";
    // Five bytes that say they unpack to four gigabytes.
    let claim = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    let (status, said) = push(PROTOBUF, "snappy", claim).await;
    assert!(matches!(status.as_u16(), 400 | 413), "{status} {said}");
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..65 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let (status, _) = push("application/json", "gzip", bomb).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, _) = push("application/json", "", vec![b' '; (16 << 20) + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    // One line that is too long, and a stream of very many labels: both are named.
    let long = json!({ "streams": [
        { "stream": { "app": "x" }, "values": [[server.now.to_string(), "y".repeat(2 << 20)]] }
    ]});
    let (status, said) = server.push(long).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(said.to_string().contains("max entry size"), "{said}");
    let labels: serde_json::Map<String, Value> =
        (0..5000).map(|at| (format!("l{at}"), json!("v"))).collect();
    let wide =
        json!({ "streams": [{ "stream": labels, "values": [[server.now.to_string(), "y"]] }] });
    let (status, said) = server.push(wide).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    // Expressions that would become very large, or that nest very deep.
    let deep = format!(
        "{{app=\"x\"}} |~ \"{}a{}\"",
        "(".repeat(5000),
        ")".repeat(5000)
    );
    for query in [
        "{app=~\"((a{100}){100}){100}\"}",
        "{app=\"x\"} |~ \"((a{1000}){1000}){1000}\"",
        "{app=\"x\"} | regexp \"(?P<n>((\\\\pL{900}){900}){900})\"",
        &deep,
    ] {
        let (status, said) = server.get("query_range", &[("query", query)]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    }
}
