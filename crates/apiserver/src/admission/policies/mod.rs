//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`: expressions that writes are held to
//! or changed by, where a binding says so.
//!
//! Policies and bindings are read from the store's present state, so that a change of one takes
//! effect with its own commit. A policy sees the object in the version its rules name; its
//! parameters are objects of the store. What a policy cannot decide goes by its failure policy.

mod check;
mod matching;
mod mutate;
mod parameters;
mod read;
mod registry;
mod scene;
mod types;

use super::Change;
use super::expressions;
use crate::kinds::Resource;
pub(super) use check::check;
use matching::Object;
pub(super) use mutate::mutate;
pub(crate) use registry::Registry;
use registry::{Binding, Policy};
use scene::Scene;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_api::status::Failure;
use towpath_query::cel;

/// Most that all expressions of a policy may cost for one binding and parameter.
const LIMIT: u64 = 10_000_000;
const MESSAGE_BYTES: usize = 5 * 1024;
const ANNOTATION_BYTES: usize = 10 * 1024;

/// What policies are never applied to: a wrong one could not be repaired any more.
fn is_exempt(resource: &Resource) -> bool {
    resource.group == "admissionregistration.k8s.io"
        && matches!(
            resource.plural.as_str(),
            "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        )
}

/// One thing a policy found.
struct Denial {
    message: String,
    reason: String,
}

/// Holds a write to the policies; `new` is absent where it is a deletion.
pub(super) fn validate(change: &Change<'_>, new: Option<&Value>) -> Result<(), Failure> {
    let core = &change.call.core;
    let policies = core.admission.policies.validating(change.state);
    if policies.is_empty() || is_exempt(&change.target.resource) {
        return Ok(());
    }
    let kinds = core.kinds.load();
    let namespace = change.namespace();
    let object = Object {
        change,
        namespace: namespace.as_ref(),
        new,
    };
    let (mut denied, mut requests) = (None, Requests::default());
    for policy in policies.iter() {
        let Some(resource) = matching::version(&policy.matches, &object, &kinds) else {
            continue;
        };
        let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in &policy.bindings {
            let bound = binding
                .matches
                .as_ref()
                .is_none_or(|matches| matching::version(matches, &object, &kinds).is_some());
            if !bound {
                continue;
            }
            let request = requests.of(&object, &resource);
            let found = bound_to(
                &object,
                policy,
                binding,
                (&resource, request),
                &mut annotations,
            );
            for (index, denial) in found.into_iter().enumerate() {
                act(change, policy, binding, index, denial, &mut denied);
            }
        }
        for (key, values) in annotations {
            let key = format!("{}/{key}", policy.name);
            change.call.annotate(key, values.join(", "));
        }
    }
    match denied {
        None => Ok(()),
        Some((message, reason)) => Err(refusal(change, new, &message, &reason)),
    }
}

/// The request as expressions see it, made once for each version that policies ask for.
#[derive(Default)]
struct Requests(Vec<(Arc<Resource>, expressions::Scene)>);

impl Requests {
    fn of(&mut self, object: &Object<'_>, resource: &Arc<Resource>) -> &expressions::Scene {
        let known = self.0.iter().position(|(r, _)| Arc::ptr_eq(r, resource));
        let at = known.unwrap_or_else(|| {
            let scene = expressions::Scene::new(object.change, resource, object.new);
            self.0.push((resource.clone(), scene));
            self.0.len() - 1
        });
        &self.0[at].1
    }
}

fn act(
    change: &Change<'_>,
    policy: &Policy,
    binding: &Binding,
    index: usize,
    denial: Denial,
    denied: &mut Option<(String, String)>,
) {
    let Denial { message, reason } = denial;
    for action in &binding.actions {
        match action.as_str() {
            "Deny" if denied.is_none() => {
                let text = format!(
                    "ValidatingAdmissionPolicy '{}' with binding '{}' denied request: {message}",
                    policy.name, binding.name
                );
                *denied = Some((text, reason.clone()));
            }
            "Warn" => change.call.warn(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                policy.name, binding.name
            )),
            "Audit" => {
                let failure = json!([{
                    "message": message,
                    "policy": policy.name,
                    "binding": binding.name,
                    "expressionIndex": index,
                    "validationActions": binding.actions,
                }]);
                change.call.annotate(
                    "validation.policy.admission.k8s.io/validation_failure",
                    failure.to_string(),
                );
            }
            _ => {}
        }
    }
}

fn refusal(change: &Change<'_>, new: Option<&Value>, message: &str, reason: &str) -> Failure {
    let mut failure = change.forbidden(&change.name(new), message);
    (failure.code, failure.reason) = match reason {
        "Forbidden" => (403, "Forbidden"),
        "Unauthorized" => (401, "Unauthorized"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    if let Some(details) = &mut failure.details {
        details["causes"] = json!([{"message": message}]);
    }
    failure
}

/// All that a policy finds for one binding, over its parameters.
fn bound_to(
    object: &Object<'_>,
    policy: &Policy,
    binding: &Binding,
    (resource, request): (&Arc<Resource>, &expressions::Scene),
    annotations: &mut BTreeMap<String, Vec<String>>,
) -> Vec<Denial> {
    let failed = |message: String| match policy.fails_open {
        true => Vec::new(),
        false => vec![Denial {
            message,
            reason: String::new(),
        }],
    };
    let parameters = match parameters::of(object.change, policy, binding) {
        Ok(parameters) => parameters,
        Err(why) => return failed(why),
    };
    let mut found = Vec::new();
    for parameter in parameters {
        let scene = Scene::new(request, object, resource, policy, parameter.as_ref());
        match evaluate(policy, &scene, annotations) {
            Ok(denials) => found.extend(denials),
            Err(why) => found.extend(failed(why)),
        }
    }
    found
}

fn evaluate(
    policy: &Policy,
    scene: &Scene<'_>,
    annotations: &mut BTreeMap<String, Vec<String>>,
) -> Result<Vec<Denial>, String> {
    let failed = |message: String| Denial {
        message,
        reason: String::new(),
    };
    if !scene.conditions(policy)? {
        return Ok(Vec::new());
    }
    scene.refill(LIMIT);
    let mut denials = Vec::new();
    for validation in &policy.validations {
        match scene.evaluate(&validation.expression)? {
            Ok(cel::Value::Bool(true)) => {}
            Ok(_) => denials.push(Denial {
                message: message(validation, scene),
                reason: validation.reason.clone(),
            }),
            Err(why) if !policy.fails_open => denials.push(failed(why)),
            Err(_) => {}
        }
    }
    scene.refill(LIMIT);
    for annotation in &policy.annotations {
        match scene.evaluate(&annotation.expression)? {
            Ok(cel::Value::String(text)) => {
                let mut text = text.trim().to_string();
                let end = (0..=ANNOTATION_BYTES.min(text.len()))
                    .rev()
                    .find(|end| text.is_char_boundary(*end));
                text.truncate(end.unwrap_or(0));
                let known = annotations.entry(annotation.key.clone()).or_default();
                if !text.is_empty() && !known.contains(&text) {
                    known.push(text);
                }
            }
            Ok(_) => {}
            Err(why) if !policy.fails_open => denials.push(failed(why)),
            Err(_) => {}
        }
    }
    Ok(denials)
}

fn message(validation: &registry::Validation, scene: &Scene<'_>) -> String {
    let made = validation
        .message_expression
        .as_ref()
        .and_then(|expression| scene.evaluate(expression).ok()?.ok());
    if let Some(cel::Value::String(text)) = made {
        let text = text.trim();
        if !text.is_empty() && text.len() <= MESSAGE_BYTES && !text.contains('\n') {
            return text.to_string();
        }
    }
    match validation.message.trim() {
        "" => format!("failed expression: {}", validation.expression.source.trim()),
        message => message.to_string(),
    }
}
