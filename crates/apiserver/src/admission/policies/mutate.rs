//! `MutatingAdmissionPolicy`: objects changed by expressions, before webhooks see them.

use super::matching::{self, Object};
use super::registry::{Binding, Mutation, Patch, Policy};
use super::scene::Scene;
use super::{LIMIT, is_exempt, parameters};
use crate::admission::{Change, expressions};
use crate::kinds::Resource;
use crate::model;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use towpath_api::apply;
use towpath_api::schema::{Kind, ListType, Schema};
use towpath_api::status::Failure;
use towpath_query::cel;

/// Which policies have to look again, in this write.
#[derive(Default)]
pub(in crate::admission) struct Rounds {
    /// Policies that ask to see later changes and have run.
    ran: BTreeSet<String>,
    /// Those of them after which the object changed.
    again: BTreeSet<String>,
    /// The object after the last policy.
    left: Value,
    round: usize,
}

/// Lets policies change the object; tells whether one did.
pub(in crate::admission) fn mutate(
    change: &Change<'_>,
    new: &mut Value,
    rounds: &mut Rounds,
) -> Result<bool, Failure> {
    super::types::complete(change, new);
    let core = &change.call.core;
    let policies = core.admission.policies.mutating(change.state);
    if policies.is_empty() || is_exempt(&change.target.resource) {
        return Ok(false);
    }
    let again = rounds.round > 0;
    if again && rounds.left != *new {
        let ran = std::mem::take(&mut rounds.ran);
        rounds.again.extend(ran);
    }
    let kinds = core.kinds.load();
    let namespace = change.namespace();
    let (mut changed, mut wrong) = (false, Vec::new());
    for policy in policies.iter() {
        for binding in &policy.bindings {
            let found = {
                let object = Object {
                    change,
                    namespace: namespace.as_ref(),
                    new: Some(new),
                };
                let bound = binding
                    .matches
                    .as_ref()
                    .is_none_or(|matches| matching::version(matches, &object, &kinds).is_some());
                matching::version(&policy.matches, &object, &kinds).filter(|_| bound)
            };
            let Some(resource) = found else {
                continue;
            };
            let id = format!("{}/{}", policy.name, binding.name);
            if again && !rounds.again.contains(&id) {
                continue;
            }
            let before = new.clone();
            let result = bound_to(change, namespace.as_ref(), policy, binding, &resource, new);
            if let Err(wrong_here) = result
                && !policy.fails_open
            {
                let (reason, why) = match wrong_here {
                    Wrong::Configured(why) => ("Forbidden", why),
                    Wrong::Evaluated(why) => ("Invalid", why),
                };
                let text = format!(
                    "policy '{}' with binding '{}' denied request: {why}",
                    policy.name, binding.name
                );
                wrong.push((reason, text));
            }
            if *new != before {
                changed = true;
                let ran = std::mem::take(&mut rounds.ran);
                rounds.again.extend(ran);
            }
            if policy.reinvoke {
                rounds.ran.insert(id);
            }
        }
    }
    rounds.left = new.clone();
    rounds.round += 1;
    match wrong.first() {
        None => Ok(changed),
        Some((reason, first)) => {
            let mut failure = change.forbidden(&change.name(Some(new)), first);
            failure.message = first.clone();
            failure.reason = reason;
            if let Some(details) = &mut failure.details {
                let causes = wrong.iter().map(|(_, why)| json!({"message": why}));
                details["causes"] = causes.collect::<Vec<Value>>().into();
            }
            Err(failure)
        }
    }
}

/// Why a policy gives no object.
enum Wrong {
    Configured(String),
    Evaluated(String),
}

fn bound_to(
    change: &Change<'_>,
    namespace: Option<&Value>,
    policy: &Policy,
    binding: &Binding,
    resource: &Arc<Resource>,
    new: &mut Value,
) -> Result<(), Wrong> {
    let parameters = parameters::of(change, policy, binding).map_err(Wrong::Configured)?;
    for parameter in parameters {
        for (number, mutation) in policy.mutations.iter().enumerate() {
            let object = Object {
                change,
                namespace,
                new: Some(new),
            };
            // Every mutation sees what those before it have made.
            let request = expressions::Scene::new(change, resource, Some(new));
            let scene = Scene::new(&request, &object, resource, policy, parameter.as_ref());
            if number == 0 && !scene.conditions(policy).map_err(Wrong::Evaluated)? {
                break;
            }
            scene.refill(LIMIT);
            *new = patched(change, resource, mutation, &scene, new).map_err(Wrong::Evaluated)?;
        }
    }
    Ok(())
}

/// An object in another version of its resource.
fn in_version(from: &Resource, to: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    if from.group == to.group && from.version == to.version {
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

fn patched(
    change: &Change<'_>,
    resource: &Resource,
    mutation: &Mutation,
    scene: &Scene<'_>,
    object: &Value,
) -> Result<Value, String> {
    let own = &change.target.resource;
    let value = scene.evaluate(&mutation.expression)??;
    let shown = in_version(own, resource, object);
    let changed = match mutation.patch {
        Patch::Apply => applied(resource, &shown, &value)?,
        Patch::Json => match by_operations(resource, &shown, &value)? {
            Some(changed) => changed,
            None => return Ok(object.clone()),
        },
    };
    if !changed.is_object() {
        return Err("the patch does not leave an object behind".into());
    }
    let mut back = in_version(resource, own, &changed);
    let strictness = model::Strictness::Ignore;
    model::shape(own, &mut back, &[], strictness, &mut Vec::new())
        .map_err(|failure| failure.message)?;
    model::default(own, &mut back);
    // Where the object lives and which one it is, is not for policies to change.
    for key in ["name", "namespace", "uid", "creationTimestamp"] {
        match object["metadata"].get(key) {
            Some(value) => back["metadata"][key] = value.clone(),
            None => {
                if let Some(metadata) = back["metadata"].as_object_mut() {
                    metadata.remove(key);
                }
            }
        }
    }
    Ok(back)
}

fn applied(resource: &Resource, object: &Value, value: &cel::Value) -> Result<Value, String> {
    value
        .fields_match("Object")
        .map_err(|why| format!("type mismatch: {why}"))?;
    let mut patch = value
        .to_json()
        .ok_or("the expression gives what is no JSON")?;
    patch["apiVersion"] = object["apiVersion"].clone();
    patch["kind"] = object["kind"].clone();
    let schema = resource.schema().ok_or("the resource has no schema")?;
    let mut atomics = Vec::new();
    find_atomics(schema, &patch, "", &mut atomics);
    if !atomics.is_empty() {
        return Err(format!(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            atomics.join(", ")
        ));
    }
    apply::merge(schema, object, &patch)
        .map_err(|why| format!("error applying patch: {}: {}", why.path, why.why))
}

/// What would be replaced as a whole, most likely against what was meant.
fn find_atomics(schema: &Schema, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if schema.atomic_map {
                found.push(path.to_string());
            }
            for (name, value) in fields {
                if let Some(slot) = schema.fields.get(name.as_str()) {
                    find_atomics(slot.schema(), value, &format!("{path}.{name}"), found);
                }
            }
        }
        Value::Array(items) if schema.kind == Kind::Array => {
            if schema.list == ListType::Atomic {
                found.push(path.to_string());
            }
            if let Some(slot) = &schema.items {
                for (at, item) in items.iter().enumerate() {
                    find_atomics(slot.schema(), item, &format!("{path}[{at}]"), found);
                }
            }
        }
        _ => {}
    }
}

/// None where a test among the operations does not hold: then nothing happens.
fn by_operations(
    resource: &Resource,
    object: &Value,
    value: &cel::Value,
) -> Result<Option<Value>, String> {
    let cel::Value::List(list) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".into());
    };
    let mut object = object.clone();
    for item in &list.items {
        let cel::Value::Map(patch) = item else {
            let why =
                "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch";
            return Err(why.into());
        };
        let mut operation = json!({});
        for key in ["op", "path", "from"] {
            if let Some(text) = patch.field(key).and_then(cel::Value::as_str) {
                operation[key] = text.into();
            }
        }
        if let Some(value) = patch.field("value") {
            let json = value.to_json().ok_or(
                "JSONPath valueExpression evaluated to a type that could not marshal to JSON",
            )?;
            operation["value"] = json;
        }
        if operation["op"] == "test" {
            let path = operation["path"].as_str().unwrap_or_default();
            if object.pointer(path) != Some(&operation["value"]) {
                return Ok(None);
            }
            continue;
        }
        object = model::json_patch(resource, &object, &json!([operation]))
            .map_err(|failure| format!("JSON Patch: {}", failure.message))?;
    }
    Ok(Some(object))
}
