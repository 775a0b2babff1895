//! HTTP of the pipeline: step logs and artifacts for people; artifacts, caches, images and gates
//! for jobs; dispatches.
//!
//! A job's token reaches its own run and nothing else here. Everyone else is asked for by RBAC:
//! `get` on `towpath.dev/runs` reads, `create` dispatches.

mod archives;
mod dispatch;
mod gates;
mod logs;

use crate::archives::Refused;
use crate::pipeline::Inner;
use crate::run::access::RUN_EXTRA;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use towpath_kit::cache::Key;
use towpath_kit::kinds::Run;
use towpath_kit::traits::{Action, AuthError, Credential, Principal};

const LIMIT_JSON_BYTES: usize = 64 << 20;

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    Router::new()
        .route(
            "/api/v1/runs/{namespace}/{run}/jobs/{job}/steps/{step}/log",
            get(logs::step),
        )
        .route(
            "/api/v1/runs/{namespace}/{run}/artifacts",
            get(archives::list),
        )
        .route(
            "/api/v1/runs/{namespace}/{run}/artifacts/{name}",
            get(archives::download).put(archives::upload),
        )
        .route(
            "/api/v1/runs/{namespace}/{run}/caches",
            get(archives::find_cache).put(archives::save_cache),
        )
        .route(
            "/api/v1/runs/{namespace}/{run}/caches/{id}",
            get(archives::load_cache),
        )
        .route("/api/v1/runs/{namespace}/{run}/images", post(gates::image))
        .route(
            "/api/v1/runs/{namespace}/{run}/gates/vulnerabilities",
            post(gates::vulnerabilities),
        )
        .route(
            "/api/v1/repositories/{namespace}/{repository}/dispatches",
            post(dispatch::create),
        )
        .layer(DefaultBodyLimit::max(LIMIT_JSON_BYTES))
        .with_state(inner)
}

/// A refusal with its reason.
pub(super) struct Failure(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = axum::Json(serde_json::json!({"code": self.0.as_u16(), "message": self.1}));
        let mut response = (self.0, body).into_response();
        if self.0 == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static("Bearer realm=\"towpath\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::Exists(_) => StatusCode::CONFLICT,
            Refused::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::Name(_) | Refused::Interrupted(_) => StatusCode::BAD_REQUEST,
            Refused::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Refused::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(code, refused.to_string())
    }
}

pub(super) fn not_found(what: impl std::fmt::Display) -> Failure {
    Failure(StatusCode::NOT_FOUND, format!("{what} not found"))
}

pub(super) fn internal(error: impl std::fmt::Display) -> Failure {
    Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Who asks; a credential is required.
pub(super) async fn caller(inner: &Inner, headers: &HeaderMap) -> Result<Principal, Failure> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    let Some(credential) = given.and_then(Credential::from_header) else {
        return Err(Failure(
            StatusCode::UNAUTHORIZED,
            "a token is required".into(),
        ));
    };
    inner
        .authenticator
        .authenticate(&credential)
        .await
        .map_err(|error| match error {
            AuthError::Rejected => Failure(StatusCode::UNAUTHORIZED, error.to_string()),
            AuthError::Unavailable(_) => {
                Failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
        })
}

fn job_of(principal: &Principal) -> Option<&str> {
    principal
        .extra
        .get(RUN_EXTRA)
        .and_then(|v| v.first())
        .map(String::as_str)
}

/// A run for its own jobs, while it has not ended.
pub(super) async fn own_run(
    inner: &Inner,
    headers: &HeaderMap,
    namespace: &str,
    run: &str,
) -> Result<Arc<Run>, Failure> {
    let principal = caller(inner, headers).await?;
    if job_of(&principal) != Some(&format!("{namespace}/{run}")) {
        return Err(Failure(
            StatusCode::FORBIDDEN,
            "only jobs of this run may do this".into(),
        ));
    }
    let found = inner
        .runs()
        .get(&Key::new(namespace, run))
        .ok_or_else(|| not_found(format!("run {namespace}/{run}")))?;
    let status = found.status.clone().unwrap_or_default();
    if status.phase.is_final() && status.attempt == found.spec.attempt {
        return Err(Failure(StatusCode::FORBIDDEN, "the run has ended".into()));
    }
    Ok(found)
}

/// A run for its own jobs and for people who may see it.
pub(super) async fn seen_run(
    inner: &Inner,
    headers: &HeaderMap,
    namespace: &str,
    run: &str,
) -> Result<Arc<Run>, Failure> {
    let principal = caller(inner, headers).await?;
    let own = job_of(&principal) == Some(&format!("{namespace}/{run}"));
    if !own
        && (job_of(&principal).is_some() || !may(inner, &principal, "get", "runs", namespace, run))
    {
        return Err(Failure(
            StatusCode::FORBIDDEN,
            format!("not allowed to see run {namespace}/{run}"),
        ));
    }
    inner
        .runs()
        .get(&Key::new(namespace, run))
        .ok_or_else(|| not_found(format!("run {namespace}/{run}")))
}

pub(super) fn may(
    inner: &Inner,
    principal: &Principal,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let action = Action {
        verb: verb.into(),
        group: "towpath.dev".into(),
        resource: resource.into(),
        subresource: String::new(),
        namespace: namespace.into(),
        name: name.into(),
    };
    inner.authorizer.allowed(principal, &action)
}

/// Values of a query's key, decoded, in order.
pub(super) fn query_values(query: Option<&str>, key: &str) -> Vec<String> {
    query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('=').or(Some((pair, ""))))
        .filter(|(k, _)| *k == key)
        .map(|(_, v)| decode(v))
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes
            .get(i + 1..i + 3)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
