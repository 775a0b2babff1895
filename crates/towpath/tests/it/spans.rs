//! Traces of the whole server: spans in over HTTP and gRPC, traces out by id, by TraceQL and as a
//! waterfall, after a crash, and the metrics derived from them.

use crate::harness::{Server, able, free_port, until};
use std::time::Duration;
use towpath_stdx::{Clock, SystemClock};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn now_ns() -> u64 {
    u64::try_from(SystemClock.since_epoch().as_nanos()).expect("a time")
}

fn root(start: u64) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
        "scopeSpans":[{{"spans":[{{"traceId":"{TRACE}","spanId":"0000000000000001","name":"GET /","kind":3,
        "startTimeUnixNano":"{start}","endTimeUnixNano":"{}"}}]}}]}}]}}"#,
        start + 100_000_000
    )
}

/// A field of a protobuf message that has a length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
    out.extend_from_slice(bytes);
    out
}

/// A server's span below the root, as a gRPC message.
fn framed_child(start: u64) -> Vec<u8> {
    let text = field(1, b"cart");
    let attribute = [field(1, b"service.name"), field(2, &text)].concat();
    let resource = field(1, &attribute);
    let mut id = Vec::new();
    for pair in TRACE.as_bytes().chunks(2) {
        let digits = std::str::from_utf8(pair).expect("digits");
        id.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
    }
    let fixed = |number: u8, value: u64| {
        let mut out = vec![number << 3 | 1];
        out.extend_from_slice(&value.to_le_bytes());
        out
    };
    let mut span = field(1, &id);
    span.extend(field(2, &[0, 0, 0, 0, 0, 0, 0, 2]));
    span.extend(field(4, &[0, 0, 0, 0, 0, 0, 0, 1]));
    span.extend(field(5, b"add"));
    span.extend([6 << 3, 2]);
    span.extend(fixed(7, start + 10_000_000));
    span.extend(fixed(8, start + 60_000_000));
    // Status 15: error.
    span.extend([15 << 3 | 2, 2, 3 << 3, 2]);
    let library = field(2, &span);
    let part = [field(1, &resource), field(2, &library)].concat();
    let request = field(1, &part);
    let mut framed = vec![0, 0, 0, 0, u8::try_from(request.len()).expect("short")];
    framed.extend(request);
    framed
}

/// Metrics and log records of the same sender: durable once they are acknowledged.
fn others(server: &Server, port: &str) {
    let at = now_ns();
    let resource =
        r#""resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]}"#;
    let metrics = format!(
        r#"{{"resourceMetrics":[{{{resource},"scopeMetrics":[{{"metrics":[{{"name":"calls","sum":{{
        "isMonotonic":true,"aggregationTemporality":2,"dataPoints":[{{"asInt":"3","timeUnixNano":"{at}"}}]}}}}]}}]}}]}}"#
    );
    let records = format!(
        r#"{{"resourceLogs":[{{{resource},"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{at}",
        "severityText":"WARN","body":{{"stringValue":"the cart is full"}}}}]}}]}}]}}"#
    );
    let send = |path: &str, body: &str| {
        let file = server.file("sent.json", body);
        let code = server.shell(&format!(
            "curl -sS --max-time 20 -o /dev/null -w '%{{http_code}}' -H 'authorization: Bearer {}' \
             -H 'content-type: application/json' --data-binary @{file} {port}{path}",
            server.token
        ));
        assert_eq!(code, "200", "{path}");
    };
    send("/v1/metrics", &metrics);
    send("/v1/logs", &records);
    server.kill_and_restart();
    let ask = |path: &str, query: &str| {
        server.shell(&format!(
            "curl -sS --max-time 20 -u x:{} -G --data-urlencode '{query}' {}{path}",
            server.token, server.url
        ))
    };
    let calls = ask(
        "/prometheus/api/v1/query",
        "query=calls_total{job=\"shop\"}",
    );
    assert!(calls.contains("\"3\"]"), "{calls}");
    let lines = ask("/loki/api/v1/query_range", "query={service_name=\"shop\"}");
    assert!(lines.contains("the cart is full"), "{lines}");
}

#[test]
fn spans_come_in_and_traces_go_out() {
    if !able(None) {
        return;
    }
    let (grpc, http) = (free_port(), free_port());
    let settings = format!("[telemetry]\notlp-grpc-port = {grpc}\notlp-http-port = {http}\n");
    let server = Server::start_with(&settings, |_| {});
    let start = now_ns() - 1_000_000_000;
    let sent = server.file("root.json", &root(start));
    let send = |url: &str, token: &str| {
        server.shell(&format!(
            "curl -sS --max-time 20 -o /dev/null -w '%{{http_code}}' -H 'authorization: Bearer {token}' \
             -H 'content-type: application/json' --data-binary @{sent} {url}/v1/traces"
        ))
    };
    let port = format!("http://127.0.0.1:{http}");
    assert_eq!(send(&port, "wrong"), "401");
    assert_eq!(send(&port, &server.token), "200");
    // The same span again, on the main port: it is one.
    assert_eq!(send(&format!("{}/otlp", server.url), &server.token), "200");

    let framed = server.dir().join("child.bin");
    std::fs::write(&framed, framed_child(start)).expect("written");
    let reply = server.shell(&format!(
        "curl -sS --max-time 20 --http2-prior-knowledge -D - -o /dev/null -H 'te: trailers' \
         -H 'authorization: Bearer {}' -H 'content-type: application/grpc' --data-binary @{} \
         http://127.0.0.1:{grpc}/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        server.token,
        framed.display()
    ));
    assert!(reply.contains("grpc-status: 0"), "{reply}");

    let check = || {
        let shown = server.ok(&["trace", TRACE]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "2 spans, 100.0ms", "{shown}");
        assert!(lines[1].starts_with("shop GET / "), "{shown}");
        assert!(
            lines[2].starts_with("  cart add ") && lines[2].contains("!   50.0ms"),
            "{shown}"
        );
        let query = "{ resource.service.name = \"shop\" } > { status = error }";
        assert_eq!(server.ok(&["-q", "trace", "search", query]).trim(), TRACE);
        let none = "{ resource.service.name = \"cart\" } > { }";
        assert_eq!(server.ok(&["-q", "trace", "search", none]).trim(), "");
    };
    check();
    others(&server, &port);
    server.kill_and_restart();
    check();
    assert_eq!(send(&port, &server.token), "200");
    let metric = "traces_spanmetrics_calls_total{service=\"shop\"}";
    until("span metrics", Duration::from_secs(60), || {
        let found = server.shell(&format!(
            "curl -sS --max-time 20 -u x:{} --data-urlencode 'query={metric}' {}/prometheus/api/v1/query",
            server.token, server.url
        ));
        found.contains("SPAN_KIND_CLIENT")
    });
}
