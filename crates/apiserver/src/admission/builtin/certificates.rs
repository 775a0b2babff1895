//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who asks is what
//! authentication said; who approves and signs needs the right on the signer.

use crate::admission::{Change, Operation};
use crate::csr;
use serde_json::{Value, json};
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};

const PLURAL: &str = "certificatesigningrequests";

pub(super) fn mutate(change: &Change<'_>, new: &mut Value) {
    if !change.target.resource.is(csr::GROUP, PLURAL) {
        return;
    }
    let core = &change.call.core;
    match (change.operation, change.subresource) {
        (Operation::Create, "") if new["spec"].is_object() => {
            let who = &change.call.principal;
            if let Some(spec) = new["spec"].as_object_mut() {
                spec.insert("username".into(), who.name.clone().into());
                spec.insert("groups".into(), who.groups.clone().into());
                match who.uid.is_empty() {
                    true => spec.remove("uid"),
                    false => spec.insert("uid".into(), who.uid.clone().into()),
                };
                match who.extra.is_empty() {
                    true => spec.remove("extra"),
                    false => spec.insert("extra".into(), json!(who.extra)),
                };
            }
            new["status"] = json!({});
        }
        // What was asked for stays what was asked for.
        (Operation::Update, "") => {
            if let Some(old) = change.old {
                new["spec"] = old["spec"].clone();
                new["status"] = old["status"].clone();
            }
        }
        (Operation::Update, "approval" | "status") => {
            let now = core.clock.rfc3339();
            let conditions = new.pointer_mut("/status/conditions");
            let conditions = conditions
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten();
            for condition in conditions.filter(|c| c.is_object()) {
                for time in ["lastUpdateTime", "lastTransitionTime"] {
                    if condition[time].is_null() {
                        condition[time] = now.clone().into();
                    }
                }
            }
        }
        _ => {}
    }
}

pub(super) fn validate(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    if !change.target.resource.is(csr::GROUP, PLURAL) {
        return Ok(());
    }
    let signer = new["spec"]["signerName"].as_str().unwrap_or_default();
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let invalid = |error: FieldError| {
        Err(status::invalid(
            csr::GROUP,
            "CertificateSigningRequest",
            name,
            &[error],
        ))
    };
    let needs = |verb: &str, what: &str| match csr::may_on_signer(change.call, verb, signer) {
        true => Ok(()),
        false => {
            let why = format!("user not permitted to {what} requests with signerName {signer:?}");
            Err(change.forbidden(name, &why))
        }
    };
    match (change.operation, change.subresource) {
        (Operation::Create, "") => {
            let request = match csr::read(new) {
                Ok(request) => request,
                Err(why) => {
                    let given = new["spec"]["request"].clone();
                    return invalid(FieldError::invalid("spec.request", given, why));
                }
            };
            if new["spec"]["usages"].as_array().is_none_or(Vec::is_empty) {
                return invalid(FieldError::required("spec.usages", ""));
            }
            if !signer.contains('/') {
                let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
                return invalid(FieldError::invalid("spec.signerName", signer, why));
            }
            if signer == "kubernetes.io/legacy-unknown" {
                let why = "the legacy signerName is not allowed via this API version";
                return invalid(FieldError::invalid("spec.signerName", signer, why));
            }
            let seconds = &new["spec"]["expirationSeconds"];
            if seconds.as_i64().is_some_and(|s| s < 600) {
                let why = "may not specify a duration less than 600 seconds (10 minutes)";
                return invalid(FieldError::invalid(
                    "spec.expirationSeconds",
                    seconds.clone(),
                    why,
                ));
            }
            match csr::forbidden_subject(signer, &request) {
                Some(why) => Err(change.forbidden(name, &why)),
                None => Ok(()),
            }
        }
        (Operation::Update, "approval") => {
            needs("approve", "approve")?;
            approval(change, new).map_or(Ok(()), invalid)
        }
        (Operation::Update, "status")
            if change.old.is_some_and(|old| {
                old["status"]["certificate"] != new["status"]["certificate"]
                    || has(old, "Failed") != has(new, "Failed")
            }) =>
        {
            needs("sign", "sign")
        }
        _ => Ok(()),
    }
}

fn has(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == kind))
}

// Once said, it stays said, and never both.
fn approval(change: &Change<'_>, new: &Value) -> Option<FieldError> {
    const FIELD: &str = "status.conditions";
    if has(new, "Approved") && has(new, "Denied") {
        let why = "Approved and Denied conditions are mutually exclusive";
        return Some(FieldError::invalid(FIELD, "Denied", why));
    }
    for kind in ["Approved", "Denied", "Failed"] {
        if change.old.is_some_and(|old| has(old, kind)) && !has(new, kind) {
            let why = format!("updates may not remove a condition of type {kind:?}");
            return Some(FieldError::forbidden(FIELD, why));
        }
    }
    let conditions = new["status"]["conditions"].as_array().into_iter().flatten();
    for (index, condition) in conditions.enumerate() {
        let status = condition["status"].as_str().unwrap_or_default();
        let at = format!("{FIELD}[{index}].status");
        let decided = matches!(
            condition["type"].as_str(),
            Some("Approved" | "Denied" | "Failed")
        );
        if status.is_empty() {
            return Some(FieldError::required(at, ""));
        }
        if decided && status != "True" {
            return Some(FieldError::unsupported(at, status, &["True"]));
        }
    }
    None
}
