//! `POST /api/v1/builds`: a tar of the context in; log lines and the digest out as NDJSON.
//!
//! Query: `repository=<ns>/<name>` (checks and scope), `tag=` (repeated), `dockerfile=`,
//! `target=`, `arg=NAME=value` (repeated), `label=NAME=value` (repeated), `epoch=<seconds>`,
//! `memory=<bytes>`. Secrets come in header `Towpath-Build-Secrets` as base64 of a JSON object.
//! Lines out: `{"log":"…"}` and at the end `{"digest":…}` or `{"error":…,"findings":[…]}`.
//! Closing the connection cancels the build.

use crate::engine::Engine;
use crate::layers::words;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use towpath_kit::traits::{
    Action, AuthError, Authenticator, Authorizer, BuildError, BuildRequest, Builder, Credential,
    Principal,
};
use towpath_oci::Reference;
use towpath_oci::layer::{self, Limits, Options};
use towpath_stdx::{Secret, SystemRandom, base64_decode, id};

const SECRETS: &str = "towpath-build-secrets";
const TAGS: usize = 32;
// How much more is taken from a client whose context is refused.
const REST_BYTES: u64 = 256 << 20;
// Lines that a slow reader may be behind.
const LINES: usize = 16 << 10;
// A build that is silent says so, that connections are not taken for dead.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(15);

struct Server {
    engine: Engine,
    authenticator: Arc<dyn Authenticator>,
    authorizer: Arc<dyn Authorizer>,
}

/// The build API with absolute paths.
pub fn router(
    engine: Engine,
    authenticator: Arc<dyn Authenticator>,
    authorizer: Arc<dyn Authorizer>,
) -> Router {
    let server = Arc::new(Server {
        engine,
        authenticator,
        authorizer,
    });
    Router::new()
        .route("/api/v1/builds", post(handle))
        .with_state(server)
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    match start(server, request).await {
        Ok(response) => response,
        Err(response) => *response,
    }
}

fn refuse(status: StatusCode, code: &str, message: impl Into<String>) -> Box<Response> {
    let body = json!({ "error": message.into(), "code": code }).to_string();
    let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    }
    Box::new(response)
}

async fn start(server: Arc<Server>, request: Request) -> Result<Response, Box<Response>> {
    let (parts, body) = request.into_parts();
    let principal = authenticate(&server, &parts.headers).await?;
    let bad = |message: String| refuse(StatusCode::BAD_REQUEST, "build/request", message);
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|e| bad(e.to_string()))?
        .0;
    let mut asked = parse(&query, &parts.headers).map_err(bad)?;
    let mut repositories: Vec<String> = Vec::new();
    for tag in &asked.tags {
        let reference: Reference = tag
            .parse()
            .map_err(|e: towpath_oci::Error| bad(e.to_string()))?;
        repositories.push(reference.repository);
    }
    repositories.push(format!("{}/untagged", asked.scope));
    for repository in repositories {
        let (namespace, name) = repository.split_once('/').unwrap_or((&repository, ""));
        let action = Action {
            verb: "update".into(),
            group: "towpath.dev".into(),
            resource: "images".into(),
            subresource: String::new(),
            namespace: namespace.into(),
            name: name.into(),
        };
        if !server.authorizer.allowed(&principal, &action) {
            let message = format!("{} may not push to {repository}", principal.name);
            return Err(refuse(StatusCode::FORBIDDEN, "build/denied", message));
        }
    }
    asked.principal = principal;
    let scratch = server
        .engine
        .0
        .layers
        .scratch(&format!("context-{}", id::suffix(&SystemRandom, 12)));
    let scratch = scratch.map_err(|e| {
        refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "build/storage",
            e.to_string(),
        )
    })?;
    let limit = server.engine.0.config.context_bytes;
    unpack(body, &scratch.upper(), limit).await?;
    asked.context = scratch.upper();
    let (lines, out) = mpsc::channel::<Value>(LINES);
    // The task ends with its receiver: the log call fails then, and select drops the build.
    towpath_daemon::spawn("build", async move {
        let _scratch = scratch;
        let lost = AtomicU64::new(0);
        let log = |line: &str| {
            // Full means that the client does not read; losing lines is better than memory.
            if lines.try_send(json!({ "log": line })).is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        };
        let end = tokio::select! {
            result = server.engine.build(asked, &log) => Some(summary(result)),
            () = lines.closed() => None,
        };
        let lost = lost.load(Ordering::Relaxed);
        if lost > 0 {
            let note = format!("{lost} lines were left out: they were not read in time");
            let _ = lines.send(json!({ "log": note })).await;
        }
        if let Some(end) = end {
            let _ = lines.send(end).await;
        }
    });
    let stream = futures::stream::unfold(out, |mut out| async move {
        let next = tokio::time::timeout(SILENCE, out.recv()).await;
        let line = match next {
            Ok(Some(value)) => format!("{value}\n"),
            Ok(None) => return None,
            Err(_) => "{}\n".to_string(),
        };
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), out))
    });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("application/x-ndjson"),
    );
    Ok(response)
}

fn summary(result: Result<towpath_kit::traits::BuildOutput, BuildError>) -> Value {
    match result {
        Ok(output) => json!({
            "digest": output.digest,
            "bytes": output.image_bytes,
            "cached": output.cached_steps.0,
            "steps": output.cached_steps.1,
        }),
        Err(BuildError::Input { findings }) => {
            let text = BuildError::Input {
                findings: findings.clone(),
            }
            .to_string();
            json!({ "error": text, "findings": findings })
        }
        Err(error) => json!({ "error": words(&error) }),
    }
}

async fn authenticate(server: &Server, headers: &HeaderMap) -> Result<Principal, Box<Response>> {
    let credential = headers
        .get(AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(Credential::from_header);
    let missing = || {
        refuse(
            StatusCode::UNAUTHORIZED,
            "auth/missing",
            "send a token as Bearer or Basic password",
        )
    };
    server
        .authenticator
        .authenticate(&credential.ok_or_else(missing)?)
        .await
        .map_err(|error| match error {
            AuthError::Rejected => refuse(
                StatusCode::UNAUTHORIZED,
                "auth/rejected",
                "credential not accepted",
            ),
            AuthError::Unavailable(cause) => {
                refuse(StatusCode::SERVICE_UNAVAILABLE, "auth/unavailable", cause)
            }
        })
}

fn parse(query: &[(String, String)], headers: &HeaderMap) -> Result<BuildRequest, String> {
    let mut request = BuildRequest {
        context: Default::default(),
        dockerfile: "Dockerfile".into(),
        target: None,
        args: BTreeMap::new(),
        secrets: secrets(headers)?,
        tags: Vec::new(),
        labels: BTreeMap::new(),
        scope: String::new(),
        source_date_epoch: None,
        memory_bytes: 0,
        principal: Principal::anonymous(),
    };
    for (key, value) in query {
        let pair = || {
            value
                .split_once('=')
                .map(|(k, v)| (k.to_string(), v.to_string()))
        };
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{key} is a number, not {value:?}"))
        };
        match key.as_str() {
            "repository" => request.scope = value.split('/').next().unwrap_or_default().into(),
            "tag" if request.tags.len() < TAGS => request.tags.push(value.clone()),
            "tag" => return Err(format!("more than {TAGS} tags")),
            "dockerfile" => request.dockerfile = plain(value)?,
            "target" => request.target = Some(value.clone()).filter(|t| !t.is_empty()),
            "arg" => request.args.extend([pair().ok_or("arg is NAME=value")?]),
            "label" => request
                .labels
                .extend([pair().ok_or("label is NAME=value")?]),
            "epoch" => request.source_date_epoch = Some(number()? as i64),
            "memory" => request.memory_bytes = number()?,
            other => return Err(format!("unknown parameter {other:?}")),
        }
    }
    if let Some(epoch) = request
        .args
        .get("SOURCE_DATE_EPOCH")
        .filter(|_| request.source_date_epoch.is_none())
    {
        request.source_date_epoch = epoch.parse().ok();
    }
    let scope = request.scope.as_str();
    if scope.is_empty() || !towpath_oci::reference::is_repository(scope) {
        return Err("repository=<namespace>/<name> is needed".into());
    }
    Ok(request)
}

// A path within the context.
fn plain(path: &str) -> Result<String, String> {
    let clean = path.trim_start_matches("./");
    if towpath_stdx::root::is_plain(Path::new(clean)) {
        return Ok(clean.to_string());
    }
    Err(format!("{path:?} is not a path within the context"))
}

fn secrets(headers: &HeaderMap) -> Result<BTreeMap<String, Secret>, String> {
    let Some(value) = headers.get(SECRETS) else {
        return Ok(BTreeMap::new());
    };
    let decoded = value.to_str().ok().and_then(base64_decode);
    let parsed =
        decoded.and_then(|bytes| serde_json::from_slice::<BTreeMap<String, String>>(&bytes).ok());
    let parsed = parsed.ok_or("secrets are base64 of a JSON object of strings")?;
    Ok(parsed
        .into_iter()
        .map(|(id, value)| (id, Secret::from(value)))
        .collect())
}

async fn unpack(body: Body, into: &Path, limit: u64) -> Result<(), Box<Response>> {
    let stream = body
        .into_data_stream()
        .map_err(std::io::Error::other)
        .boxed();
    let mut reader = tokio_util::io::SyncIoBridge::new(tokio_util::io::StreamReader::new(stream));
    let into = into.to_path_buf();
    let work = tokio::task::spawn_blocking(move || {
        let options = Options {
            limits: Limits {
                bytes: limit,
                ..Limits::default()
            },
            ..Options::default()
        };
        let applied = layer::apply(&mut reader, &into, &options);
        if applied.is_err() {
            // A client that is still sending sees a broken connection instead of the reason.
            let mut rest = std::io::Read::take(reader, REST_BYTES);
            let _ = std::io::copy(&mut rest, &mut std::io::sink());
        }
        applied
    });
    let result = work.await.map_err(|e| {
        refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "build/storage",
            e.to_string(),
        )
    })?;
    result.map(drop).map_err(|error| match &error {
        towpath_oci::Error::Limit(_) => refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "build/context-too-large",
            error.to_string(),
        ),
        _ => refuse(StatusCode::BAD_REQUEST, "build/context", words(&error)),
    })
}
