//! Who may ask and who may send: one check for every API of signals.
//!
//! The right is on `signals` of `towpath.dev`, cluster-wide, as signals of all namespaces are
//! seen: `get` reads, `create` sends, `delete` deletes. A data source gives a token as the
//! password of any user name. Each API says in its own shape why somebody is not let in.

use std::sync::Arc;

use axum::body::Body;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};

/// Checks who asks.
#[derive(Clone)]
pub struct Door {
    /// Turns credentials into callers.
    pub authenticator: Arc<dyn Authenticator>,
    /// Says what a caller may do.
    pub authorizer: Arc<dyn Authorizer>,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no credential.
    #[error("a token is needed: as bearer, or as the password of any user")]
    Absent,
    /// There is one, and it is not good.
    #[error("credential not accepted")]
    Rejected,
    /// The caller may not do it.
    #[error("{who} may not {verb} signals.towpath.dev in the whole cluster")]
    Forbidden {
        /// Who asks.
        who: String,
        /// What for.
        verb: String,
    },
    /// Credentials cannot be checked at present.
    #[error("{0}")]
    Unavailable(String),
}

impl Denied {
    /// What HTTP calls it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Absent | Self::Rejected => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Says in a response how a credential is given, where that would help.
    pub fn challenge<B>(&self, response: &mut Response<B>) {
        if self.status() == StatusCode::UNAUTHORIZED {
            let wanted = HeaderValue::from_static("Basic realm=\"towpath\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, wanted);
        }
    }
}

impl Door {
    /// Who asks.
    ///
    /// # Errors
    /// The credential is absent, not accepted, or cannot be checked.
    pub async fn principal(&self, headers: &HeaderMap) -> Result<Principal, Denied> {
        let given = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        let credential = given.and_then(Credential::from_header);
        let credential = credential.ok_or(Denied::Absent)?;
        match self.authenticator.authenticate(&credential).await {
            Ok(principal) => Ok(principal),
            Err(AuthError::Rejected) => Err(Denied::Rejected),
            Err(error @ AuthError::Unavailable(_)) => {
                tracing::error!(%error, "a credential cannot be checked");
                Err(Denied::Unavailable(error.to_string()))
            }
        }
    }

    /// Lets a caller with a right on signals in.
    ///
    /// # Errors
    /// Everyone else is denied.
    pub async fn check(&self, headers: &HeaderMap, verb: &str) -> Result<Principal, Denied> {
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
        Err(Denied::Forbidden {
            who: principal.name,
            verb: verb.into(),
        })
    }

    /// The same; the refusal is told as the API of Prometheus tells errors, which is the shape of
    /// the house's own APIs, too.
    ///
    /// # Errors
    /// The reply to everyone else.
    pub async fn pass(
        &self,
        headers: &HeaderMap,
        verb: &str,
    ) -> Result<Principal, Box<Response<Body>>> {
        let checked = self.check(headers, verb).await;
        checked.map_err(|denied| Box::new(crate::prometheus::denied(&denied)))
    }
}
