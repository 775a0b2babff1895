//! Bearer tokens: the admin's, those of service accounts, and short-lived ones minted for jobs.
//!
//! A service account's token is bound to the account's UID (and to a pod's, where it was made
//! for one) and ends with it: every check looks at the live objects.

use crate::keyring::Keyring;
use crate::pki::{Pki, PkiError};
use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::traits::Principal;
use towpath_stdx::{Clock, Secret};
use towpath_store::Snapshot;

/// Issuer of service account tokens, as in any cluster.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Audience of minted tokens.
const MINTED: &str = "towpath";
const SKEW_SECONDS: u64 = 60;

pub(crate) struct Tokens {
    admin: Secret,
    keys: ArcSwap<Keyring>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    iat: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    jti: String,
    #[serde(
        rename = "kubernetes.io",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    kubernetes: Option<Bound>,
    #[serde(
        rename = "towpath.dev",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    towpath: Option<Minted>,
}

/// What a service account's token is bound to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) namespace: String,
    pub(crate) serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    /// Where the pod was when the token was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
}

impl Bound {
    // Whether everything the token is bound to is still there, and still the same. Where the
    // pod was is a fact about it, not a bond, as a pod never changes its node.
    fn is_live(&self, state: &Snapshot) -> bool {
        let live = |table: &str, namespace: &str, reference: &Reference| {
            let rec = state.get(table, &towpath_store::key(namespace, &reference.name));
            rec.is_some_and(|rec| *rec.meta.uid == *reference.uid)
        };
        let namespace = self.namespace.as_str();
        let bonds = [
            ("pods", namespace, self.pod.as_ref()),
            ("secrets", namespace, self.secret.as_ref()),
            // Bound to a node itself, where to no pod.
            (
                "nodes",
                "",
                self.node.as_ref().filter(|_| self.pod.is_none()),
            ),
        ];
        live("serviceaccounts", namespace, &self.serviceaccount)
            && bonds.into_iter().all(|(table, namespace, bond)| {
                bond.is_none_or(|bond| live(table, namespace, bond))
            })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) uid: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Minted {
    groups: Vec<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
}

/// A checked token: who it is for, and for which audiences.
pub(crate) struct Checked {
    pub(crate) principal: Principal,
    pub(crate) audiences: Vec<String>,
}

// Both sides are walked whole, so that the time says nothing about where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

pub(crate) fn admin() -> Principal {
    Principal {
        name: "admin".into(),
        groups: vec!["system:masters".into(), "system:authenticated".into()],
        ..Principal::default()
    }
}

/// The principal of a service account.
pub(crate) fn account(namespace: &str, name: &str, uid: &str) -> Principal {
    Principal {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ],
        uid: uid.into(),
        extra: BTreeMap::new(),
    }
}

impl Tokens {
    pub(crate) fn new(pki: &Pki, clock: Arc<dyn Clock>) -> Result<Self, PkiError> {
        Ok(Self {
            admin: pki.admin_token.clone(),
            keys: ArcSwap::from_pointee(pki.token_keys(&*clock)?),
            clock,
        })
    }

    /// Signs with a new key from now on; what the present one signed stays good.
    pub(crate) fn rotate(&self, pki: &Pki) -> Result<(), PkiError> {
        self.keys
            .store(Arc::new(pki.rotate_token_key(&*self.clock)?));
        Ok(())
    }

    /// The public halves of the keys as a JSON web key set.
    pub(crate) fn key_set(&self) -> Value {
        self.keys.load().set()
    }

    fn encode(&self, claims: &Claims) -> Secret {
        self.keys.load().sign(claims)
    }

    fn now(&self) -> u64 {
        self.clock.since_epoch().as_secs()
    }

    /// A token for a service account; returns it with its end in seconds since 1970.
    pub(crate) fn issue(
        &self,
        bound: Bound,
        audiences: Vec<String>,
        ttl: Duration,
        id: String,
    ) -> (Secret, u64) {
        let now = self.now();
        let exp = now + ttl.as_secs();
        let claims = Claims {
            iss: ISSUER.into(),
            sub: format!(
                "system:serviceaccount:{}:{}",
                bound.namespace, bound.serviceaccount.name
            ),
            aud: audiences,
            exp,
            nbf: now,
            iat: now,
            jti: id,
            kubernetes: Some(bound),
            towpath: None,
        };
        (self.encode(&claims), exp)
    }

    /// A token that says who the bearer is.
    pub(crate) fn mint(&self, principal: &Principal, ttl: Duration) -> Secret {
        let now = self.now();
        let minted = Minted {
            groups: principal.groups.clone(),
            uid: principal.uid.clone(),
            extra: principal.extra.clone(),
        };
        self.encode(&Claims {
            iss: ISSUER.into(),
            sub: principal.name.clone(),
            aud: vec![MINTED.into()],
            exp: now + ttl.as_secs(),
            nbf: now,
            iat: now,
            jti: String::new(),
            kubernetes: None,
            towpath: Some(minted),
        })
    }

    /// Who a token is for; `None` where it is not accepted. Empty `audiences` means those of
    /// this server.
    pub(crate) fn check(
        &self,
        token: &str,
        audiences: &[String],
        state: &Snapshot,
    ) -> Option<Checked> {
        if same(token.as_bytes(), self.admin.reveal_secret_bytes()) {
            let audiences = vec![ISSUER.to_string()];
            return Some(Checked {
                principal: admin(),
                audiences,
            });
        }
        let mut rules = Validation::new(Algorithm::ES256);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        rules.set_issuer(&[ISSUER]);
        let claims: Claims = self.keys.load().open(token, &rules)?;
        let now = self.now();
        if claims.exp + SKEW_SECONDS < now || claims.nbf > now + SKEW_SECONDS {
            return None;
        }
        if let Some(minted) = claims.towpath {
            if !audiences.is_empty() && !audiences.iter().any(|a| a == MINTED) {
                return None;
            }
            let Minted { groups, uid, extra } = minted;
            let principal = Principal {
                name: claims.sub,
                groups,
                uid,
                extra,
            };
            return Some(Checked {
                principal,
                audiences: claims.aud,
            });
        }
        let own = [ISSUER.to_string(), "api".to_string()];
        let wanted = if audiences.is_empty() {
            &own[..]
        } else {
            audiences
        };
        let matching: Vec<String> = claims
            .aud
            .iter()
            .filter(|a| wanted.contains(a))
            .cloned()
            .collect();
        if matching.is_empty() {
            return None;
        }
        let bound = claims.kubernetes?;
        if !bound.is_live(state) {
            return None;
        }
        let mut principal = account(
            &bound.namespace,
            &bound.serviceaccount.name,
            &bound.serviceaccount.uid,
        );
        let credential = (!claims.jti.is_empty()).then(|| format!("JTI={}", claims.jti));
        let facts = [
            ("credential-id", credential),
            ("pod-name", bound.pod.as_ref().map(|pod| pod.name.clone())),
            ("pod-uid", bound.pod.as_ref().map(|pod| pod.uid.clone())),
            (
                "node-name",
                bound.node.as_ref().map(|node| node.name.clone()),
            ),
            ("node-uid", bound.node.as_ref().map(|node| node.uid.clone())),
        ];
        for (name, value) in facts {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let key = format!("authentication.kubernetes.io/{name}");
                principal.extra.insert(key, vec![value]);
            }
        }
        Some(Checked {
            principal,
            audiences: matching,
        })
    }
}

/// A principal as `status.user` of a review.
pub(crate) fn user_info(principal: &Principal) -> Value {
    let mut user = serde_json::json!({"username": principal.name, "groups": principal.groups});
    if !principal.uid.is_empty() {
        user["uid"] = principal.uid.clone().into();
    }
    if !principal.extra.is_empty() {
        user["extra"] = serde_json::to_value(&principal.extra).unwrap_or_default();
    }
    user
}
