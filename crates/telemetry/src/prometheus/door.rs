//! Who may ask: everything but health wants a credential, and the right to read metrics.
//!
//! The right is `get` on `signals` of `towpath.dev`, cluster-wide, as series of all namespaces
//! are seen; what deletes wants `delete`, what writes `create`. A data source gives a token as the
//! password of any user name.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};

use super::reply::refused;

/// Checks who asks.
#[derive(Clone)]
pub struct Door {
    /// Turns credentials into callers.
    pub authenticator: Arc<dyn Authenticator>,
    /// Says what a caller may do.
    pub authorizer: Arc<dyn Authorizer>,
}

impl Door {
    /// Who asks.
    ///
    /// # Errors
    /// The reply to a credential that is absent or not accepted.
    pub async fn principal(
        &self,
        headers: &http::HeaderMap,
    ) -> Result<Principal, Box<Response<Body>>> {
        let given = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        let Some(credential) = given.and_then(Credential::from_header) else {
            return Err(unauthorized(
                "a token is needed: as bearer, or as the password of any user",
            ));
        };
        match self.authenticator.authenticate(&credential).await {
            Ok(principal) => Ok(principal),
            Err(AuthError::Rejected) => Err(unauthorized("credential not accepted")),
            Err(error @ AuthError::Unavailable(_)) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Err(Box::new(refused(status, "unavailable", &error.to_string())))
            }
        }
    }

    /// Lets a caller with a right on metrics pass.
    ///
    /// # Errors
    /// The reply to everyone else.
    pub async fn pass(
        &self,
        headers: &http::HeaderMap,
        verb: &str,
    ) -> Result<Principal, Box<Response<Body>>> {
        let principal = self.principal(headers).await?;
        let action = Action {
            verb: verb.into(),
            group: "towpath.dev".into(),
            resource: "signals".into(),
            ..Action::default()
        };
        if self.authorizer.allowed(&principal, &action) {
            return Ok(principal);
        }
        let message = format!(
            "{} may not {verb} signals.towpath.dev in the whole cluster",
            principal.name
        );
        Err(Box::new(refused(
            StatusCode::FORBIDDEN,
            "forbidden",
            &message,
        )))
    }
}

fn unauthorized(message: &str) -> Box<Response<Body>> {
    let mut response = refused(StatusCode::UNAUTHORIZED, "unauthorized", message);
    let wanted = HeaderValue::from_static("Basic realm=\"towpath\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, wanted);
    Box::new(response)
}

pub(super) async fn guard(
    State(door): State<Door>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let path = request.uri().path();
    if path.contains("/-/") || *request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let deletes = path.contains("/admin/") || *request.method() == Method::DELETE;
    let verb = if deletes { "delete" } else { "get" };
    match door.pass(request.headers(), verb).await {
        Ok(_) => next.run(request).await,
        Err(refusal) => *refusal,
    }
}
