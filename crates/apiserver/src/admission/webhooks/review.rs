//! `AdmissionReview` of `admission.k8s.io/v1`: what hooks are asked, and what their answers mean.

use super::registry::Hook;
use crate::admission::Change;
use crate::conversion;
use crate::core::Core;
use crate::kinds::Resource;
use crate::model;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use towpath_api::facts;
use towpath_api::status::Failure;

/// What a hook said.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    allowed: bool,
    result: Value,
    /// RFC 6902.
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: Vec<(String, String)>,
}

/// An object in another version of its resource.
pub(super) fn in_version(from: &Resource, to: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    // Parts with a kind of their own are the same in every version.
    let (group, version) =
        facts::split_api_version(object["apiVersion"].as_str().unwrap_or_default());
    let is_own = (group, version) == (from.group.as_str(), from.version.as_str())
        && object["kind"] == from.kind.as_str();
    if !is_own || (from.group == to.group && from.version == to.version) {
        return object;
    }
    if from.is_custom() {
        object["apiVersion"] = to.api_version().into();
        return object;
    }
    model::to_stored(from, &mut object);
    model::from_stored(to, &mut object);
    object
}

/// The same where versions may differ in more than their names, which a conversion webhook
/// then knows.
pub(super) async fn converted(
    core: &Core,
    from: &Resource,
    to: &Resource,
    object: &Value,
) -> Result<Value, Failure> {
    let is_own =
        object["apiVersion"] == from.api_version().as_str() && object["kind"] == from.kind.as_str();
    match &from.custom {
        Some(custom) if is_own && from.version != to.version => {
            conversion::between(core, &custom.conversion, &to.version, object.clone()).await
        }
        _ => Ok(in_version(from, to, object)),
    }
}

fn kind_of(resource: &Resource, subresource: &str) -> Value {
    let part = resource.subresource(subresource);
    let (group, version, kind) = match part.filter(|_| !subresource.is_empty()) {
        Some(part) => (&part.group, &part.version, &part.kind),
        None => (&resource.group, &resource.version, &resource.kind),
    };
    json!({"group": group, "version": version, "kind": kind})
}

fn resource_of(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "resource": resource.plural})
}

/// The question.
pub(in crate::admission) fn question(
    change: &Change<'_>,
    resource: &Resource,
    new: Option<&Value>,
    uid: &str,
) -> Value {
    let own = &change.target.resource;
    let shown = |object: Option<&Value>| {
        object.map_or(Value::Null, |object| in_version(own, resource, object))
    };
    let who = &change.call.principal;
    let mut user = json!({"username": who.name, "groups": who.groups});
    if !who.uid.is_empty() {
        user["uid"] = who.uid.clone().into();
    }
    if !who.extra.is_empty() {
        user["extra"] = json!(who.extra);
    }
    let mut request = json!({
        "uid": uid,
        "kind": kind_of(resource, change.subresource),
        "resource": resource_of(resource),
        "requestKind": kind_of(own, change.subresource),
        "requestResource": resource_of(own),
        "operation": change.operation.word(),
        "userInfo": user,
        "object": shown(new),
        "oldObject": shown(change.old),
        "dryRun": change.dry_run,
        "options": change.options,
    });
    if !change.subresource.is_empty() {
        request["subResource"] = change.subresource.into();
        request["requestSubResource"] = change.subresource.into();
    }
    let name = change.name(new);
    let name = name.as_str();
    let namespace = match own.is("", "namespaces") {
        true => name,
        false => change.target.namespace.as_str(),
    };
    for (key, text) in [("name", name), ("namespace", namespace)] {
        if !text.is_empty() {
            request[key] = text.into();
        }
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

/// Reads an answer; what breaks the protocol is refused with upstream's words.
pub(super) fn answer(bytes: &[u8], uid: &str, mutating: bool) -> Result<Verdict, String> {
    let (review, _) = model::parse(bytes).map_err(|failure| failure.message)?;
    let (version, kind) = (&review["apiVersion"], &review["kind"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".into());
    }
    if response["uid"] != uid {
        return Err(format!(
            "expected response.uid={uid:?}, got {:?}",
            text(&response["uid"])
        ));
    }
    if version != "admission.k8s.io/v1" || kind != "AdmissionReview" {
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {}, Kind={}",
            text(version),
            text(kind)
        ));
    }
    let patch = text(&response["patch"]);
    let patch_type = response["patchType"].as_str();
    let patch = match (mutating, patch.is_empty(), patch_type) {
        (_, true, None) => None,
        (false, false, _) => return Err("validating webhook may not return response.patch".into()),
        (false, true, Some(_)) => {
            return Err("validating webhook may not return response.patchType".into());
        }
        (true, false, None) => {
            return Err("webhook returned response.patch but not response.patchType".into());
        }
        (true, true, Some(_)) => {
            return Err("webhook returned response.patchType but not response.patch".into());
        }
        (true, false, Some("JSONPatch")) => {
            let bytes = STANDARD
                .decode(&patch)
                .map_err(|error| format!("response.patch: {error}"))?;
            Some(model::parse(&bytes).map_err(|failure| failure.message)?.0)
        }
        (true, false, Some(other)) => {
            return Err(format!("unsupported patch type {other:?}"));
        }
    };
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let annotations = response["auditAnnotations"]
        .as_object()
        .into_iter()
        .flatten();
    Ok(Verdict {
        allowed: response["allowed"] == true,
        result: response["status"].clone(),
        patch,
        warnings: warnings
            .filter_map(|w| w.as_str().map(str::to_string))
            .collect(),
        annotations: annotations
            .map(|(key, value)| (key.clone(), text(value)))
            .collect(),
    })
}

/// Reasons that a `Status` may carry.
const REASONS: [&str; 22] = [
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "AlreadyExists",
    "Conflict",
    "Gone",
    "Invalid",
    "ServerTimeout",
    "StoreReadError",
    "Timeout",
    "TooManyRequests",
    "BadRequest",
    "MethodNotAllowed",
    "NotAcceptable",
    "RequestEntityTooLarge",
    "UnsupportedMediaType",
    "InternalError",
    "Expired",
    "ServiceUnavailable",
    "InsufficientStorage",
    "Unknown",
    "",
];

impl Verdict {
    /// The failure that a refusal becomes.
    pub(super) fn refusal(&self, hook: &str) -> Option<Failure> {
        if self.allowed {
            return None;
        }
        let text = |key: &str| self.result[key].as_str().unwrap_or_default();
        let begin = format!("admission webhook {hook:?} denied the request");
        let message = match (text("message"), text("reason")) {
            ("", "") => format!("{begin} without explanation"),
            ("", reason) => format!("{begin}: {reason}"),
            (message, _) => format!("{begin}: {message}"),
        };
        let code = self.result["code"].as_u64().unwrap_or(0);
        Some(Failure {
            code: u16::try_from(code.clamp(400, 599)).unwrap_or(400),
            reason: REASONS
                .into_iter()
                .find(|known| *known == text("reason"))
                .unwrap_or_default(),
            message,
            details: Some(self.result["details"].clone()).filter(Value::is_object),
        })
    }
}

/// Whether the hook can be asked at all.
pub(super) fn supports(hook: &Hook) -> Result<(), String> {
    match hook.reads_v1 {
        true => Ok(()),
        false => Err("it reads no version of AdmissionReview that this server writes (v1)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(response: Value, mutating: bool) -> Result<Verdict, String> {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        answer(review.to_string().as_bytes(), "u", mutating)
    }

    #[test]
    fn answers_that_break_the_protocol() {
        let wrong = |response: Value, mutating| read(response, mutating).expect_err("an error");
        assert_eq!(wrong(Value::Null, true), "webhook response was absent");
        assert_eq!(
            wrong(json!({"uid": "x"}), true),
            "expected response.uid=\"u\", got \"x\""
        );
        assert_eq!(
            wrong(json!({"uid": "u", "patch": "W10="}), true),
            "webhook returned response.patch but not response.patchType"
        );
        assert_eq!(
            wrong(
                json!({"uid": "u", "patch": "W10=", "patchType": "JSONPatch"}),
                false
            ),
            "validating webhook may not return response.patch"
        );
        assert!(
            wrong(
                json!({"uid": "u", "patch": "?", "patchType": "JSONPatch"}),
                true
            )
            .starts_with("response.patch")
        );
        let other =
            json!({"kind": "AdmissionReview", "apiVersion": "v1", "response": {"uid": "u"}});
        let why = answer(other.to_string().as_bytes(), "u", true).expect_err("an error");
        assert_eq!(
            why,
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got v1, Kind=AdmissionReview"
        );
        assert!(answer(b"<html>", "u", true).is_err());
    }

    #[test]
    fn refusals() {
        let say = |status: Value| {
            let verdict = read(
                json!({"uid": "u", "allowed": false, "status": status}),
                false,
            );
            let failure = verdict.expect("verdict").refusal("h").expect("refusal");
            (failure.code, failure.reason, failure.message)
        };
        let begin = "admission webhook \"h\" denied the request";
        assert_eq!(
            say(Value::Null),
            (400, "", format!("{begin} without explanation"))
        );
        assert_eq!(
            say(json!({"code": 403, "reason": "Forbidden", "message": "no"})),
            (403, "Forbidden", format!("{begin}: no"))
        );
        assert_eq!(
            say(json!({"code": 200, "reason": "Nope"})),
            (400, "", format!("{begin}: Nope"))
        );
    }
}
