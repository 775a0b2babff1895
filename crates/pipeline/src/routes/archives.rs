//! Artifacts and caches.

use super::{Failure, internal, not_found, own_run, query_values, seen_run};
use crate::pipeline::Inner;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, header};
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_kit::cache::Key;
use towpath_kit::kinds::Run;

type Run2 = Path<(String, String)>;
type Run3 = Path<(String, String, String)>;

/// `GET …/artifacts`.
pub(super) async fn list(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run)): Run2,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    seen_run(&inner, &headers, &namespace, &run).await?;
    let artifacts = inner.archives.artifacts(&namespace, &run)?;
    Ok(Json(json!({"artifacts": artifacts})))
}

/// `GET …/artifacts/{name}`: a `.tar.zst`.
pub(super) async fn download(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run, name)): Run3,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    seen_run(&inner, &headers, &namespace, &run).await?;
    let path = inner.archives.artifact(&namespace, &run, &name)?;
    send(&path, &format!("artifact {name}")).await
}

/// `PUT …/artifacts/{name}?overwrite=true`.
pub(super) async fn upload(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run, name)): Run3,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Failure> {
    own_run(&inner, &headers, &namespace, &run).await?;
    let overwrite = query_values(query.as_deref(), "overwrite")
        .first()
        .is_some_and(|v| v == "true");
    let artifact = inner
        .archives
        .put_artifact(
            (&namespace, &run, &name),
            overwrite,
            body.into_data_stream(),
        )
        .await?;
    Ok(Json(json!(artifact)))
}

// A run reads its own ref's caches, then the default branch's.
fn scopes(inner: &Inner, run: &Run, namespace: &str) -> Vec<String> {
    let key = Key::new(namespace, &run.spec.repository);
    let branch = inner
        .repositories()
        .get(&key)
        .map_or_else(|| "main".into(), |r| r.spec.default_branch.clone());
    let mut scopes = vec![run.spec.ref_.clone(), format!("refs/heads/{branch}")];
    scopes.dedup();
    scopes
}

fn one(query: Option<&str>, key: &str) -> String {
    query_values(query, key)
        .into_iter()
        .next()
        .unwrap_or_default()
}

/// `GET …/caches?key=&version=&restore=…`.
pub(super) async fn find_cache(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run)): Run2,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let found = own_run(&inner, &headers, &namespace, &run).await?;
    let query = query.as_deref();
    let (key, version) = (one(query, "key"), one(query, "version"));
    let place = (namespace.as_str(), found.spec.repository.as_str());
    let prefixes = query_values(query, "restore");
    let entry = inner.archives.find_cache(
        place,
        &scopes(&inner, &found, &namespace),
        (&key, &version),
        &prefixes,
    )?;
    let (id, entry) = entry.ok_or_else(|| not_found(format!("cache {key}")))?;
    Ok(Json(
        json!({"id": id, "key": entry.key, "bytes": entry.bytes}),
    ))
}

/// `GET …/caches/{id}`.
pub(super) async fn load_cache(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run, id)): Run3,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let found = own_run(&inner, &headers, &namespace, &run).await?;
    let place = (namespace.as_str(), found.spec.repository.as_str());
    let path = inner
        .archives
        .cache(place, &scopes(&inner, &found, &namespace), &id)?;
    send(&path, "cache").await
}

/// `PUT …/caches?key=&version=`.
pub(super) async fn save_cache(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run)): Run2,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let found = own_run(&inner, &headers, &namespace, &run).await?;
    let query = query.as_deref();
    let place = (
        namespace.as_str(),
        found.spec.repository.as_str(),
        found.spec.ref_.as_str(),
    );
    let now = inner.clock.since_epoch().as_secs();
    let (key, version) = (one(query, "key"), one(query, "version"));
    let entry = inner
        .archives
        .put_cache(place, (&key, &version), now, body.into_data_stream())
        .await?;
    Ok(Json(json!(entry)))
}

async fn send(path: &std::path::Path, what: &str) -> Result<Response, Failure> {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(not_found(what)),
        Err(error) => return Err(internal(format!("open {what}: {error}"))),
    };
    let length = file.metadata().await.map_err(internal)?.len();
    let stream = tokio_util::io::ReaderStream::with_capacity(file, 256 << 10);
    Response::builder()
        .header(header::CONTENT_TYPE, "application/zstd")
        .header(header::CONTENT_LENGTH, length)
        .body(Body::from_stream(stream))
        .map_err(internal)
}
