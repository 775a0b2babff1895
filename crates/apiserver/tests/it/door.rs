//! Where a test's requests go: to our server in this process, or to the real kube-apiserver.

use crate::harness::{Server, admin};
use crate::peer::Peer;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use std::time::Duration;
use tower_service::Service;
use towpath_api::protobuf;
use towpath_apiserver::Body;

pub(crate) enum Door {
    Own(Box<Server>),
    Peer(&'static Peer, reqwest::Client),
}

/// One request as it goes over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Ask {
    pub(crate) fn new(method: &str, path: impl Into<String>) -> Self {
        Self {
            method: method.parse().expect("method"),
            path: path.into(),
            headers: vec![("user-agent".into(), "test/1".into())],
            body: Bytes::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .retain(|(old, _)| !old.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn json(self, kind: &str, body: &Value) -> Self {
        let mut with = self.header("content-type", kind);
        with.body = body.to_string().into();
        with
    }
}

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// An object in any of its media types, else text; lines of JSON (a watch) are an array.
    pub(crate) fn value(&self) -> Value {
        if let Ok(value) = protobuf::decode(&self.body) {
            return value;
        }
        if let Ok(value) = serde_json::from_slice(&self.body) {
            return value;
        }
        let text = String::from_utf8_lossy(&self.body);
        let kind = self.headers.get("content-type");
        // A Status is text, byte for byte; other objects hold what no two servers agree on.
        if kind.is_some_and(|kind| kind == "application/yaml")
            && !text.contains("\nkind: Status\n")
            && let Ok(value) = serde_saphyr::from_str(&text)
        {
            return value;
        }
        let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        match lines {
            Ok(lines) if !lines.is_empty() => Value::Array(lines),
            _ => Value::String(text.into_owned()),
        }
    }
}

impl Door {
    pub(crate) async fn own() -> Self {
        Self::Own(Box::new(Server::start().await))
    }

    pub(crate) async fn peer() -> Option<Self> {
        let peer = Peer::shared().await?;
        Some(Self::Peer(peer, peer.client()))
    }

    pub(crate) fn is_peer(&self) -> bool {
        matches!(self, Self::Peer(..))
    }

    pub(crate) async fn send(&self, ask: &Ask) -> Answer {
        let mut stream = self.open(ask).await;
        let mut body = Vec::new();
        while let Some(part) = stream.chunk().await {
            body.extend_from_slice(&part);
        }
        Answer {
            code: stream.code,
            headers: stream.headers,
            body: body.into(),
        }
    }

    /// JSON there and back.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let ask = Ask::new(method, path);
        let answer = match body {
            Value::Null => self.send(&ask).await,
            body => self.send(&ask.json("application/json", body)).await,
        };
        (answer.code, answer.value())
    }

    pub(crate) async fn open(&self, ask: &Ask) -> Stream {
        match self {
            Self::Own(server) => {
                let mut request = Request::builder().method(&ask.method).uri(&ask.path);
                for (name, value) in &ask.headers {
                    request = request.header(name, value);
                }
                let request = request.body(Full::new(ask.body.clone())).expect("request");
                let answer = server.api.service(admin()).call(request).await;
                let (parts, body) = answer.expect("answer").into_parts();
                Stream::new(parts.status.as_u16(), parts.headers, Source::Own(body))
            }
            Self::Peer(peer, client) => {
                let url = format!("{}{}", peer.url, ask.path);
                let mut request = client.request(ask.method.clone(), url);
                for (name, value) in &ask.headers {
                    request = request.header(name, value);
                }
                let answer = request.body(ask.body.clone()).send().await.expect("answer");
                let (code, headers) = (answer.status().as_u16(), answer.headers().clone());
                Stream::new(code, headers, Source::Peer(answer))
            }
        }
    }

    pub(crate) async fn close(self) {
        if let Self::Own(server) = self {
            server.api.stop().await;
        }
    }
}

enum Source {
    Own(Body),
    Peer(reqwest::Response),
}

/// An answer while it arrives.
pub(crate) struct Stream {
    pub(crate) code: u16,
    headers: HeaderMap,
    source: Source,
    rest: Vec<u8>,
}

impl Stream {
    fn new(code: u16, headers: HeaderMap, source: Source) -> Self {
        Self {
            code,
            headers,
            source,
            rest: Vec::new(),
        }
    }

    async fn chunk(&mut self) -> Option<Bytes> {
        match &mut self.source {
            Source::Peer(response) => response.chunk().await.ok().flatten(),
            Source::Own(body) => body.frame().await?.ok()?.into_data().ok(),
        }
    }

    /// The next event; `None` at the end or after ten seconds without one.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        let kind = self.headers.get("content-type");
        let frames = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/vnd."));
        loop {
            if frames {
                if let Some(length) = self.rest.first_chunk::<4>() {
                    let end = 4 + u32::from_be_bytes(*length) as usize;
                    if self.rest.len() >= end {
                        let frame: Vec<u8> = self.rest.drain(..end).collect();
                        return protobuf::decode_watch_event(&frame[4..]).ok();
                    }
                }
                let part = tokio::time::timeout(Duration::from_secs(10), self.chunk()).await;
                self.rest.extend_from_slice(&part.ok()??);
                continue;
            }
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return serde_json::from_slice(&line).ok();
            }
            let part = tokio::time::timeout(Duration::from_secs(10), self.chunk()).await;
            self.rest.extend_from_slice(&part.ok()??);
        }
    }
}
