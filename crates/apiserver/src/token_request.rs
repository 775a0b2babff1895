//! TokenRequest: a token for a service account, bound to it and, where asked, to a pod, secret
//! or node.

use crate::body::{self, Answer};
use crate::core::Call;
use crate::model;
use crate::read;
use crate::record;
use crate::route::Target;
use crate::token::{Bound, ISSUER, Reference};
use serde_json::{Value, json};
use std::time::Duration;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};
use towpath_store::Snapshot;

const GROUP: &str = "authentication.k8s.io";
const SECONDS_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
/// What may be asked for.
const SECONDS_MAX: i64 = 1 << 32;
/// What is given; earlier signing keys are kept as long.
const SECONDS_GIVEN_MAX: i64 = 365 * 24 * 3600;

pub(crate) fn serve(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let mut request = model::read_body(call.content_type(), bytes)?.0;
    if !request.is_object() {
        return Err(status::bad_request("the body is not an object"));
    }
    let core = &call.core;
    let account = read::find(call, target)?;
    let seconds = seconds(&request["spec"]["expirationSeconds"])?;
    let mut audiences: Vec<String> = request["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|a| a.as_str().map(str::to_string))
        .collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.into());
    }
    let mut bound = Bound {
        namespace: target.namespace.clone(),
        serviceaccount: Reference {
            name: target.name.clone(),
            uid: account.meta.uid.to_string(),
        },
        pod: None,
        node: None,
        secret: None,
    };
    let state = core.store.snapshot();
    bind(&state, &mut bound, &request["spec"]["boundObjectRef"])?;
    let pod = bound.pod.as_ref().map(|pod| pod.name.as_str());
    crate::admission::node_token(call, &state, &target.namespace, pod)
        .map_err(|why| status::forbidden("", "serviceaccounts", &target.name, &why))?;
    let id = towpath_stdx::id::uuid(&*core.random);
    let life = Duration::from_secs(seconds.unsigned_abs());
    let (token, end) = core.tokens.issue(bound, audiences.clone(), life, id);
    request["kind"] = "TokenRequest".into();
    request["apiVersion"] = format!("{GROUP}/v1").into();
    request["metadata"] = json!({"name": target.name, "namespace": target.namespace, "creationTimestamp": core.clock.rfc3339()});
    if !request["spec"].is_object() {
        request["spec"] = json!({});
    }
    request["spec"]["audiences"] = audiences.into();
    request["spec"]["expirationSeconds"] = seconds.into();
    if request["spec"].get("boundObjectRef").is_none() {
        request["spec"]["boundObjectRef"] = Value::Null;
    }
    request["status"] = json!({
        "token": token.reveal_secret(),
        "expirationTimestamp": towpath_stdx::clock::rfc3339(end),
    });
    Ok(body::json(201, &request))
}

fn seconds(asked: &Value) -> Result<i64, Failure> {
    let seconds = asked.as_i64().unwrap_or(SECONDS_DEFAULT);
    let why = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Ok(seconds.min(SECONDS_GIVEN_MAX)),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = FieldError::invalid("spec.expirationSeconds", seconds, why);
    Err(status::invalid(GROUP, "TokenRequest", "", &[error]))
}

// The token ends with the object it is bound to.
fn bind(state: &Snapshot, bound: &mut Bound, object: &Value) -> Result<(), Failure> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (kind, name, uid) = (text("kind"), text("name"), text("uid"));
    if kind.is_empty() && name.is_empty() {
        return Ok(());
    }
    let (table, namespace) = match (text("apiVersion"), kind) {
        ("" | "v1", "Pod") => ("pods", bound.namespace.as_str()),
        ("" | "v1", "Secret") => ("secrets", bound.namespace.as_str()),
        ("" | "v1", "Node") => ("nodes", ""),
        _ => {
            let version = text("apiVersion");
            let slash = if version.contains('/') { "" } else { "/" };
            let kind = format!("{slash}{version}, Kind={kind}");
            let why = format!("cannot bind token to object of type {kind}");
            return Err(status::bad_request(why));
        }
    };
    let found = state
        .get(table, &towpath_store::key(namespace, name))
        .ok_or_else(|| status::not_found("", table, name))?;
    if !uid.is_empty() && *uid != *found.meta.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(status::conflict("", table, name, &why));
    }
    let reference = Reference {
        name: name.into(),
        uid: found.meta.uid.to_string(),
    };
    match kind {
        "Pod" => {
            let pod = record::decode(found);
            let runs_as = pod["spec"]["serviceAccountName"]
                .as_str()
                .unwrap_or_default();
            if runs_as != bound.serviceaccount.name {
                let why = format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    bound.serviceaccount.name
                );
                return Err(status::bad_request(why));
            }
            bound.node = pod["spec"]["nodeName"]
                .as_str()
                .filter(|n| !n.is_empty())
                .map(|node| {
                    let rec = state.get("nodes", &towpath_store::key("", node));
                    Reference {
                        name: node.into(),
                        uid: rec.map(|rec| rec.meta.uid.to_string()).unwrap_or_default(),
                    }
                });
            bound.pod = Some(reference);
        }
        "Node" => bound.node = Some(reference),
        _ => bound.secret = Some(reference),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_token_may_last() {
        assert_eq!(seconds(&Value::Null).ok(), Some(3600));
        assert_eq!(seconds(&json!(600)).ok(), Some(600));
        assert!(seconds(&json!(599)).is_err() && seconds(&json!(-1)).is_err());
        assert!(seconds(&json!(SECONDS_MAX + 1)).is_err());
        assert_eq!(seconds(&json!(SECONDS_MAX)).ok(), Some(SECONDS_GIVEN_MAX));
    }
}
