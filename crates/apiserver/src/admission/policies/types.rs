//! `status.typeChecking` of a policy: what its expressions get wrong about the objects that its
//! rules name. Upstream's controller writes it a moment later; here it comes with the policy.

use super::read::{Reader, Wanted, list, text};
use crate::admission::Change;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::schema::{Kind, Schema};
use towpath_query::cel::{Object, Type, escape};

/// Most kinds that are looked at.
const KINDS: usize = 10;
/// Types that contain themselves are anything below this.
const DEPTH: usize = 12;

/// Completes the status of a policy that is written.
pub(super) fn complete(change: &Change<'_>, new: &mut Value) {
    let written = change.is_of(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    );
    let spec = &new["spec"];
    if !written || change.old.is_some_and(|old| old["spec"] == *spec) {
        return;
    }
    let warnings = warnings(change, spec);
    let mut status = new["status"].take();
    status["observedGeneration"] = match new["metadata"]["generation"].as_i64() {
        Some(generation) => generation.into(),
        None => 1.into(),
    };
    status["typeChecking"] = match warnings.is_empty() {
        true => json!({}),
        false => json!({"expressionWarnings": warnings}),
    };
    new["status"] = status;
}

fn warnings(change: &Change<'_>, spec: &Value) -> Vec<Value> {
    let objects = objects(change, &spec["matchConstraints"]);
    let mut found = Vec::new();
    for (at, validation) in list(spec, "validations").iter().enumerate() {
        for key in ["expression", "messageExpression"] {
            let source = text(validation, key);
            if source.is_empty() {
                continue;
            }
            let wrong: Vec<String> = objects
                .iter()
                .filter_map(|(kind, object)| {
                    let mut reader = Reader::new(spec["paramKind"].is_object());
                    reader.object(object.clone());
                    for variable in list(spec, "variables") {
                        // Told where it is used, if it matters there.
                        let _ =
                            reader.variable(text(variable, "name"), text(variable, "expression"));
                    }
                    let why = reader.compile(source, Wanted::Anything, false).err()?;
                    Some(format!("{kind}: {why}\n"))
                })
                .collect();
            if !wrong.is_empty() {
                let field = format!("spec.validations[{at}].{key}");
                found.push(json!({"fieldRef": field, "warning": wrong.concat()}));
            }
        }
    }
    found
}

/// The kinds that rules name without wildcards, with the types of their objects.
fn objects(change: &Change<'_>, constraints: &Value) -> Vec<(String, Type)> {
    let kinds = change.call.core.kinds.load();
    let mut found: Vec<(String, Type)> = Vec::new();
    for rule in list(constraints, "resourceRules") {
        for resource in kinds.resources.iter() {
            let names =
                |key: &str, wanted: &str| list(rule, key).iter().any(|value| *value == *wanted);
            if !names("apiGroups", &resource.group)
                || !names("apiVersions", &resource.version)
                || !names("resources", &resource.plural)
            {
                continue;
            }
            let kind = format!("{}, Kind={}", resource.api_version(), resource.kind);
            let kind = match resource.group.is_empty() {
                true => format!("/{kind}"),
                false => kind,
            };
            let known = found.iter().any(|(known, _)| *known == kind);
            if let Some(schema) = resource.schema().filter(|_| !known && found.len() < KINDS) {
                found.push((kind, of(schema, &resource.kind, 0)));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn of(schema: &Schema, name: &str, depth: usize) -> Type {
    if depth > DEPTH {
        return Type::Dyn;
    }
    match schema.kind {
        Kind::Object if !schema.fields.is_empty() => {
            let fields = schema.fields.iter().filter_map(|(field, slot)| {
                let escaped = escape(field)?;
                let kind = of(slot.schema(), &format!("{name}.{escaped}"), depth + 1);
                Some((Arc::from(escaped), kind))
            });
            Type::Object(Arc::new(Object {
                name: name.to_string(),
                fields: fields.collect(),
            }))
        }
        Kind::Object => match &schema.additional {
            Some(slot) => Type::map(Type::String, of(slot.schema(), name, depth + 1)),
            None => Type::Dyn,
        },
        Kind::Array => match &schema.items {
            Some(slot) => Type::list(of(slot.schema(), name, depth + 1)),
            None => Type::Dyn,
        },
        Kind::String => match schema.format.as_deref() {
            Some("date-time" | "date") => Type::Timestamp,
            Some("duration") => Type::Duration,
            Some("byte") => Type::Bytes,
            _ => Type::String,
        },
        Kind::Integer => Type::Int,
        Kind::Number => Type::Double,
        Kind::Boolean => Type::Bool,
        Kind::Any | Kind::IntOrString | Kind::Quantity => Type::Dyn,
    }
}
