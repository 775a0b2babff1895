//! CertificateSigningRequests: what a signer accepts, and the controller that approves nodes'
//! own requests and signs what has been approved.
//!
//! Signers and their rules are upstream's. A request that no signer here knows waits for its
//! own, elsewhere.

use crate::core::Core;
use crate::rbac::Ask;
use crate::record;
use crate::write::refused;
use crate::x509::{self, Request, Uses};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::status::Failure;
use towpath_daemon::CancellationToken;
use towpath_kit::traits::Principal;
use towpath_store::{Expect, Op, Refused, Txn};

pub(crate) const GROUP: &str = "certificates.k8s.io";
const TABLE: &str = "certificates.k8s.io/certificatesigningrequests";
const EVENTS: usize = 256;
/// A certificate begins a little earlier, for clocks that are behind.
const BACKDATE_SECONDS: u64 = 300;
const LIFE_SECONDS_MAX: u64 = 365 * 24 * 3600;

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const NODE_SERVING: &str = "kubernetes.io/kubelet-serving";

/// Names that only components of this process have.
const RESERVED: &str = "system:towpath:";

/// The request within an object; the error says what is wrong.
pub(crate) fn read(object: &Value) -> Result<Request, &'static str> {
    let text = object["spec"]["request"].as_str().unwrap_or_default();
    let pem = STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    Request::read(&pem)
}

/// Whether nobody may have a certificate for this subject, whoever approves it.
pub(crate) fn forbidden_subject(signer: &str, request: &Request) -> Option<String> {
    if signer != CLIENT {
        return None;
    }
    if request.groups.iter().any(|group| group == "system:masters") {
        let why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
        return Some(why.into());
    }
    let reserved = request.user.starts_with(RESERVED)
        || request.groups.iter().any(|group| group == "system:towpath");
    reserved.then(|| format!("names that begin with {RESERVED} belong to the server itself"))
}

fn usages(object: &Value) -> Vec<&str> {
    let usages = object["spec"]["usages"].as_array().into_iter().flatten();
    usages.filter_map(Value::as_str).collect()
}

/// What the signer makes of a request: uses of the certificate, or why it refuses.
fn accept(signer: &str, object: &Value, request: &Request) -> Result<Uses, String> {
    let asked = usages(object);
    let (needed, allowed): (&str, &[&str]) = match signer {
        NODE_SERVING => (
            "server auth",
            &["server auth", "digital signature", "key encipherment"],
        ),
        _ => (
            "client auth",
            &["client auth", "digital signature", "key encipherment"],
        ),
    };
    if !asked.contains(&needed) || asked.iter().any(|usage| !allowed.contains(usage)) {
        return Err(format!("usages did not match {allowed:?}"));
    }
    if matches!(signer, NODE_CLIENT | NODE_SERVING) {
        node(signer, object, request)?;
    }
    Ok(Uses {
        digital_signature: asked.contains(&"digital signature"),
        key_encipherment: asked.contains(&"key encipherment"),
        server: asked.contains(&"server auth"),
        client: asked.contains(&"client auth"),
    })
}

fn node(signer: &str, object: &Value, request: &Request) -> Result<(), String> {
    if request.groups != ["system:nodes"] {
        return Err("subject organization is not system:nodes".into());
    }
    if !request.user.starts_with("system:node:") {
        return Err("subject common name does not begin with system:node: ".into());
    }
    let names = request.dns.len() + request.addresses.len();
    if request.other_names > 0 {
        return Err("email and URI subject alternative names are not allowed".into());
    }
    match signer {
        NODE_CLIENT if names > 0 => Err("subject alternative names are not allowed".into()),
        NODE_SERVING if names == 0 => Err("DNS or IP subject alternative name is required".into()),
        NODE_SERVING if object["spec"]["username"] != request.user.as_str() => {
            Err("the requester is not the node in the subject".into())
        }
        _ => Ok(()),
    }
}

fn has(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == kind))
}

/// Approves and signs until cancelled.
pub(crate) async fn run(core: Arc<Core>, cancel: CancellationToken) {
    let mut watch = core.store.watch(TABLE, core.store.revision());
    loop {
        if let Err(failure) = round(&core).await {
            tracing::warn!(
                why = failure.message,
                "certificate requests are not answered"
            );
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            seen = watch.next(EVENTS) => {
                if seen.is_err() {
                    watch = core.store.watch(TABLE, core.store.revision());
                }
            }
        }
    }
}

async fn round(core: &Core) -> Result<(), Failure> {
    let kinds = core.kinds.load();
    let Some(resource) = kinds
        .of_kind(GROUP, "v1", "CertificateSigningRequest")
        .cloned()
    else {
        return Ok(());
    };
    let state = core.store.snapshot();
    for rec in state.range(TABLE, "", None) {
        let object = record::decode(rec);
        let Some(next) = answer(core, &object) else {
            continue;
        };
        let op = Op::Put {
            resource: resource.table.clone(),
            key: rec.key.clone(),
            expect: Expect::revision(rec.revision),
            new: record::encode(&resource, &next),
        };
        let done = core
            .store
            .commit(Txn {
                ops: vec![op],
                ..Txn::default()
            })
            .await;
        match done {
            // Its next state comes with the next event.
            Ok(_) | Err(Refused::Conflict { .. }) => {}
            Err(other) => return Err(refused(other)),
        }
    }
    Ok(())
}

// The object's next state, where there is something to do.
fn answer(core: &Core, object: &Value) -> Option<Value> {
    let signer = object["spec"]["signerName"].as_str().unwrap_or_default();
    let signed = !object["status"]["certificate"].is_null();
    let known = [CLIENT, NODE_CLIENT, NODE_SERVING].contains(&signer);
    if !known || signed || has(object, "Denied") || has(object, "Failed") {
        return None;
    }
    let request = read(object);
    let mut next = object.clone();
    if !has(object, "Approved") {
        let request = request.ok()?;
        if signer != NODE_CLIENT || accept(signer, object, &request).is_err() {
            return None;
        }
        approves_itself(core, object, &request).then_some(())?;
        let why = "Auto approving kubelet client certificate after SubjectAccessReview.";
        condition(core, &mut next, "Approved", "AutoApproved", why);
        return Some(next);
    }
    let made = request.map_err(str::to_string).and_then(|request| {
        if let Some(why) = forbidden_subject(signer, &request) {
            return Err(why);
        }
        let uses = accept(signer, object, &request)?;
        let life = object["spec"]["expirationSeconds"]
            .as_u64()
            .map_or(LIFE_SECONDS_MAX, |s| s.clamp(600, LIFE_SECONDS_MAX));
        let mut serial = [0; 16];
        core.random.fill(&mut serial);
        let now = core.clock.since_epoch().as_secs();
        let times = (now.saturating_sub(BACKDATE_SECONDS), now + life);
        let signed = core.pki.sign(&request, uses, times, serial);
        signed.map_err(|error| format!("{error}"))
    });
    match made {
        Ok(der) => next["status"]["certificate"] = STANDARD.encode(x509::pem(&der)).into(),
        Err(why) => condition(core, &mut next, "Failed", "SignerValidationFailure", &why),
    }
    Some(next)
}

// A node may have a certificate for itself where its role says so.
fn approves_itself(core: &Core, object: &Value, request: &Request) -> bool {
    let text = |key: &str| object["spec"][key].as_str().unwrap_or_default().to_string();
    let groups = object["spec"]["groups"].as_array().into_iter().flatten();
    let principal = Principal {
        name: text("username"),
        groups: groups
            .filter_map(|g| g.as_str().map(str::to_string))
            .collect(),
        uid: text("uid"),
        ..Principal::default()
    };
    let state = core.store.snapshot();
    let may = |subresource: &str| {
        let ask = Ask {
            verb: "create",
            group: GROUP,
            resource: "certificatesigningrequests",
            subresource,
            ..Ask::default()
        };
        core.rbac.allowed(&state, &principal, &ask)
    };
    let itself = principal.name == request.user;
    itself && may("selfnodeclient") || may("nodeclient")
}

fn condition(core: &Core, object: &mut Value, kind: &str, reason: &str, message: &str) {
    let now = core.clock.rfc3339();
    let mut conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions.push(json!({
        "type": kind, "status": "True", "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now,
    }));
    object["status"]["conditions"] = conditions.into();
}

/// Whether a right on a signer, or on all of its domain, is held.
pub(crate) fn may_on_signer(call: &crate::core::Call, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    let all = format!("{domain}/*");
    [signer, all.as_str()].into_iter().any(|name| {
        call.may(&Ask {
            verb,
            group: GROUP,
            resource: "signers",
            name,
            ..Ask::default()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(usages: &[&str]) -> Value {
        json!({"spec": {"usages": usages, "username": "system:node:a"}})
    }

    fn node_request() -> Request {
        let mut request = Request::default();
        request.user = "system:node:a".into();
        request.groups = vec!["system:nodes".into()];
        request
    }

    #[test]
    fn what_signers_accept() {
        let client = object(&["client auth", "digital signature"]);
        let server = object(&["server auth", "digital signature"]);
        let request = node_request();
        assert!(accept(CLIENT, &client, &request).is_ok_and(|uses| uses.client && !uses.server));
        assert!(accept(CLIENT, &server, &request).is_err());
        assert!(accept(CLIENT, &object(&["client auth", "cert sign"]), &request).is_err());
        assert!(accept(NODE_CLIENT, &client, &request).is_ok());
        assert!(accept(NODE_SERVING, &server, &request).is_err());
        let mut named = node_request();
        named.dns.push("a".into());
        assert!(accept(NODE_SERVING, &server, &named).is_ok());
        assert!(accept(NODE_CLIENT, &client, &named).is_err());
        named.user = "system:node:b".into();
        assert!(accept(NODE_SERVING, &server, &named).is_err());
        named.groups.push("more".into());
        assert!(accept(NODE_CLIENT, &client, &named).is_err());
    }

    #[test]
    fn subjects_that_nobody_gets() {
        let mut request = node_request();
        assert!(forbidden_subject(CLIENT, &request).is_none());
        request.groups = vec!["system:masters".into()];
        assert!(forbidden_subject(CLIENT, &request).is_some());
        request.groups.clear();
        request.user = "system:towpath:gitops".into();
        assert!(forbidden_subject(CLIENT, &request).is_some());
    }
}
