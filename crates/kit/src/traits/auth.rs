//! Who is asking, and may they: one answer for every door (API, git, registry, UI).
//! Implemented by `apiserver`.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;
use towpath_stdx::Secret;

/// An authenticated caller, carried by value through every call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Principal {
    /// `admin`, `system:serviceaccount:<ns>:<name>`, `system:anonymous`, …
    pub name: String,
    /// `system:masters`, `system:authenticated`, …
    pub groups: Vec<String>,
    /// Stable id where there is one.
    pub uid: String,
    /// Further facts, e.g. `towpath.dev/run` of a job token.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Principal {
    /// The caller that sent no credential.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..Self::default()
        }
    }

    /// A component of this process; its rights come from RBAC like anyone's.
    pub fn component(name: &str) -> Self {
        Self {
            name: format!("system:towpath:{name}"),
            groups: vec!["system:towpath".into(), "system:authenticated".into()],
            ..Self::default()
        }
    }
}

/// What a client presented.
#[derive(Debug)]
pub enum Credential {
    /// `Authorization: Bearer …`.
    Bearer(Secret),
    /// `Authorization: Basic …`: any user name, a token as password.
    Basic {
        /// Ignored for authentication, kept for messages.
        user: String,
        /// A token.
        password: Secret,
    },
}

impl Credential {
    /// Reads an `Authorization` header value; `None` where the scheme is unknown or malformed.
    pub fn from_header(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(Secret::from(rest.to_string())));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let raw = towpath_stdx::base64_decode(rest)?;
            let text = String::from_utf8(raw).ok()?;
            let (user, password) = text.split_once(':')?;
            return Some(Self::Basic {
                user: user.into(),
                password: Secret::from(password.to_string()),
            });
        }
        None
    }
}

/// What the caller wants to do, in RBAC's terms.
///
/// Git: `get` (fetch) and `update` (push) on `towpath.dev/repositories/git`.
/// Registry: `get`, `update`, `delete` on `towpath.dev/images` in namespace = first path
/// component of the repository name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// API group; empty for core.
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource or empty.
    pub subresource: String,
    /// Namespace or empty for cluster scope.
    pub namespace: String,
    /// Object name or empty.
    pub name: String,
}

/// Why a credential was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown, expired, revoked or malformed. Says no more on purpose.
    #[error("credential not accepted")]
    Rejected,
    /// Could not be checked.
    #[error("check credential: {0}")]
    Unavailable(String),
}

/// Turns credentials into principals and mints short-lived ones.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Checks a credential.
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError>;
    /// Makes a bearer token for a principal, e.g. a job's; it ends after `ttl`.
    fn mint(&self, principal: &Principal, ttl: Duration) -> Secret;
}

/// Decides by RBAC, without delay after a role or binding changed.
pub trait Authorizer: Send + Sync {
    /// Whether the principal may do it.
    fn allowed(&self, principal: &Principal, action: &Action) -> bool;
}
