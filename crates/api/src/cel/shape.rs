//! The shape that expressions see of a structural schema: types, names, and how large parts can be.

use super::{list, text};
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_query::cel::{Merge, REQUEST_BYTES, Shape, Type, escape};

/// The shape of a schema; none where expressions do not see it. `root` objects have kind, version
/// and name whatever their schema says.
pub fn shape(schema: &Value, root: bool, name: &str) -> Option<Arc<Shape>> {
    let number = |key: &str| schema[key].as_i64().map(|n| n.max(0) as u64);
    let leaf = |kind, most, least| Some(Arc::new(Shape::leaf(kind, most, least)));
    if schema["x-kubernetes-int-or-string"] == true {
        let most = number("maxLength").map_or(REQUEST_BYTES - 2, |n| n.saturating_mul(4));
        return leaf(Type::Dyn, most, 1);
    }
    let inner = |schema: &Value, name: String| {
        shape(
            schema,
            schema["x-kubernetes-embedded-resource"] == true,
            &name,
        )
    };
    match text(schema, "type") {
        "array" => {
            let items = inner(&schema["items"], format!("{name}.@idx"))?;
            let most = number("maxItems").unwrap_or((REQUEST_BYTES - 2) / (items.least_bytes + 1));
            let keys = list(schema, "x-kubernetes-list-map-keys");
            let merge = match text(schema, "x-kubernetes-list-type") {
                "set" => Merge::Set,
                "map" => Merge::keys(keys.iter().filter_map(Value::as_str)),
                _ => Merge::Atomic,
            };
            Some(Arc::new(Shape::list(items, most, merge)))
        }
        "object" if schema["additionalProperties"].is_object() => {
            let values = inner(&schema["additionalProperties"], format!("{name}.@elem"))?;
            let least = values.least_bytes + 6;
            let most = number("maxProperties").unwrap_or((REQUEST_BYTES - 2) / least);
            Some(Arc::new(Shape::map(values, most)))
        }
        "object" => object(schema, root, name),
        "string" => string(schema, number("maxLength")),
        "boolean" => leaf(Type::Bool, 0, 4),
        "number" => leaf(Type::Double, 0, 1),
        "integer" => leaf(Type::Int, 0, 1),
        _ => None,
    }
}

fn object(schema: &Value, root: bool, name: &str) -> Option<Arc<Shape>> {
    let mut fields = indexmap::IndexMap::new();
    let mut least = 2;
    let mut add = |key: &str, field: &Value| {
        let inner = format!("{name}.{key}");
        let embedded = field["x-kubernetes-embedded-resource"] == true;
        let Some(found) = shape(field, embedded, &inner) else {
            return;
        };
        let required = list(schema, "required").iter().any(|r| r == key);
        if required && field.get("default").is_none() {
            least += key.len() as u64 + found.least_bytes + 4;
        }
        if let Some(escaped) = escape(key) {
            fields.insert(Arc::from(escaped), found);
        }
    };
    for (key, field) in schema["properties"].as_object().into_iter().flatten() {
        let own = root && matches!(key.as_str(), "kind" | "apiVersion" | "metadata");
        if !own {
            add(key, field);
        }
    }
    if root {
        let text = json!({"type": "string"});
        let metadata =
            json!({"type": "object", "properties": {"name": text, "generateName": text}});
        add("kind", &text);
        add("apiVersion", &text);
        add("metadata", &metadata);
    }
    Some(Arc::new(Shape::object(name, fields, least)))
}

fn string(schema: &Value, longest: Option<u64>) -> Option<Arc<Shape>> {
    let format = text(schema, "format");
    let (kind, most, least) = match format {
        "byte" => (Type::Bytes, longest.unwrap_or(REQUEST_BYTES - 2), 2),
        "duration" => (Type::Duration, 32, 3),
        "date" => (Type::Timestamp, 12, 12),
        "date-time" => (Type::Timestamp, 32, 21),
        _ => {
            let values = list(schema, "enum").iter();
            let of_values = values.map(|value| value.as_str().map_or(0, str::len)).max();
            let most = longest
                .map(|n| n.saturating_mul(4))
                .or(of_values.map(|n| n as u64));
            (Type::String, most.unwrap_or(REQUEST_BYTES - 2), 2)
        }
    };
    let mut found = Shape::leaf(kind, most, least);
    found.format = Some(format.into());
    Some(Arc::new(found))
}
