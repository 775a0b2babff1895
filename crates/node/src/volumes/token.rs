//! Service account tokens of a pod's volumes: when they are renewed, and how.
//!
//! The times are read from the token itself, not from its file, as the file is written again
//! whenever anything beside it changes.

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{Api, Client};
use std::time::Duration;
use towpath_stdx::{Clock, SystemClock};

/// A token is renewed after four fifths of its time, as upstream, and at least daily.
const RENEW_SECONDS_MAX: u64 = 24 * 3600;
/// A token that is due is asked for again after this long where it was not to be had.
const LEAST: Duration = Duration::from_secs(1);

/// How long the token may stay where it is at `now`; `None` once it must be renewed.
pub(crate) fn stays(token: &[u8], now: u64) -> Option<Duration> {
    let (issued, ends) = times(std::str::from_utf8(token).ok()?)?;
    let life = ends.checked_sub(issued)?;
    let due = issued + (life / 5 * 4).min(RENEW_SECONDS_MAX);
    due.checked_sub(now)
        .filter(|left| *left > 0)
        .map(Duration::from_secs)
}

/// The same at this moment.
pub(crate) fn stays_now(token: &[u8]) -> Option<Duration> {
    stays(token, SystemClock.since_epoch().as_secs())
}

/// When to look at a new token again.
pub(crate) fn due(token: &[u8]) -> Duration {
    stays_now(token).unwrap_or(LEAST)
}

// `iat` and `exp` of a JSON web token.
fn times(token: &str) -> Option<(u64, u64)> {
    let claims = token.split('.').nth(1)?;
    let claims = claims.replace('-', "+").replace('_', "/");
    let claims = towpath_stdx::base64_decode(&claims)?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some((claims["iat"].as_u64()?, claims["exp"].as_u64()?))
}

/// Asks for a token bound to the pod.
pub(crate) async fn mint(
    client: &Client,
    namespace: &str,
    account: &str,
    pod: &Pod,
    audiences: Vec<String>,
    seconds: i64,
) -> Result<Vec<u8>, String> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(audiences),
            expiration_seconds: Some(seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let minted = api
        .create_token_request(account, &Default::default(), &request)
        .await;
    let minted = minted.map_err(|error| format!("token of service account {account}: {error}"))?;
    minted
        .status
        .and_then(|status| status.token)
        .filter(|token| !token.is_empty())
        .map(String::into_bytes)
        .ok_or_else(|| format!("token of service account {account}: the answer holds none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_for_four_fifths_of_its_time() {
        // {"iat":1000,"exp":4600} and {"iat":1000,"exp":1001000}
        let hour = b"e30.eyJpYXQiOjEwMDAsImV4cCI6NDYwMH0.c2ln";
        let long = b"e30.eyJpYXQiOjEwMDAsImV4cCI6MTAwMTAwMH0.c2ln";
        assert_eq!(stays(hour, 1000), Some(Duration::from_secs(2880)));
        assert_eq!(stays(hour, 3879), Some(Duration::from_secs(1)));
        assert_eq!(stays(hour, 3880), None);
        assert_eq!(stays(long, 1000), Some(Duration::from_secs(86_400)));
        for damaged in [&b""[..], b"a.b", b"a.e30.c", b"\xff", b"..", b"a.!.c"] {
            assert_eq!(stays(damaged, 0), None);
        }
    }
}
