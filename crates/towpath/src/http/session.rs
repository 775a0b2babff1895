//! Login for browsers: a token once, then a cookie that scripts cannot read.

use super::Shared;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use towpath_kit::traits::{AuthError, Credential, Principal};
use towpath_stdx::Secret;

/// Cookie that carries the token.
pub(super) const COOKIE: &str = "towpath_session";

#[derive(Deserialize)]
struct Login {
    token: String,
}

pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/api/v1/session", get(read).post(create).delete(remove))
        .with_state(shared)
}

/// Who sends these headers; anonymous where they carry no credential.
pub(super) async fn principal(
    shared: &Shared,
    headers: &HeaderMap,
) -> Result<Principal, AuthError> {
    let value = headers.get("authorization").and_then(|v| v.to_str().ok());
    match value.map(Credential::from_header) {
        None => Ok(Principal::anonymous()),
        Some(None) => Err(AuthError::Rejected),
        Some(Some(credential)) => shared.authenticator.authenticate(&credential).await,
    }
}

async fn create(State(shared): State<Shared>, Json(login): Json<Login>) -> Response {
    let token = login.token.trim().to_string();
    // A token that is no cookie value cannot be one of ours.
    if token.is_empty()
        || !token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.=".contains(&b))
    {
        return denied();
    }
    let credential = Credential::Bearer(Secret::from(token.clone()));
    let Ok(principal) = shared.authenticator.authenticate(&credential).await else {
        return denied();
    };
    let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
    ([(SET_COOKIE, cookie)], Json(describe(&principal))).into_response()
}

async fn read(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    match principal(&shared, &headers).await {
        Ok(principal) if principal != Principal::anonymous() => {
            Json(describe(&principal)).into_response()
        }
        _ => denied(),
    }
}

async fn remove() -> Response {
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response()
}

fn describe(principal: &Principal) -> serde_json::Value {
    json!({
        "user": principal.name,
        "groups": principal.groups,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn denied() -> Response {
    let body = json!({
        "reason": "not-logged-in",
        "message": "the token is not accepted",
        "next": ["towpath up prints the token; it is also in <data-dir>/pki/admin.token"],
    });
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}
