//! `/v2/token`: a credential becomes a short-lived token for some repositories.

use crate::access::{ACCESS, Verb, allowed, caller, challenge};
use crate::routes::Server;
use crate::wire::{Answer, Code, Refusal};
use axum::body::Body;
use axum::extract::Query;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use serde_json::json;
use std::time::Duration;
use towpath_kit::traits::{AuthError, Credential, Principal};
use towpath_stdx::Secret;

const TTL: Duration = Duration::from_secs(3600);
const FORM_BYTES: usize = 16 << 10;
const SCOPES: usize = 32;

pub(crate) async fn token(
    server: &Server,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let fields = if *method == Method::POST {
        form(body).await?
    } else {
        pairs(uri)?
    };
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let principal = match caller(server, headers).await? {
        Some(principal) => Some(principal),
        None => match (
            field("password").or_else(|| field("refresh_token")),
            field("username"),
        ) {
            (Some(password), user) => Some(with_password(server, headers, user, password).await?),
            (None, _) => None,
        },
    };
    let asked: Vec<(String, Vec<Verb>)> = fields
        .iter()
        .filter(|(key, _)| key == "scope")
        .flat_map(|(_, value)| value.split(' '))
        .filter_map(scope)
        .take(SCOPES)
        .collect();
    let subject = principal.clone().unwrap_or_else(Principal::anonymous);
    let mut granted = Vec::new();
    for (repository, verbs) in asked {
        let may: Vec<&str> = verbs
            .iter()
            .filter(|verb| allowed(server, &subject, **verb, &repository))
            .map(|v| v.scope())
            .collect();
        if !may.is_empty() {
            granted.push(format!("repository:{repository}:{}", may.join(",")));
        }
    }
    // Nobody gets a token only for what nobody needs a credential for.
    if principal.is_none() && granted.is_empty() {
        return Err(challenge(headers, None, "authentication required"));
    }
    let mut bearer = subject;
    bearer.extra.insert(ACCESS.into(), granted);
    let token = server.authenticator.mint(&bearer, TTL);
    let token = token.reveal_secret();
    Ok(Answer::new(StatusCode::OK)
        .header(http::header::CACHE_CONTROL, "no-store")
        .json(&json!({
            "token": token,
            "access_token": token,
            "expires_in": TTL.as_secs(),
            "issued_at": server.registry.0.clock.rfc3339(),
        })))
}

async fn with_password(
    server: &Server,
    headers: &HeaderMap,
    user: Option<String>,
    password: String,
) -> Result<Principal, Refusal> {
    let credential = Credential::Basic {
        user: user.unwrap_or_default(),
        password: Secret::from(password),
    };
    server
        .authenticator
        .authenticate(&credential)
        .await
        .map_err(|error| match error {
            AuthError::Rejected => challenge(headers, None, "the credential is not accepted"),
            AuthError::Unavailable(cause) => Refusal::new(Code::Unknown, cause),
        })
}

// `repository:<name>:<action>,…`; others are ignored, as the specification says.
fn scope(text: &str) -> Option<(String, Vec<Verb>)> {
    let (name, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
    let verbs = actions.split(',').flat_map(|action| match action {
        "pull" => vec![Verb::Pull],
        "push" => vec![Verb::Push],
        "delete" => vec![Verb::Delete],
        "*" => vec![Verb::Pull, Verb::Push, Verb::Delete],
        _ => Vec::new(),
    });
    towpath_oci::reference::is_repository(name).then(|| (name.to_string(), verbs.collect()))
}

async fn form(body: Body) -> Result<Vec<(String, String)>, Refusal> {
    let bad = || Refusal::new(Code::Unknown, "malformed form").with_status(StatusCode::BAD_REQUEST);
    let bytes = Limited::new(body, FORM_BYTES)
        .collect()
        .await
        .map_err(|_| bad())?
        .to_bytes();
    let text = std::str::from_utf8(&bytes).map_err(|_| bad())?;
    pairs(&format!("/?{text}").parse().map_err(|_| bad())?)
}

pub(crate) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Refusal> {
    let bad =
        |_| Refusal::new(Code::Unknown, "malformed query").with_status(StatusCode::BAD_REQUEST);
    Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map(|query| query.0)
        .map_err(bad)
}
