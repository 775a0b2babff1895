//! Upstream's defaulting of built-in kinds, and that of custom resources by their schema.
//!
//! Most of it is data: `table` says which field of which definition has which value when it is not
//! given, and the schemas carry that ([`crate::schema::Slot::fill`]), so that a pod template is
//! filled the same way wherever it stands. What depends on other fields is in `rules`, called per
//! definition, parents first. Defaulting is idempotent.

mod rules;
mod table;

pub(crate) use rules::TEMPLATE_GENERATION;
pub(crate) use table::fill_of;

use crate::schema::{Kind, Schema, builtin};
use serde_json::{Map, Value};

/// Fills in an object of a built-in kind; unknown kinds are left alone.
pub fn apply(group: &str, version: &str, kind: &str, object: &mut Value) {
    if let Some(schema) = builtin(group, version, kind) {
        fill(schema, object);
    }
}

/// Fills in a value of a built-in definition.
pub fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            if !schema.name.is_empty() {
                rules::apply(schema.name, map);
            }
            fill_fields(schema, map);
            for (key, value) in map.iter_mut() {
                if (value.is_object() || value.is_array())
                    && let Some(slot) = schema.field(key)
                {
                    fill(slot.schema(), value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(slot) = &schema.items {
                let inner = slot.schema();
                if matches!(inner.kind, Kind::Object | Kind::Array) {
                    items.iter_mut().for_each(|item| fill(inner, item));
                }
            }
        }
        _ => {}
    }
}

fn fill_fields(schema: &Schema, map: &mut Map<String, Value>) {
    for at in &schema.defaulted {
        let Some((name, slot)) = schema.fields.get_index(*at) else {
            continue;
        };
        let given = map.get(&**name).is_some_and(|value| !value.is_null());
        if slot.always {
            if !given {
                map.insert(name.to_string(), Value::Object(Map::new()));
            }
            continue;
        }
        let default = slot.fill.as_ref().or(slot.default.as_ref());
        let empty = given && default.is_some() && map.get(&**name).is_some_and(|v| *v == "");
        if given && !empty {
            continue;
        }
        match default {
            Some(default) => {
                map.insert(name.to_string(), default.clone());
            }
            // A pointer that is always written.
            None if &**name == "apiGroup" && schema.name.ends_with("ObjectReference") => {
                map.insert(name.to_string(), Value::Null);
            }
            None if slot.emit_zero => {
                map.insert(name.to_string(), slot.zero());
            }
            None => {}
        }
    }
}

/// Fills in a custom resource by the `default`s of its schema; a `null` that the schema does not
/// allow counts as missing.
pub fn custom(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                let barred =
                    |slot: &crate::schema::Slot| slot.default.is_none() && !slot.schema().nullable;
                !value.is_null() || !schema.field(key).is_some_and(barred)
            });
            for (name, slot) in &schema.fields {
                let Some(default) = &slot.default else {
                    continue;
                };
                let missing = match map.get(&**name) {
                    None => true,
                    Some(Value::Null) => !slot.schema().nullable,
                    Some(_) => false,
                };
                if missing {
                    map.insert(name.to_string(), default.clone());
                }
            }
            for (key, value) in map.iter_mut() {
                let Some(slot) = schema.field(key) else {
                    continue;
                };
                if value.is_null()
                    && !slot.schema().nullable
                    && let Some(default) = &slot.default
                {
                    *value = default.clone();
                }
                custom(slot.schema(), value);
            }
        }
        Value::Array(items) => {
            if let Some(slot) = &schema.items {
                for item in items {
                    if item.is_null()
                        && !slot.schema().nullable
                        && let Some(default) = &slot.default
                    {
                        *item = default.clone();
                    }
                    custom(slot.schema(), item);
                }
            }
        }
        _ => {}
    }
}
