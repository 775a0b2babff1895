//! Who asks, and may they: before anything else is said about a repository.
//!
//! Without a credential the answer is always 401, with one that does not suffice always 404:
//! neither tells whether the repository exists.

use super::Front;
use crate::names::RepoName;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use towpath_kit::traits::{Action, AuthError, Credential, Principal};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Write,
}

/// Says that nothing is there, whether or not it is.
pub(crate) fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "repository not found\n").into_response()
}

fn ask_for_credential() -> Response {
    let mut response = (
        StatusCode::UNAUTHORIZED,
        "a token is needed: any user name, the token as password\n",
    )
        .into_response();
    let realm = HeaderValue::from_static("Basic realm=\"Towpath\", charset=\"UTF-8\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, realm);
    response
}

impl Front {
    /// The caller, if the right is theirs; else the answer to give.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        name: Option<&RepoName>,
        right: Right,
    ) -> Result<Principal, Response> {
        let principal = match headers.get(header::AUTHORIZATION) {
            None => Principal::anonymous(),
            Some(value) => {
                let credential = value.to_str().ok().and_then(Credential::from_header);
                let credential = credential.ok_or_else(ask_for_credential)?;
                match self.authenticator.authenticate(&credential).await {
                    Ok(principal) => principal,
                    Err(AuthError::Rejected) => return Err(ask_for_credential()),
                    Err(AuthError::Unavailable(cause)) => {
                        tracing::warn!(cause, "credential not checked");
                        let text = "the credential cannot be checked now; try again\n";
                        return Err((StatusCode::SERVICE_UNAVAILABLE, text).into_response());
                    }
                }
            }
        };
        let anonymous = !headers.contains_key(header::AUTHORIZATION);
        let refused = || {
            if anonymous {
                ask_for_credential()
            } else {
                not_found()
            }
        };
        let name = name.ok_or_else(refused)?;
        let action = Action {
            verb: match right {
                Right::Read => "get",
                Right::Write => "update",
            }
            .into(),
            group: "towpath.dev".into(),
            resource: "repositories".into(),
            subresource: "git".into(),
            namespace: name.owner().into(),
            name: name.name().into(),
        };
        if self.authorizer.allowed(&principal, &action) {
            Ok(principal)
        } else {
            Err(refused())
        }
    }
}
