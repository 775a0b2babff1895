//! The keys that sign tokens: one that signs, and those from before it, whose tokens are
//! accepted until they end by themselves.
//!
//! A key's id is the digest of its public half, as in upstream, so that clients which keep the
//! key set find the right one.

use crate::pki::PkiError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use rcgen::{KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use towpath_stdx::Secret;

/// Bytes of an uncompressed point on P-256: a mark and two coordinates.
const POINT_BYTES: usize = 65;

struct Check {
    id: String,
    key: DecodingKey,
    /// Coordinates, as the key set shows them.
    x: String,
    y: String,
}

/// Keys by use.
pub(crate) struct Keyring {
    sign: EncodingKey,
    /// The signing key's first.
    check: Vec<Check>,
}

/// Id of a key by its public half (`SubjectPublicKeyInfo` as DER).
pub(crate) fn key_id(public_der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(public_der))
}

impl Check {
    fn read(public_pem: &str) -> Result<Self, PkiError> {
        let unusable = |_| PkiError::Key("a public key of tokens");
        let public = SubjectPublicKeyInfo::from_pem(public_pem).map_err(unusable)?;
        let point = public.der_bytes();
        if point.len() != POINT_BYTES || point[0] != 4 {
            return Err(PkiError::Key("a public key of tokens"));
        }
        let (x, y) = point[1..].split_at(POINT_BYTES / 2);
        Ok(Self {
            id: key_id(&public.subject_public_key_info()),
            key: DecodingKey::from_ec_pem(public_pem.as_bytes())
                .map_err(|_| PkiError::Key("a public key of tokens"))?,
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        })
    }
}

impl Keyring {
    /// From the signing key and the public halves of earlier ones.
    pub(crate) fn read(signing_pem: &Secret, earlier_pem: &[String]) -> Result<Self, PkiError> {
        let pem = signing_pem.reveal_secret();
        let unusable = |_| PkiError::Key("the key of tokens");
        let pair = KeyPair::from_pem(pem).map_err(unusable)?;
        let mut check = vec![Check::read(&pair.public_key_pem())?];
        for pem in earlier_pem {
            check.push(Check::read(pem)?);
        }
        Ok(Self {
            sign: EncodingKey::from_ec_pem(pem.as_bytes())
                .map_err(|_| PkiError::Key("the key of tokens"))?,
            check,
        })
    }

    /// Signs claims.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Secret {
        let header = Header {
            kid: self.check.first().map(|key| key.id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        // Signing with a key that was read before does not fail.
        Secret::from(jsonwebtoken::encode(&header, claims, &self.sign).unwrap_or_default())
    }

    /// The claims of a token that one of the keys has signed.
    pub(crate) fn open<T: DeserializeOwned + Clone>(
        &self,
        token: &str,
        rules: &Validation,
    ) -> Option<T> {
        let id = jsonwebtoken::decode_header(token)
            .ok()?
            .kid
            .unwrap_or_default();
        // Tokens of before keys had ids name none of them.
        let known = self.check.iter().any(|key| key.id == id);
        let candidates = self.check.iter().filter(|key| !known || key.id == id);
        candidates
            .filter_map(|key| jsonwebtoken::decode(token, &key.key, rules).ok())
            .map(|data: TokenData<T>| data.claims)
            .next()
    }

    /// The public halves as a JSON web key set.
    pub(crate) fn set(&self) -> Value {
        let keys = self.check.iter().map(|key| {
            json!({"use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256", "x": key.x, "y": key.y})
        });
        json!({"keys": keys.collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_key_signed_is_still_read() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pair = || KeyPair::generate().expect("key");
        let (old, new, foreign) = (pair(), pair(), pair());
        let ring = |key: &KeyPair, earlier: &[String]| {
            Keyring::read(&Secret::from(key.serialize_pem()), earlier).expect("keys")
        };
        let mut rules = Validation::new(Algorithm::ES256);
        rules.validate_exp = false;
        rules.required_spec_claims.clear();
        let before = ring(&old, &[]);
        let token = before.sign(&json!({"sub": "a"}));
        let after = ring(&new, &[old.public_key_pem()]);
        let claims: Option<Value> = after.open(token.reveal_secret(), &rules);
        assert_eq!(claims.expect("claims")["sub"], "a");
        let claims: Option<Value> = ring(&foreign, &[]).open(token.reveal_secret(), &rules);
        assert!(claims.is_none());
        let set = after.set();
        assert_eq!(set["keys"].as_array().map(Vec::len), Some(2));
        assert_eq!(set["keys"][1], before.set()["keys"][0]);
        assert_ne!(set["keys"][0]["kid"], set["keys"][1]["kid"]);
    }
}
