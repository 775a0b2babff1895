//! Schemas as OpenAPI components, each with everything it refers to.

use super::{Custom, words};
use crate::schema::{Kind, ListType, Schema, Slot, definition};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const PREFIX: &str = "io.k8s.";
const OBJECT_META: &str = "apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "apimachinery.pkg.apis.meta.v1.ListMeta";

/// Which version of OpenAPI is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    V2,
    V3,
}

pub(super) struct Components {
    form: Form,
    done: BTreeMap<String, Value>,
}

impl Components {
    pub(super) fn new(form: Form) -> Self {
        Components {
            form,
            done: BTreeMap::new(),
        }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// A reference to a component.
    pub(super) fn reference(&self, name: &str) -> Value {
        match self.form {
            Form::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
            Form::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        }
    }

    pub(super) fn finish(self) -> Value {
        Value::Object(self.done.into_iter().collect())
    }

    /// Adds a built-in definition (name without prefix) and what it needs.
    pub(super) fn builtin(&mut self, name: &str) {
        let full = format!("{PREFIX}{name}");
        if self.done.contains_key(&full) {
            return;
        }
        let Some(schema) = definition(name) else {
            return;
        };
        self.done.insert(full.clone(), Value::Null);
        let mut node = self.node(schema);
        if let Some((group, version, kind)) = crate::schema::kind_of(name) {
            node["x-kubernetes-group-version-kind"] =
                json!([{"group": group, "version": version, "kind": kind}]);
        }
        if name == OBJECT_META {
            words::describe(&mut node);
        }
        self.done.insert(full, node);
    }

    /// Adds the list of a kind whose definition is known.
    pub(super) fn list(&mut self, item: &str, group: &str, version: &str, kind: &str) {
        self.builtin(LIST_META);
        let metadata = self.reference(&format!("{PREFIX}{LIST_META}"));
        let node = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "items": {"type": "array", "items": self.reference(item)},
                "kind": {"type": "string"},
                "metadata": metadata,
            },
            "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind}],
        });
        self.done.insert(format!("{item}List"), node);
    }

    /// Adds a custom resource; returns its name (`dev.towpath.v1.Run`).
    pub(super) fn custom(&mut self, resource: &Custom<'_>) -> String {
        let mut labels: Vec<&str> = resource.group.split('.').collect();
        labels.reverse();
        let name = format!(
            "{}.{}.{}",
            labels.join("."),
            resource.version,
            resource.kind
        );
        self.builtin(OBJECT_META);
        let mut node = resource.schema.clone();
        let open = !node.is_object() || node["x-kubernetes-preserve-unknown-fields"] == true;
        if self.form == Form::V2 && open {
            // Clients of version 2 would forbid whatever is not listed.
            node = json!({"type": "object"});
        } else if !node.is_object() {
            node = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        }
        if self.form == Form::V2 {
            downgrade(&mut node);
        }
        if node["properties"].is_object() {
            node["properties"]["apiVersion"] =
                json!({"type": "string", "description": words::API_VERSION});
            node["properties"]["kind"] = json!({"type": "string", "description": words::KIND});
            node["properties"]["metadata"] = self.object_meta();
        }
        node["x-kubernetes-group-version-kind"] =
            json!([{"group": resource.group, "version": resource.version, "kind": resource.kind}]);
        self.done.insert(name.clone(), node);
        name
    }

    fn object_meta(&self) -> Value {
        let reference = self.reference(&format!("{PREFIX}{OBJECT_META}"));
        match self.form {
            Form::V3 => json!({"allOf": [reference], "description": words::METADATA}),
            Form::V2 => {
                let mut node = reference;
                node["description"] = words::METADATA.into();
                node
            }
        }
    }

    fn node(&mut self, schema: &Schema) -> Value {
        let mut node = Map::new();
        match (schema.kind, self.form) {
            (Kind::IntOrString, Form::V3) => {
                node.insert("format".into(), "int-or-string".into());
                node.insert(
                    "oneOf".into(),
                    json!([{"type": "integer"}, {"type": "string"}]),
                );
                return Value::Object(node);
            }
            (Kind::Quantity, Form::V3) => {
                node.insert(
                    "oneOf".into(),
                    json!([{"type": "string"}, {"type": "number"}]),
                );
                return Value::Object(node);
            }
            _ => {}
        }
        let kind = match schema.kind {
            Kind::Any => None,
            Kind::Object => Some("object"),
            Kind::Array => Some("array"),
            Kind::String | Kind::IntOrString | Kind::Quantity => Some("string"),
            Kind::Integer => Some("integer"),
            Kind::Number => Some("number"),
            Kind::Boolean => Some("boolean"),
        };
        node.extend(kind.map(|kind| ("type".to_string(), kind.into())));
        node.extend(
            schema
                .format
                .as_ref()
                .map(|format| ("format".to_string(), format.to_string().into())),
        );
        if !schema.required.is_empty() {
            node.insert(
                "required".into(),
                schema
                    .required
                    .iter()
                    .map(|name| name.to_string())
                    .collect(),
            );
        }
        if !schema.fields.is_empty() {
            let fields: Map<String, Value> = schema
                .fields
                .iter()
                .map(|(name, slot)| (name.to_string(), self.slot(slot)))
                .collect();
            node.insert("properties".into(), Value::Object(fields));
        }
        if let Some(slot) = &schema.additional {
            node.insert("additionalProperties".into(), self.slot(slot));
        }
        if let Some(slot) = &schema.items {
            node.insert("items".into(), self.slot(slot));
        }
        match &schema.list {
            ListType::Set => {
                node.insert("x-kubernetes-list-type".into(), "set".into());
            }
            ListType::Map(keys) => {
                node.insert("x-kubernetes-list-type".into(), "map".into());
                let keys = keys.iter().map(|key| key.to_string()).collect();
                node.insert("x-kubernetes-list-map-keys".into(), keys);
            }
            ListType::Atomic if schema.kind == Kind::Array => {
                node.insert("x-kubernetes-list-type".into(), "atomic".into());
            }
            ListType::Atomic => {}
        }
        if schema.atomic_map {
            node.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        Value::Object(node)
    }

    fn slot(&mut self, slot: &Slot) -> Value {
        let mut extra = Map::new();
        if self.form == Form::V3
            && let Some(default) = &slot.default
        {
            extra.insert("default".into(), default.clone());
        }
        if self.form == Form::V3 && !slot.allowed.is_empty() {
            let mut allowed = slot.allowed.clone();
            allowed.sort_unstable();
            extra.insert("enum".into(), allowed.into());
        }
        let strategies: Vec<&str> = [
            ("merge", slot.patch.merge),
            ("retainKeys", slot.patch.retain_keys),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect();
        if !strategies.is_empty() {
            extra.insert(
                "x-kubernetes-patch-strategy".into(),
                strategies.join(",").into(),
            );
        }
        if let Some(key) = &slot.patch.key {
            extra.insert(
                "x-kubernetes-patch-merge-key".into(),
                key.to_string().into(),
            );
        }
        let mut node = match slot.reference() {
            None => self.node(slot.schema()),
            Some(name) => {
                self.builtin(name);
                let reference = self.reference(&format!("{PREFIX}{name}"));
                match self.form {
                    Form::V3 if !extra.is_empty() => json!({"allOf": [reference]}),
                    _ => reference,
                }
            }
        };
        if let Value::Object(node) = &mut node {
            node.append(&mut extra);
        }
        node
    }
}

/// What v2 cannot say is left out, so that old clients do not refuse objects.
fn downgrade(node: &mut Value) {
    match node {
        Value::Object(map) => {
            for key in [
                "oneOf",
                "anyOf",
                "allOf",
                "not",
                "nullable",
                "default",
                "x-kubernetes-validations",
            ] {
                map.shift_remove(key);
            }
            if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
                map.shift_remove("properties");
                map.shift_remove("type");
            }
            map.retain(|key, value| {
                !(key.starts_with("x-kubernetes-") && *value == Value::Bool(false))
            });
            map.values_mut().for_each(downgrade);
        }
        Value::Array(items) => items.iter_mut().for_each(downgrade),
        _ => {}
    }
}
