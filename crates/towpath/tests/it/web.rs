//! The server's HTTP side, as its administrator; connections may break under it.

use crate::harness::Server;
use serde_json::{Value, json};
use std::time::Duration;

/// A client of one server.
#[derive(Clone)]
pub(crate) struct Web {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

/// Status and text, or why there was no whole answer.
pub(crate) type Answer = Result<(u16, String), reqwest::Error>;

impl Web {
    pub(crate) fn new(server: &Server) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("client");
        Self {
            http,
            url: server.url.clone(),
            token: Some(server.token.clone()),
        }
    }

    /// The same without a token.
    pub(crate) fn anonymous(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    /// A request to build further; `path` may be a whole URL, as locations are.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = match path.starts_with("http") {
            true => path.to_string(),
            false => format!("{}{path}", self.url),
        };
        let request = self.http.request(method.parse().expect("method"), url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Asks, with a body that is JSON unless empty.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut request = self.request(method, path);
        if !body.is_empty() {
            let kind = match method {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            request = request.header("content-type", kind).body(body.to_string());
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    }

    /// Asks for what must be answered.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "").await.expect("answer")
    }

    /// An object or list of the Kubernetes API.
    pub(crate) async fn object(&self, path: &str) -> Value {
        let (code, text) = self.get(&format!("/k8s{path}")).await;
        assert_eq!(code, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Items of a list.
    pub(crate) async fn items(&self, path: &str) -> Vec<Value> {
        let list = self.object(path).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Creates what must be accepted.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Value {
        let (code, text) = self
            .ask("POST", &format!("/k8s{path}"), &object.to_string())
            .await
            .expect("answer");
        assert_eq!(code, 201, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// A namespace of that name.
    pub(crate) async fn namespace(&self, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.create("/api/v1/namespaces", &object).await;
    }
}
