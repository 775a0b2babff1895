//! The service over a real socket, without its stores: live, honest about not being ready.

use hello::{Config, State, router};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn get(path: &str) -> String {
    traced(path, "").await
}

async fn traced(path: &str, collector: &str) -> String {
    let config = Config::from_env(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(collector.to_string()),
        // Nothing listens on port 1.
        "DATABASE_PORT" | "REDIS_PORT" => Some("1".into()),
        "DATABASE_HOST" | "REDIS_HOST" => Some("127.0.0.1".into()),
        _ => None,
    })
    .expect("config");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let service = router(Arc::new(State::new(config)));
    tokio::spawn(async move {
        let service = service.into_make_service_with_connect_info::<std::net::SocketAddr>();
        axum::serve(listener, service).await
    });
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    answer
}

#[tokio::test]
async fn live_without_stores() {
    assert!(get("/health").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn not_ready_without_stores_and_says_which() {
    let answer = get("/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\"database\":"), "{answer}");
}

#[tokio::test]
async fn failures_are_counted_by_route() {
    let answer = get("/metrics").await;
    assert!(answer.contains("process_resident_memory_bytes"), "{answer}");
    let answer = get("/").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn a_request_and_its_call_to_a_store_are_one_trace() {
    let collector = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = format!("http://{}", collector.local_addr().expect("address"));
    let answer = traced("/", &address).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let mut spans = Vec::new();
    while spans.len() < 2 {
        let (mut stream, _) = collector.accept().await.expect("spans");
        let mut sent = Vec::new();
        let body = loop {
            let mut part = [0; 4096];
            let n = stream.read(&mut part).await.expect("a part");
            sent.extend_from_slice(&part[..n]);
            let text = String::from_utf8_lossy(&sent).into_owned();
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str::<serde_json::Value>(body)
            {
                break body;
            }
            assert!(n > 0, "{text}");
        };
        let resource = &body["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "hello");
        spans.extend(resource["scopeSpans"][0]["spans"].as_array().expect("spans").clone());
    }
    let named = |name: &str| spans.iter().find(|s| s["name"] == name).expect("the span");
    let (request, call) = (named("GET /"), named("INCR visits"));
    assert_eq!(call["parentSpanId"], request["spanId"]);
    assert_eq!(call["traceId"], request["traceId"]);
    assert_eq!((&request["status"]["code"], &call["status"]["code"]), (&2.into(), &2.into()));
}
