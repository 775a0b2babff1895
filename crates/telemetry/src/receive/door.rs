//! Who may push: the house's own tokens and rights.

use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};

/// Lets a caller through who may `create` `signals` of `towpath.dev`.
///
/// # Errors
/// The answer to give instead.
pub(super) async fn let_in(
    headers: &HeaderMap,
    authenticator: &dyn Authenticator,
    authorizer: &dyn Authorizer,
) -> Result<Principal, Box<Response>> {
    let challenge = |message: &'static str| {
        let mut response = (StatusCode::UNAUTHORIZED, message).into_response();
        let scheme = HeaderValue::from_static("Basic realm=\"towpath\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        Box::new(response)
    };
    let header = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let credential = header.and_then(Credential::from_header);
    let credential = credential.ok_or_else(|| challenge("a token is needed"))?;
    let principal = match authenticator.authenticate(&credential).await {
        Ok(principal) => principal,
        Err(AuthError::Rejected) => return Err(challenge("the credential is not accepted")),
        Err(AuthError::Unavailable(cause)) => {
            tracing::error!(cause, "authentication of remote write");
            let message = "credentials cannot be checked now";
            return Err(Box::new(
                (StatusCode::SERVICE_UNAVAILABLE, message).into_response(),
            ));
        }
    };
    let action = Action {
        verb: "create".into(),
        group: "towpath.dev".into(),
        resource: "signals".into(),
        ..Action::default()
    };
    if authorizer.allowed(&principal, &action) {
        return Ok(principal);
    }
    let message = format!("{} may not create signals of towpath.dev", principal.name);
    Err(Box::new((StatusCode::FORBIDDEN, message).into_response()))
}
