//! Whether a body fits the Go types upstream decodes into, with the decoder's own words.
//!
//! Upstream refuses a wrong JSON type while decoding (400), before validation (422). Decoding also
//! drops `null` fields and zero values that Go does not write, and brings quantities into their
//! canonical form: [`coerce`] does that.

use super::{Kind, Schema};
use serde_json::Value;

/// The first value whose type does not fit, as Go's decoder reports it.
pub fn type_error(schema: &Schema, value: &Value) -> Option<String> {
    let mut path = Vec::new();
    find(schema, value, struct_name(schema), &mut path)
}

/// The same for the metadata of a custom resource, whose other fields are left to validation.
pub fn metadata_error(object: &Value) -> Option<String> {
    let schema = super::definition("apimachinery.pkg.apis.meta.v1.ObjectMeta")?;
    let metadata = object.get("metadata")?;
    let mut path = Vec::new();
    find(schema, metadata, struct_name(schema), &mut path)
}

/// Brings a decoded body of a built-in kind into the form that is stored: no `null` fields, no zero
/// values where they mean nothing, quantities in canonical text.
pub fn coerce(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) if !schema.is_open() => {
            let texts = schema.fields.is_empty()
                && schema
                    .additional
                    .as_ref()
                    .is_some_and(|slot| slot.schema().kind == Kind::String);
            map.retain(|key, value| {
                if value.is_null() {
                    // Go reads it as the empty text.
                    if texts {
                        *value = "".into();
                    }
                    return texts;
                }
                let Some(slot) = schema.field(key) else {
                    return true;
                };
                if slot.omit_zero && is_zero(slot.schema(), value) {
                    return false;
                }
                coerce(slot.schema(), value);
                true
            });
        }
        Value::Array(items) => {
            if let Some(slot) = &schema.items {
                items
                    .iter_mut()
                    .for_each(|item| coerce(slot.schema(), item));
            }
        }
        Value::Number(number) if schema.kind == Kind::Quantity => {
            let text = number.to_string();
            *value = crate::quantity::canonical(&text).unwrap_or(text).into();
        }
        Value::String(text) if schema.kind == Kind::Quantity => {
            if let Some(canonical) = crate::quantity::canonical(text) {
                *text = canonical;
            }
        }
        _ => {}
    }
}

/// Empty lists and maps that are always written become `null`, as they do upstream on their way
/// through storage. Done after the owners of fields are recorded, which still sees them empty.
pub fn settle(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                let Some(slot) = schema.field(key) else {
                    continue;
                };
                let inner = slot.schema();
                if slot.emit_zero
                    && (value.is_array() || inner.additional.is_some())
                    && is_zero(inner, value)
                {
                    *value = Value::Null;
                } else if value.is_object() || value.is_array() {
                    settle(inner, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(slot) = &schema.items {
                let inner = slot.schema();
                if matches!(inner.kind, Kind::Object | Kind::Array) {
                    items.iter_mut().for_each(|item| settle(inner, item));
                }
            }
        }
        _ => {}
    }
}

/// A zero value of the right type; others are left for the type check to find.
fn is_zero(schema: &Schema, value: &Value) -> bool {
    match (schema.kind, value) {
        (_, Value::Null) => true,
        (Kind::Boolean | Kind::Any, Value::Bool(flag)) => !flag,
        (Kind::Integer | Kind::Number | Kind::Any, Value::Number(number)) => {
            number.as_f64() == Some(0.0)
        }
        (Kind::String | Kind::Any, Value::String(text)) => text.is_empty(),
        (Kind::Array | Kind::Any, Value::Array(items)) => items.is_empty(),
        (Kind::Object | Kind::Any, Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

fn struct_name(schema: &Schema) -> &'static str {
    schema.name.rsplit('.').next().unwrap_or_default()
}

fn find<'v>(
    schema: &Schema,
    value: &'v Value,
    owner: &str,
    path: &mut Vec<&'v str>,
) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let fits = match (schema.kind, value) {
        (Kind::Any, _) => return None,
        (Kind::Object, Value::Object(map)) => {
            let owner = if schema.name.is_empty() {
                owner
            } else {
                struct_name(schema)
            };
            for (key, value) in map {
                if let Some(slot) = schema.field(key) {
                    // Entries of a map have no name of their own in the decoder's path.
                    let named = schema.fields.contains_key(key.as_str());
                    if named {
                        path.push(key);
                    }
                    let found = find(slot.schema(), value, owner, path);
                    if named {
                        path.pop();
                    }
                    if found.is_some() {
                        return found;
                    }
                }
            }
            true
        }
        (Kind::Array, Value::Array(items)) => {
            let slot = schema.items.as_ref()?;
            return items
                .iter()
                .find_map(|item| find(slot.schema(), item, owner, path));
        }
        (Kind::String, Value::String(text)) => return bad_text(schema, text),
        (Kind::Boolean, Value::Bool(_)) | (Kind::Number, Value::Number(_)) => true,
        (Kind::Integer, Value::Number(number)) => {
            let fits = match schema.format.as_deref() {
                Some("int32") => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                _ => number.as_i64().is_some(),
            };
            if !fits {
                return Some(mismatch(
                    &format!("number {number}"),
                    &go_type(schema),
                    owner,
                    path,
                ));
            }
            true
        }
        (Kind::IntOrString, Value::String(_)) => true,
        (Kind::IntOrString, Value::Number(number)) => {
            number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
        }
        (Kind::Quantity, Value::String(text)) => {
            return crate::quantity::Quantity::parse(text)
                .err()
                .map(|error| error.to_string());
        }
        (Kind::Quantity, Value::Number(_)) => true,
        _ => false,
    };
    if fits {
        None
    } else {
        Some(mismatch(type_of(value), &go_type(schema), owner, path))
    }
}

fn bad_text(schema: &Schema, text: &str) -> Option<String> {
    use base64::Engine;
    match schema.format.as_deref() {
        Some("byte") => base64::engine::general_purpose::STANDARD
            .decode(text)
            .err()
            .map(|_| "illegal base64 data".to_string() + &bad_byte(text)),
        Some("date-time") if schema.name.ends_with(".MicroTime") && !is_micro(text) => {
            Some(format!(
                "parsing time {0} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {0} as \".000000\"",
                crate::field::quote(text)
            ))
        }
        Some("date-time") if !crate::time::is_rfc3339(text) => Some(format!(
            "parsing time {} as \"2006-01-02T15:04:05Z07:00\": cannot parse {} as \"2006\"",
            crate::field::quote(text),
            crate::field::quote(text)
        )),
        _ => None,
    }
}

/// Exactly six digits of a second.
fn is_micro(text: &str) -> bool {
    let digits = text.split_once('.').map_or(0, |(_, rest)| {
        rest.bytes().take_while(u8::is_ascii_digit).count()
    });
    digits == 6 && crate::time::is_rfc3339(text)
}

fn bad_byte(text: &str) -> String {
    let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
    let at = text
        .bytes()
        .position(|c| !ok(c))
        .unwrap_or(text.len().saturating_sub(text.len() % 4));
    format!(" at input byte {at}")
}

fn mismatch(found: &str, wanted: &str, owner: &str, path: &[&str]) -> String {
    if path.is_empty() {
        return format!("json: cannot unmarshal {found} into Go value of type {wanted}");
    }
    format!(
        "json: cannot unmarshal {found} into Go struct field {owner}.{} of type {wanted}",
        path.join(".")
    )
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_type(schema: &Schema) -> String {
    let of = |slot: &Option<Box<super::Slot>>| {
        slot.as_ref()
            .map_or("interface {}".to_string(), |slot| go_type(slot.schema()))
    };
    match schema.kind {
        Kind::Any => "interface {}".into(),
        Kind::Object if schema.additional.is_some() => {
            format!("map[string]{}", of(&schema.additional))
        }
        Kind::Object => {
            let mut parts = schema.name.rsplit('.');
            let (name, version) = (
                parts.next().unwrap_or_default(),
                parts.next().unwrap_or_default(),
            );
            format!("{version}.{name}")
        }
        Kind::Array => format!("[]{}", of(&schema.items)),
        Kind::String if schema.format.as_deref() == Some("byte") => "[]uint8".into(),
        Kind::String | Kind::Quantity => "string".into(),
        Kind::Integer if schema.format.as_deref() == Some("int32") => "int32".into(),
        Kind::Integer => "int64".into(),
        Kind::Number => "float64".into(),
        Kind::Boolean => "bool".into(),
        Kind::IntOrString => "int32".into(),
    }
}
