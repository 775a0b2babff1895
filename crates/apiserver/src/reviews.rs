//! Questions asked of the API itself: who is this token, who am I, may they.

use crate::body::{self, Answer};
use crate::core::Call;
use crate::kinds::Resource;
use crate::model;
use crate::rbac::Ask;
use crate::route::Target;
use crate::token;
use serde_json::{Value, json};
use towpath_api::status;
use towpath_kit::traits::Principal;

pub(crate) fn is_review(resource: &Resource) -> bool {
    matches!(
        resource.group.as_str(),
        "authentication.k8s.io" | "authorization.k8s.io"
    )
}

pub(crate) async fn serve(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let mut review = model::read_body(call.content_type(), bytes)?.0;
    if !review.is_object() {
        return Err(status::bad_request("the body is not an object"));
    }
    let spec = review["spec"].clone();
    let status = match target.resource.kind.as_str() {
        "TokenReview" => token_review(call, &spec),
        "SelfSubjectReview" => json!({"userInfo": token::user_info(&call.principal)}),
        "SelfSubjectAccessReview" => access(call, &call.principal, &spec),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access(call, &subject(&spec), &spec),
        "SelfSubjectRulesReview" => rules(call, spec["namespace"].as_str().unwrap_or_default()),
        _ => return Err(status::no_such_resource()),
    };
    review["apiVersion"] = target.resource.api_version().into();
    review["kind"] = target.resource.kind.clone().into();
    if !review["metadata"].is_object() {
        review["metadata"] = json!({"creationTimestamp": null});
    }
    if target.resource.kind == "SelfSubjectReview" {
        review["metadata"]["creationTimestamp"] = call.core.clock.rfc3339().into();
    }
    review["status"] = status;
    Ok(body::json(201, &review))
}

fn token_review(call: &Call, spec: &Value) -> Value {
    let given = spec["token"].as_str().unwrap_or_default();
    let audiences: Vec<String> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|a| a.as_str().map(str::to_string))
        .collect();
    match call
        .core
        .tokens
        .check(given, &audiences, &call.core.store.snapshot())
    {
        Some(checked) => {
            let mut status =
                json!({"authenticated": true, "user": token::user_info(&checked.principal)});
            if !audiences.is_empty() {
                status["audiences"] = checked.audiences.into();
            }
            status
        }
        None => json!({"user": {}, "error": "token not accepted"}),
    }
}

fn subject(spec: &Value) -> Principal {
    let mut principal = Principal {
        name: spec["user"].as_str().unwrap_or_default().into(),
        uid: spec["uid"].as_str().unwrap_or_default().into(),
        ..Principal::default()
    };
    principal.groups = spec["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|g| g.as_str().map(str::to_string))
        .collect();
    principal
}

fn access(call: &Call, principal: &Principal, spec: &Value) -> Value {
    let text = |part: &str, key: &str| spec[part][key].as_str().unwrap_or_default().to_string();
    let allowed = if spec["resourceAttributes"].is_object() {
        let part = "resourceAttributes";
        let ask = Ask {
            verb: &text(part, "verb"),
            group: &text(part, "group"),
            resource: &text(part, "resource"),
            subresource: &text(part, "subresource"),
            namespace: &text(part, "namespace"),
            name: &text(part, "name"),
            path: "",
        };
        call.core
            .rbac
            .allowed(&call.core.store.snapshot(), principal, &ask)
    } else {
        let part = "nonResourceAttributes";
        let ask = Ask {
            verb: &text(part, "verb"),
            path: &text(part, "path"),
            ..Ask::default()
        };
        call.core
            .rbac
            .allowed(&call.core.store.snapshot(), principal, &ask)
    };
    json!({"allowed": allowed})
}

fn rules(call: &Call, namespace: &str) -> Value {
    let state = call.core.store.snapshot();
    let (mut resource, mut other) = (Vec::new(), Vec::new());
    if call.principal.groups.iter().any(|g| g == "system:masters") {
        resource.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        other.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    for rules in call.core.rbac.rules(&state, &call.principal, namespace) {
        for rule in rules.iter() {
            if rule.urls.is_empty() {
                resource.push(rule.to_value());
            } else {
                other.push(rule.to_value());
            }
        }
    }
    json!({"resourceRules": resource, "nonResourceRules": other, "incomplete": false})
}
