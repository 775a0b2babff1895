//! Traces: context from W3C `traceparent` or B3 headers, spans to an OTLP/HTTP collector. A request
//! is a span, each call of it to a store is one below.

use axum::http::HeaderMap;
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Which trace a request belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits of the caller's span; empty where this one is the root.
    pub parent_id: String,
}

/// What a span is.
pub struct Span<'a> {
    /// 16 hex digits.
    pub id: String,
    /// Name.
    pub name: &'a str,
    /// 2 for a server, 3 for a client.
    pub kind: u8,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// A detail.
    pub attribute: (&'a str, Value),
    /// Why it failed, where it did.
    pub failure: Option<String>,
}

tokio::task_local! {
    /// The request that is served, as the context of what it calls.
    static CURRENT: Context;
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit()) && text.bytes().any(|b| b != b'0')
}

impl Context {
    /// From the caller's headers, else a new trace.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let w3c: Vec<&str> = header("traceparent").split('-').collect();
        let b3: Vec<&str> = header("b3").split('-').collect();
        let candidates = [
            (w3c.get(1).copied(), w3c.get(2).copied()),
            (b3.first().copied(), b3.get(1).copied()),
            (Some(header("x-b3-traceid")), Some(header("x-b3-spanid"))),
        ];
        for (trace, span) in candidates {
            if let (Some(trace), Some(span)) = (trace, span)
                && (is_hex(trace, 32) || is_hex(trace, 16))
                && is_hex(span, 16)
            {
                let trace_id = format!("{trace:0>32}").to_lowercase();
                return Self { trace_id, parent_id: span.to_lowercase() };
            }
        }
        Self { trace_id: random_hex(16), parent_id: String::new() }
    }
}

/// Runs the work of a request, so that calls of it stand below its span.
pub async fn within<T>(context: &Context, span: &str, work: impl Future<Output = T>) -> T {
    let inner = Context { trace_id: context.trace_id.clone(), parent_id: span.into() };
    CURRENT.scope(inner, work).await
}

/// A new span's id.
pub fn span_id() -> String {
    random_hex(8)
}

fn random_hex(bytes: usize) -> String {
    use std::io::Read;
    let mut buffer = vec![0u8; bytes];
    // An unreadable generator costs unique ids, not answers.
    let _ = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut buffer));
    buffer.iter().map(|b| format!("{b:02x}")).collect()
}

/// Sends spans in the background; drops them when the collector is slower than the service.
pub struct Tracer(Option<mpsc::Sender<Value>>);

impl Tracer {
    /// Without an endpoint nothing is sent. `resource` says what all spans come from.
    pub fn new(endpoint: Option<String>, resource: &[(String, String)]) -> Self {
        let Some(endpoint) = endpoint else { return Self(None) };
        let attributes: Vec<Value> = resource.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
        let (sender, mut spans) = mpsc::channel(256);
        tokio::spawn(async move {
            while let Some(span) = spans.recv().await {
                let mut batch = vec![span];
                while let Ok(span) = spans.try_recv() {
                    batch.push(span);
                }
                let _ = tokio::time::timeout(Duration::from_secs(2), post(&endpoint, &attributes, batch)).await;
            }
        });
        Self(Some(sender))
    }

    /// Records a finished span.
    pub fn span(&self, context: &Context, span: Span<'_>) {
        let Some(sender) = &self.0 else { return };
        let start = span.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let status = match &span.failure {
            Some(message) => json!({"code": 2, "message": message}),
            None => json!({}),
        };
        let _ = sender.try_send(json!({
            "traceId": context.trace_id, "spanId": span.id, "parentSpanId": context.parent_id,
            "name": span.name, "kind": span.kind,
            "startTimeUnixNano": start.as_nanos().to_string(),
            "endTimeUnixNano": (start + span.took).as_nanos().to_string(),
            "attributes": [{"key": span.attribute.0, "value": span.attribute.1}],
            "status": status,
        }));
    }

    /// Times a call to a store.
    pub async fn call<T>(&self, store: &str, name: &str, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let (started, begin) = (SystemTime::now(), Instant::now());
        let result = work.await;
        if let Ok(context) = CURRENT.try_with(Context::clone) {
            let attribute = ("db.system.name", json!({"stringValue": store}));
            let failure = result.as_ref().err().cloned();
            self.span(&context, Span { id: span_id(), name, kind: 3, started, took: begin.elapsed(), attribute, failure });
        }
        result
    }
}

async fn post(endpoint: &str, resource: &[Value], spans: Vec<Value>) -> std::io::Result<()> {
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "hello"}, "spans": spans}],
    }]})
    .to_string();
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.take(64 << 10).read_to_end(&mut Vec::new()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(name: &'static str, value: &str) -> Context {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("header"));
        Context::from_headers(&headers)
    }

    #[test]
    fn both_header_forms_are_understood() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        let expected = Context { trace_id: trace.into(), parent_id: span.into() };
        assert_eq!(context("traceparent", &format!("00-{trace}-{span}-01")), expected);
        assert_eq!(context("b3", &format!("{trace}-{span}-1")), expected);
    }

    #[test]
    fn nonsense_starts_a_new_trace() {
        let context = context("traceparent", "00-zz-1-01");
        assert_eq!(context.trace_id.len(), 32);
        assert_eq!(context.parent_id, "");
    }
}
