//! The server, as a job sees it: its own run's artifacts, caches, images and gates.

use super::patience::{Failure, Patience, ready};
use bytes::Bytes;
use futures::StreamExt;
use reqwest::{Client, Method, Response, StatusCode};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const LIMIT_ANSWER_BYTES: usize = 16 << 20;

/// Client of the server with the job's token.
pub(super) struct Server {
    client: Client,
    base: String,
    token: String,
}

impl Server {
    pub(super) fn new(base: &str, token: &str) -> Result<Self, String> {
        // Another part of the program may have chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| format!("HTTP client: {e}"))?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_string(),
            token: token.to_string(),
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
    }

    /// Returns once the server answers anything at all.
    pub(super) async fn wait_until_there(&self) -> Result<(), String> {
        let mut patience = Patience::new();
        loop {
            let request = self
                .request(Method::HEAD, "/")
                .timeout(Duration::from_secs(10));
            match request.send().await {
                Ok(_) => return Ok(()),
                Err(error) => patience.after(Failure::of("/", &error)).await?,
            }
        }
    }

    /// Sends JSON, returns the JSON answer; `None` for 404.
    pub(super) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Option<serde_json::Value>, String> {
        let mut patience = Patience::new();
        loop {
            match self.try_json(method.clone(), path, body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => patience.after(failure).await?,
            }
        }
    }

    async fn try_json(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Option<serde_json::Value>, Failure> {
        let mut request = self.request(method, path).timeout(Duration::from_secs(300));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| Failure::of(path, &e))?;
        let response = ready(path, response)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let bytes = try_checked_bytes(path, response).await?;
        if bytes.is_empty() {
            return Ok(Some(serde_json::Value::Null));
        }
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Failure::Final(format!("{path}: the answer is not JSON: {e}")))
    }

    /// Sends a file as it is.
    pub(super) async fn upload(
        &self,
        method: Method,
        path: &str,
        file: &Path,
    ) -> Result<Response, String> {
        let mut patience = Patience::new();
        loop {
            match self.try_upload(method.clone(), path, file).await {
                Ok(response) => return Ok(response),
                Err(failure) => patience.after(failure).await?,
            }
        }
    }

    async fn try_upload(
        &self,
        method: Method,
        path: &str,
        file: &Path,
    ) -> Result<Response, Failure> {
        let local = |what: &str, e: std::io::Error| {
            Failure::Final(format!("{what} {}: {e}", file.display()))
        };
        let open = tokio::fs::File::open(file)
            .await
            .map_err(|e| local("open", e))?;
        let length = open.metadata().await.map_err(|e| local("read", e))?.len();
        let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(
            open,
            256 << 10,
        ));
        self.request(method, path)
            .header(http::header::CONTENT_LENGTH, length)
            .header(http::header::CONTENT_TYPE, "application/octet-stream")
            .body(body)
            .send()
            .await
            .map_err(|e| Failure::of(path, &e))
            .and_then(|response| ready(path, response))
    }

    /// Fetches to a file; false for 404.
    pub(super) async fn download(&self, path: &str, file: &Path) -> Result<bool, String> {
        let mut patience = Patience::new();
        loop {
            match self.try_download(path, file).await {
                Ok(found) => return Ok(found),
                Err(failure) => patience.after(failure).await?,
            }
        }
    }

    async fn try_download(&self, path: &str, file: &Path) -> Result<bool, Failure> {
        let local = |what: &str, e: std::io::Error| {
            Failure::Final(format!("{what} {}: {e}", file.display()))
        };
        let response = self
            .request(Method::GET, path)
            .send()
            .await
            .map_err(|e| Failure::of(path, &e))?;
        let response = ready(path, response)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        if !response.status().is_success() {
            try_checked_bytes(path, response).await?;
            return Err(Failure::Final(format!("{path}: unexpected answer")));
        }
        let mut out = tokio::fs::File::create(file)
            .await
            .map_err(|e| local("create", e))?;
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| Failure::of(path, &e))?;
            out.write_all(&chunk).await.map_err(|e| local("write", e))?;
        }
        out.flush().await.map_err(|e| local("write", e))?;
        Ok(true)
    }
}

/// A failed exchange in words, with its causes.
pub(super) fn reach(path: &str, error: &reqwest::Error) -> String {
    let mut text = format!("server {path}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The answer's bytes, or its words where it is no success.
pub(super) async fn checked_bytes(path: &str, response: Response) -> Result<Bytes, String> {
    match try_checked_bytes(path, response).await {
        Ok(bytes) => Ok(bytes),
        Err(Failure::Away(words) | Failure::Broken(words) | Failure::Final(words)) => Err(words),
    }
}

async fn try_checked_bytes(path: &str, response: Response) -> Result<Bytes, Failure> {
    let status = response.status();
    let mut bytes = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(|e| Failure::of(path, &e))?);
        if bytes.len() > LIMIT_ANSWER_BYTES {
            let words = format!("server {path}: the answer is too large");
            return Err(Failure::Final(words));
        }
    }
    if status.is_success() {
        return Ok(bytes.into());
    }
    let words = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|v| {
            v.get("message")
                .and_then(|m| m.as_str())
                .map(str::to_string)
        })
        .unwrap_or_else(|| {
            String::from_utf8_lossy(&bytes[..bytes.len().min(500)])
                .trim()
                .to_string()
        });
    Err(Failure::Final(format!("server {path}: {status}: {words}")))
}

/// A path segment with everything escaped that is not plain.
pub(super) fn segment(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect()
}
