//! The UI's files, embedded at build time. Without a built bundle a notice says how to make it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Bundle;

const NOTICE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Towpath</title>\
<h1>Towpath runs; its web UI was not built</h1>\
<p>Build it with <code>cargo xtask web</code> and compile again. The command line, git, the registry \
and the Kubernetes API work without it.</p></html>";

/// Whether the UI is part of this binary.
pub fn present() -> bool {
    Bundle::get("index.html").is_some()
}

pub(super) async fn serve(request: Request) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return super::plain(StatusCode::METHOD_NOT_ALLOWED, "only GET");
    }
    let path = request.uri().path().trim_start_matches('/');
    let accepts = request
        .headers()
        .get("accept")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let tag = request.headers().get("if-none-match").cloned();
    let encodings = request
        .headers()
        .get("accept-encoding")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let gzip = encodings.contains("gzip");
    if let Some(response) = file(path, tag.as_ref(), gzip) {
        return response;
    }
    // Only a navigation gets the page; a missing file stays missing.
    if !accepts.contains("text/html") || path.starts_with("api/") || path.starts_with("assets/") {
        return super::plain(StatusCode::NOT_FOUND, "no such file");
    }
    file("index.html", tag.as_ref(), gzip).unwrap_or_else(|| {
        let mut response = Response::new(Body::from(NOTICE));
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("text/html"));
        response
    })
}

fn file(path: &str, known: Option<&HeaderValue>, gzip: bool) -> Option<Response<Body>> {
    let plain = Bundle::get(path)?;
    let tag = format!(
        "\"{}\"",
        towpath_stdx::id::hex(&plain.metadata.sha256_hash()[..12])
    );
    let mut builder = Response::builder()
        .header("etag", &tag)
        .header("content-type", content_type(path))
        .header("vary", "accept-encoding")
        .header(
            "cache-control",
            if path.starts_with("assets/") {
                "public, max-age=31536000, immutable"
            } else {
                "no-cache"
            },
        );
    if known.is_some_and(|k| k.as_bytes() == tag.as_bytes()) {
        return builder
            .status(StatusCode::NOT_MODIFIED)
            .body(Body::empty())
            .ok();
    }
    let small = gzip.then(|| Bundle::get(&format!("{path}.gz"))).flatten();
    if small.is_some() {
        builder = builder.header("content-encoding", "gzip");
    }
    let data = small.map_or(plain.data, |s| s.data);
    let body = match data {
        std::borrow::Cow::Borrowed(bytes) => Body::from(bytes),
        std::borrow::Cow::Owned(bytes) => Body::from(bytes),
    };
    builder.body(body).ok()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}
