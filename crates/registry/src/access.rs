//! Who is asking, and may they.
//!
//! A request without a credential is challenged with the token flow of the distribution
//! specification; Basic is accepted as well. Rights are the cluster's own: `get`, `update` and
//! `delete` on `towpath.dev/images`, namespace = first component of the repository's name.

use crate::routes::Server;
use crate::wire::{Code, Refusal};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use towpath_kit::traits::{Action, AuthError, Credential, Principal};

/// Facts of a token made by [`crate::token`]: `repository:<name>:pull,push`, one per value.
pub(crate) const ACCESS: &str = "towpath.dev/registry-access";

/// What is done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Pull,
    Push,
    Delete,
}

impl Verb {
    fn rbac(self) -> &'static str {
        match self {
            Self::Pull => "get",
            Self::Push => "update",
            Self::Delete => "delete",
        }
    }

    pub(crate) fn scope(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// The caller, or nobody where no credential was sent. A bad credential is refused, also where
/// nobody would be let in.
pub(crate) async fn caller(
    server: &Server,
    headers: &HeaderMap,
) -> Result<Option<Principal>, Refusal> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let credential = value.to_str().ok().and_then(Credential::from_header);
    let credential =
        credential.ok_or_else(|| challenge(headers, None, "the credential is malformed"))?;
    match server.authenticator.authenticate(&credential).await {
        Ok(principal) => Ok(Some(principal)),
        Err(AuthError::Rejected) => Err(challenge(headers, None, "the credential is not accepted")),
        Err(AuthError::Unavailable(cause)) => {
            tracing::error!(cause, "registry authentication");
            Err(Refusal::new(
                Code::Unknown,
                "credentials cannot be checked now",
            ))
        }
    }
}

/// Checks a right; nobody is challenged, somebody is denied.
pub(crate) fn check(
    server: &Server,
    headers: &HeaderMap,
    caller: Option<&Principal>,
    verb: Verb,
    repository: &str,
) -> Result<(), Refusal> {
    let anonymous = Principal::anonymous();
    if allowed(server, caller.unwrap_or(&anonymous), verb, repository) {
        return Ok(());
    }
    match caller {
        // A token for another scope: the client may ask for one for this scope.
        Some(principal) if !principal.extra.contains_key(ACCESS) => {
            let message = format!("{} may not {} {repository}", principal.name, verb.scope());
            Err(Refusal::new(Code::Denied, message))
        }
        _ => Err(challenge(
            headers,
            Some((repository, verb)),
            "authentication required",
        )),
    }
}

pub(crate) fn allowed(
    server: &Server,
    principal: &Principal,
    verb: Verb,
    repository: &str,
) -> bool {
    if let Some(scopes) = principal.extra.get(ACCESS)
        && !scopes.iter().any(|scope| grants(scope, verb, repository))
    {
        return false;
    }
    let (namespace, name) = repository.split_once('/').unwrap_or((repository, ""));
    server.authorizer.allowed(
        principal,
        &Action {
            verb: verb.rbac().into(),
            group: "towpath.dev".into(),
            resource: "images".into(),
            subresource: String::new(),
            namespace: namespace.into(),
            name: name.into(),
        },
    )
}

fn grants(scope: &str, verb: Verb, repository: &str) -> bool {
    let Some((name, actions)) = scope
        .strip_prefix("repository:")
        .and_then(|rest| rest.rsplit_once(':'))
    else {
        return false;
    };
    name == repository
        && actions
            .split(',')
            .any(|action| action == "*" || action == verb.scope())
}

/// 401 with the way to a token.
pub(crate) fn challenge(
    headers: &HeaderMap,
    scope: Option<(&str, Verb)>,
    message: &str,
) -> Refusal {
    let (scheme, host) = origin(headers);
    let mut value = format!(r#"Bearer realm="{scheme}://{host}/v2/token",service="{host}""#);
    if let Some((repository, verb)) = scope {
        // A client that pushes also reads what is there.
        let actions = if verb == Verb::Push {
            "pull,push"
        } else {
            verb.scope()
        };
        value.push_str(&format!(r#",scope="repository:{repository}:{actions}""#));
    }
    Refusal::new(Code::Unauthorized, message).with_header(WWW_AUTHENTICATE, &value)
}

// As the client reached us; only characters of a host get into the header.
fn origin(headers: &HeaderMap) -> (&'static str, String) {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    };
    let scheme = if text("x-forwarded-proto") == "https" {
        "https"
    } else {
        "http"
    };
    let host: String = text(HOST.as_str())
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'))
        .take(260)
        .collect();
    (
        scheme,
        if host.is_empty() {
            "localhost".into()
        } else {
            host
        },
    )
}
