//! The doors from outside: HTTP and gRPC over sockets, JSON against protobuf.

use super::message::{ExportMetricsServiceRequest, ExportTraceServiceRequest, any_value, metric};
use super::{Accepted, Access, Network, Refusal, Sink, Sinks};
use crate::door::Door;
use ::http::{Request, StatusCode};
use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};
use towpath_stdx::Secret;

/// Knows the tokens `good` (may do everything) and `weak` (nothing).
pub(crate) struct Guard;

#[async_trait]
impl Authenticator for Guard {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError> {
        let (Credential::Bearer(secret)
        | Credential::Basic {
            password: secret, ..
        }) = credential;
        match secret.reveal_secret() {
            name @ ("good" | "weak") => Ok(Principal {
                name: name.into(),
                ..Principal::default()
            }),
            _ => Err(AuthError::Rejected),
        }
    }

    fn mint(&self, _: &Principal, _: Duration) -> Secret {
        Secret::from("good".to_string())
    }
}

impl Authorizer for Guard {
    fn allowed(&self, principal: &Principal, action: &Action) -> bool {
        principal.name == "good" && action.group == "towpath.dev" && action.resource == "signals"
    }
}

pub(crate) fn door() -> Door {
    Door {
        authenticator: Arc::new(Guard),
        authorizer: Arc::new(Guard),
    }
}

pub(crate) fn access(pods: Option<&str>) -> Access {
    Access {
        door: door(),
        anonymous_senders: pods.and_then(Network::parse),
        never_anonymous: vec![[10, 0, 0, 1].into()],
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<ExportTraceServiceRequest>>);

#[async_trait]
impl Sink<ExportTraceServiceRequest> for Kept {
    async fn accept(&self, request: ExportTraceServiceRequest) -> Result<Accepted, Refusal> {
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        match spans[0].name.as_str() {
            "busy" => {
                return Err(Refusal::Busy {
                    message: "full".into(),
                    after: Duration::from_secs(7),
                });
            }
            "partly" => {
                return Ok(Accepted {
                    rejected: 1,
                    message: "one is bad".into(),
                });
            }
            _ => {}
        }
        self.0.lock().push(request);
        Ok(Accepted::default())
    }
}

pub(crate) fn sample(name: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[
        {{"key":"service.name","value":{{"stringValue":"shop"}}}},
        {{"key":"n","value":{{"intValue":"-9007199254740993"}}}},
        {{"key":"l","value":{{"arrayValue":{{"values":[{{"doubleValue":1.5}},{{"boolValue":true}}]}}}}}}
        ]}},"unknownField":{{"a":[1]}},"scopeSpans":[{{"scope":{{"name":"lib"}},"spans":[{{
        "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","parentSpanId":"",
        "name":"{name}","kind":2,"startTimeUnixNano":"1544712660000000000",
        "endTimeUnixNano":1544712661000000000,"status":{{"code":"STATUS_CODE_ERROR"}},
        "events":[{{"timeUnixNano":"5","name":"e"}}]}}]}}]}}]}}"#
    )
}

fn post(path: &str, kind: &str, token: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("content-type", kind)
        .header("authorization", format!("Bearer {token}"))
        .body(body.into())
        .expect("request")
}

async fn send(sinks: &Sinks, request: Request<Body>) -> (StatusCode, ::http::HeaderMap, Bytes) {
    use tower::ServiceExt;
    let routes = super::router(access(None), sinks.clone(), "/otlp");
    let (parts, body) = routes.oneshot(request).await.expect("answer").into_parts();
    let body = body.collect().await.expect("body").to_bytes();
    (parts.status, parts.headers, body)
}

fn sinks() -> (Arc<Kept>, Sinks) {
    let kept = Arc::new(Kept::default());
    let sinks = Sinks {
        traces: Some(kept.clone()),
        ..Sinks::default()
    };
    (kept, sinks)
}

#[test]
fn json_and_protobuf_say_the_same() {
    let read: ExportTraceServiceRequest = serde_json::from_str(&sample("a")).expect("JSON");
    let again = ExportTraceServiceRequest::decode(&read.encode_to_vec()[..]).expect("protobuf");
    assert_eq!(read, again);
    let resource = read.resource_spans[0].resource.as_ref().expect("resource");
    let values: Vec<_> = resource
        .attributes
        .iter()
        .filter_map(|a| a.value.clone()?.value)
        .collect();
    assert_eq!(
        values[1],
        any_value::Value::IntValue(-9_007_199_254_740_993)
    );
    assert!(matches!(&values[2], any_value::Value::ArrayValue(a) if a.values.len() == 2));
    let span = &read.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.trace_id.len(), 16);
    assert_eq!(span.span_id[..2], [0xee, 0xe1]);
    assert_eq!(
        (span.kind, span.status.clone().expect("status").code),
        (2, 2)
    );
    assert_eq!(span.end_time_unix_nano, 1_544_712_661_000_000_000);
}

#[test]
fn metrics_in_json_are_read() {
    let text = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
      {"name":"s","unit":"1","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
        {"asInt":"3","timeUnixNano":"1","exemplars":[{"asDouble":2.5,"spanId":"eee19b7ec3c1b174"}]},
        {"asDouble":"NaN"}]}},
      {"name":"h","histogram":{"dataPoints":[{"count":"2","sum":3,"bucketCounts":["1","1"],
        "explicitBounds":[5]}]}},
      {"name":"e","exponentialHistogram":{"dataPoints":[{"scale":-1,"positive":{"offset":-2,
        "bucketCounts":[1,"2"]}}]}}]}]}]}"#;
    let read: ExportMetricsServiceRequest = serde_json::from_str(text).expect("JSON");
    let metrics = &read.resource_metrics[0].scope_metrics[0].metrics;
    let Some(metric::Data::Sum(sum)) = &metrics[0].data else {
        panic!("not a sum: {:?}", metrics[0].data);
    };
    assert_eq!(sum.data_points.len(), 2);
    assert_eq!(
        sum.data_points[0].value,
        Some(super::message::number::Value::AsInt(3))
    );
    assert!(
        matches!(&metrics[2].data, Some(metric::Data::ExponentialHistogram(h))
        if h.data_points[0].positive.as_ref().is_some_and(|b| b.bucket_counts == [1, 2]))
    );
}

#[tokio::test]
async fn only_pods_send_without_a_credential() {
    let access = access(Some("10.0.0.0/24"));
    let none = ::http::HeaderMap::new();
    for (address, taken) in [
        ([10, 0, 0, 7], true),
        ([10, 0, 0, 1], false),
        ([10, 0, 1, 7], false),
    ] {
        let peer = towpath_kit::listen::Peer(address.into());
        assert_eq!(
            access.sender(&none, Some(peer)).await.is_ok(),
            taken,
            "{peer:?}"
        );
    }
    assert!(access.sender(&none, None).await.is_err());
}

#[tokio::test]
async fn http_takes_answers_and_refuses() {
    let (kept, sinks) = sinks();
    let path = "/otlp/v1/traces";
    let json = "application/json";
    let (status, _, body) = send(&sinks, post(path, json, "good", sample("a"))).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"{}"[..]));

    let message: ExportTraceServiceRequest = serde_json::from_str(&sample("b")).expect("JSON");
    let zstd = zstd::encode_all(&message.encode_to_vec()[..], 1).expect("encode");
    let mut request = post(path, "application/x-protobuf", "good", zstd);
    let encoding = ::http::HeaderValue::from_static("zstd");
    request.headers_mut().insert("content-encoding", encoding);
    assert_eq!(send(&sinks, request).await.0, StatusCode::OK);
    assert_eq!(kept.0.lock().len(), 2);
    assert_eq!(kept.0.lock()[1], message);

    let (_, _, body) = send(&sinks, post(path, json, "good", sample("partly"))).await;
    let said = br#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"one is bad"}}"#;
    assert_eq!(&body[..], &said[..]);
    let (status, headers, _) = send(&sinks, post(path, json, "good", sample("busy"))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers["retry-after"], "7");

    let cases = [
        (post(path, json, "weak", sample("a")), 403),
        (post(path, json, "wrong", sample("a")), 401),
        (post(path, "text/plain", "good", "x"), 415),
        (post(path, json, "good", "{"), 400),
        (post(path, "application/x-protobuf", "good", "\u{1}"), 400),
        (post("/otlp/v1/logs", json, "good", "{}"), 404),
        (post(path, json, "good", vec![b' '; (32 << 20) + 1]), 413),
    ];
    for (request, expected) in cases {
        assert_eq!(send(&sinks, request).await.0.as_u16(), expected);
    }
}

async fn unary(address: std::net::SocketAddr, path: &str, message: &[u8]) -> (u16, Bytes) {
    let stream = tokio::net::TcpStream::connect(address).await.expect("dial");
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .expect("handshake");
    let driver = towpath_daemon::spawn("client", connection);
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(http_body_util::Full::new(Bytes::from(framed)))
        .expect("request");
    let (parts, body) = client
        .send_request(request)
        .await
        .expect("answer")
        .into_parts();
    let collected = body.collect().await.expect("body");
    let mut status = parts.headers.get("grpc-status").cloned();
    if let Some(trailers) = collected.trailers() {
        status = trailers.get("grpc-status").cloned();
    }
    driver.abort();
    let status = status.expect("a status").to_str().expect("text").parse();
    (status.expect("a number"), collected.to_bytes())
}

#[tokio::test]
async fn grpc_takes_and_refuses() {
    let (kept, sinks) = sinks();
    let shared = |pods| super::server::Shared {
        access: access(pods),
        sinks: sinks.clone(),
        memory: Default::default(),
    };
    let cancel = towpath_daemon::CancellationToken::new();
    let mut addresses = Vec::new();
    for pods in [Some("127.0.0.0/8"), None] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        addresses.push(listener.local_addr().expect("address"));
        let routes = super::grpc::router(shared(pods));
        towpath_daemon::spawn(
            "server",
            towpath_kit::listen::accept(listener, routes, super::server::LIMITS, cancel.clone()),
        );
    }
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let encode = |name: &str| {
        let message: ExportTraceServiceRequest = serde_json::from_str(&sample(name)).expect("JSON");
        message.encode_to_vec()
    };
    let message = encode("a");
    let (status, body) = unary(addresses[0], path, &message).await;
    assert_eq!((status, &body[..]), (0, &[0u8; 5][..]));
    assert_eq!(kept.0.lock()[0].encode_to_vec(), message);
    assert_eq!(unary(addresses[0], path, &encode("busy")).await.0, 14);
    assert_eq!(unary(addresses[0], path, b"\x01").await.0, 3);
    assert_eq!(unary(addresses[0], "/a.B/C", &message).await.0, 12);
    assert_eq!(unary(addresses[1], path, &message).await.0, 16);
    cancel.cancel();
}
