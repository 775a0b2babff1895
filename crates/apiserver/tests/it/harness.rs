//! A server over a directory of its own, and requests to it without a socket.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower_service::Service;
use towpath_apiserver::{ApiServer, Body, Config, InProcess};
use towpath_kit::traits::Principal;

pub(crate) struct Server {
    pub(crate) api: ApiServer,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn admin() -> Principal {
    Principal {
        name: "admin".into(),
        groups: vec!["system:masters".into(), "system:authenticated".into()],
        ..Principal::default()
    }
}

pub(crate) fn user(name: &str) -> Principal {
    Principal {
        name: name.into(),
        groups: vec!["system:authenticated".into()],
        ..Principal::default()
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let api = ApiServer::open(Config::new(dir.path()))
            .await
            .expect("server");
        Self { api, dir }
    }

    pub(crate) async fn restart(self) -> Self {
        self.api.stop().await;
        let Self { api, dir } = self;
        drop(api);
        let api = ApiServer::open(Config::new(dir.path()))
            .await
            .expect("server");
        Self { api, dir }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.call_as(admin(), method, path, "application/json", body)
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, &Value::Null).await
    }

    pub(crate) async fn call_as(
        &self,
        who: Principal,
        method: Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> (u16, Value) {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .header("user-agent", "test/1")
            .body(Full::new(Bytes::from(bytes)))
            .expect("request");
        send(self.api.service(who), request).await
    }

    /// Lines of a watch.
    pub(crate) async fn watch(&self, path: &str) -> Lines {
        let request = Request::builder()
            .uri(path)
            .body(Full::new(Bytes::new()))
            .expect("request");
        let response = self
            .api
            .service(admin())
            .call(request)
            .await
            .expect("answer");
        assert_eq!(response.status(), 200, "{path}");
        Lines {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }
}

pub(crate) async fn send(mut service: InProcess, request: Request<Full<Bytes>>) -> (u16, Value) {
    let response = service.call(request).await.expect("answer");
    let status = response.status().as_u16();
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("body")
        .to_bytes();
    let value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (status, value)
}

pub(crate) struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    /// The next event; panics after ten seconds without one. `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return Some(serde_json::from_slice(&line).expect("JSON"));
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(10), self.body.frame());
            let frame = frame.await.expect("an event within ten seconds")?;
            self.rest
                .extend_from_slice(&frame.expect("frame").into_data().expect("data"));
        }
    }

    /// `TYPE name` of the next event.
    pub(crate) async fn short(&mut self) -> String {
        let event = self.next().await.expect("event");
        let name = event["object"]["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        format!("{} {name}", event["type"].as_str().unwrap_or_default())
            .trim_end()
            .to_string()
    }
}
