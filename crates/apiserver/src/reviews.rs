//! Questions asked of the API itself: who is this token, who am I, may they.

use crate::body::{self, Answer};
use crate::core::Call;
use crate::form;
use crate::kinds::Resource;
use crate::model;
use crate::node_authorizer;
use crate::rbac::Ask;
use crate::route::Target;
use crate::token;
use crate::write::{self, Options};
use serde_json::{Value, json};
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};
use towpath_kit::traits::Principal;

pub(crate) fn is_review(resource: &Resource) -> bool {
    matches!(
        resource.group.as_str(),
        "authentication.k8s.io" | "authorization.k8s.io"
    )
}

pub(crate) async fn serve(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let options = Options::read(call)?;
    let resource = &target.resource;
    let (mut review, twice) = write::decode(call, target, bytes)?;
    let mut warnings = Vec::new();
    model::shape(
        resource,
        &mut review,
        &twice,
        options.strictness,
        &mut warnings,
    )?;
    warnings.into_iter().for_each(|warning| call.warn(warning));
    model::own(
        resource,
        "",
        None,
        &mut review,
        &options.manager,
        &call.core.clock.rfc3339(),
    );
    let spec = review["spec"].clone();
    let kind = target.resource.kind.as_str();
    check(kind, target, &spec)?;
    let status = match kind {
        "TokenReview" => token_review(call, &spec),
        "SelfSubjectReview" => json!({"userInfo": token::user_info(&call.principal)}),
        "SelfSubjectAccessReview" => access(call, &call.principal, &spec),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access(call, &subject(&spec), &spec),
        "SelfSubjectRulesReview" => rules(call, spec["namespace"].as_str().unwrap_or_default()),
        _ => return Err(status::no_such_resource()),
    };
    if target.resource.kind == "SelfSubjectReview" {
        review["metadata"]["creationTimestamp"] = call.core.clock.rfc3339().into();
    }
    review["status"] = status;
    let wanted = form::wanted(call, target, None)?;
    Ok(body::json(201, &form::one(call, target, wanted, review)))
}

// What a question must hold to be one.
fn check(kind: &str, target: &Target, spec: &Value) -> Result<(), Failure> {
    let text = |part: &Value| part.as_str().unwrap_or_default().to_string();
    let group = target.resource.group.as_str();
    let mut errors = Vec::new();
    match kind {
        "TokenReview" if text(&spec["token"]).is_empty() => {
            return Err(status::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        "SelfSubjectRulesReview" if text(&spec["namespace"]).is_empty() => {
            return Err(status::bad_request("no namespace on request"));
        }
        "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let resource = &spec["resourceAttributes"];
            let path = &spec["nonResourceAttributes"];
            let one =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            if resource.is_object() && path.is_object() {
                let why = "cannot be specified in combination with resourceAttributes";
                errors.push(FieldError::invalid(
                    "spec.nonResourceAttributes",
                    inner(path),
                    why,
                ));
            } else if !resource.is_object() && !path.is_object() {
                errors.push(FieldError::invalid(
                    "spec.resourceAttributes",
                    Value::Null,
                    one,
                ));
            }
            let nobody = text(&spec["user"]).is_empty()
                && spec["groups"].as_array().is_none_or(Vec::is_empty);
            if kind != "SelfSubjectAccessReview" && nobody {
                let why = "at least one of user or group must be specified";
                errors.push(FieldError::invalid("spec.user", "", why));
            }
            if kind == "LocalSubjectAccessReview" {
                let given = text(&resource["namespace"]);
                if given != target.namespace {
                    let why = "must match metadata.namespace";
                    errors.push(FieldError::invalid(
                        "spec.resourceAttributes.namespace",
                        given,
                        why,
                    ));
                }
                if path.is_object() {
                    let why = "disallowed on this kind of request";
                    errors.push(FieldError::invalid(
                        "spec.nonResourceAttributes",
                        inner(path),
                        why,
                    ));
                }
            }
        }
        _ => {}
    }
    match errors.is_empty() {
        true => Ok(()),
        // Upstream names no kind.
        false => Err(status::invalid(group, "", "", &errors)),
    }
}

/// Attributes as upstream prints them.
fn inner(path: &Value) -> Value {
    let text = |key: &str| path[key].as_str().unwrap_or_default().to_string();
    json!({"Path": text("path"), "Verb": text("verb")})
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
        None => json!({"user": {}, "error": "[invalid bearer token]"}),
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
    let extra = spec["extra"].as_object().into_iter().flatten();
    principal.extra = extra
        .map(|(key, values)| {
            let values = values.as_array().into_iter().flatten();
            let values = values.filter_map(|v| v.as_str().map(str::to_string));
            (key.to_lowercase(), values.collect())
        })
        .collect();
    principal
}

fn access(call: &Call, principal: &Principal, spec: &Value) -> Value {
    let text = |part: &str, key: &str| spec[part][key].as_str().unwrap_or_default().to_string();
    let resource = "resourceAttributes";
    let path = "nonResourceAttributes";
    let part = match spec[resource].is_object() {
        true => resource,
        false => path,
    };
    let ask = Ask {
        verb: &text(part, "verb"),
        group: &text(resource, "group"),
        resource: &text(resource, "resource"),
        subresource: &text(resource, "subresource"),
        namespace: &text(resource, "namespace"),
        name: &text(resource, "name"),
        path: &text(path, "path"),
    };
    let state = call.core.store.snapshot();
    let fields = fields(&spec[resource]["fieldSelector"]);
    let as_node = node_authorizer::decide(&state, principal, &ask, &fields);
    if let Some(Ok(())) = as_node {
        return json!({"allowed": true});
    }
    match (call.core.rbac.reason(&state, principal, &ask), as_node) {
        (Some(reason), _) if reason.is_empty() => json!({"allowed": true}),
        (Some(reason), _) => json!({"allowed": true, "reason": reason}),
        (None, Some(Err(why))) if !why.is_empty() => json!({"allowed": false, "reason": why}),
        (None, _) => json!({"allowed": false}),
    }
}

// The part of a field selector that says what must be equal, as a query would say it.
fn fields(selector: &Value) -> String {
    if let Some(raw) = selector["rawSelector"].as_str() {
        return raw.to_string();
    }
    let all = selector["requirements"].as_array().into_iter().flatten();
    let equal = all.filter_map(|term| {
        let values = term["values"].as_array()?;
        let [value] = values.as_slice() else {
            return None;
        };
        let is = term["operator"] == "In";
        is.then(|| {
            format!(
                "{}={}",
                term["key"].as_str().unwrap_or_default(),
                value.as_str().unwrap_or_default()
            )
        })
    });
    equal.collect::<Vec<_>>().join(",")
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
