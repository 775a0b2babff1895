//! From JSON to values, by a shape or by the JSON alone; and what `authorizer` is asked.

use super::eval::{Result_, Run, fault};
use super::names::escape;
use super::shape::{Merge, Shape};
use super::time;
use super::types::Type;
use super::value::{Check, Key, List, Map, Value};
use crate::go_duration;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use indexmap::IndexMap;
use serde_json::Value as Json;
use std::sync::Arc;

impl Value {
    /// A value without a schema: fields keep their names, texts are texts.
    pub fn from_json(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(n), _) => Value::Int(n),
                (None, Some(n)) => Value::Uint(n),
                _ => Value::Double(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => text.as_str().into(),
            Json::Array(items) => Value::list(items.iter().map(Value::from_json).collect()),
            Json::Object(fields) => Value::map(
                fields
                    .iter()
                    .map(|(name, value)| (Arc::from(name.as_str()), Value::from_json(value))),
            ),
        }
    }

    /// A value of a shape: fields have the names expressions use, texts with a format are what
    /// they say. What the shape does not know is left out.
    pub fn of_shape(json: &Json, shape: &Shape) -> Value {
        match (json, &shape.kind) {
            (Json::Null, _) => Value::Null,
            (Json::Object(fields), Type::Object(object)) => {
                let mut entries = IndexMap::with_capacity(fields.len());
                for (name, value) in fields {
                    let Some(name) = escape(name) else {
                        continue;
                    };
                    // A field that is null counts as absent.
                    if let Some(shape) = shape.fields.get(&*name).filter(|_| !value.is_null()) {
                        let value = Value::of_shape(value, shape);
                        entries.insert(Key::String(name.into()), value);
                    }
                }
                Value::Map(Arc::new(Map {
                    entries,
                    object: Some(object.name.as_str().into()),
                }))
            }
            (Json::Object(fields), Type::Map(..)) => {
                let Some(values) = &shape.items else {
                    return Value::from_json(json);
                };
                Value::map(
                    fields
                        .iter()
                        .map(|(k, v)| (Arc::from(k.as_str()), Value::of_shape(v, values))),
                )
            }
            (Json::Array(items), Type::List(_)) => {
                let Some(inner) = &shape.items else {
                    return Value::from_json(json);
                };
                let items = items.iter().map(|item| Value::of_shape(item, inner));
                Value::List(Arc::new(List {
                    items: items.collect(),
                    merge: shape.merge.clone(),
                }))
            }
            (Json::String(text), Type::Duration) => match go_duration::parse(text) {
                Some(nanos) => Value::Duration(nanos),
                None => Value::Null,
            },
            (Json::String(text), Type::Timestamp) => {
                let full;
                let text = match shape.format.as_deref() {
                    Some("date") => {
                        full = format!("{text}T00:00:00Z");
                        &full
                    }
                    _ => text,
                };
                match time::timestamp(text) {
                    Some((seconds, nanos)) => Value::Timestamp(seconds, nanos),
                    None => Value::Null,
                }
            }
            (Json::String(text), Type::Bytes) => match base64(text) {
                Some(bytes) => Value::Bytes(bytes.into()),
                None => Value::Null,
            },
            (Json::Number(number), Type::Double) => {
                Value::Double(number.as_f64().unwrap_or_default())
            }
            (Json::Number(number), Type::Int) => match number.as_i64() {
                Some(n) => Value::Int(n),
                None => Value::Int(number.as_f64().unwrap_or_default() as i64),
            },
            _ => Value::from_json(json),
        }
    }

    /// The value as JSON; none for what JSON cannot hold.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(n) => (*n).into(),
            Value::Uint(n) => (*n).into(),
            Value::Double(n) => Json::Number(serde_json::Number::from_f64(*n)?),
            Value::String(text) => Json::String(text.to_string()),
            Value::Duration(nanos) => Json::String(time::show_duration(*nanos)),
            Value::Timestamp(seconds, nanos) => {
                Json::String(time::show_timestamp(*seconds, *nanos))
            }
            Value::List(list) => Json::Array(
                list.items
                    .iter()
                    .map(Value::to_json)
                    .collect::<Option<Vec<Json>>>()?,
            ),
            Value::Map(map) => {
                let mut fields = serde_json::Map::new();
                for (key, value) in &map.entries {
                    let Key::String(name) = key else {
                        return None;
                    };
                    fields.insert(name.to_string(), value.to_json()?);
                }
                Json::Object(fields)
            }
            Value::Quantity(amount) => Json::String(amount.to_string()),
            Value::Optional(Some(inner)) => inner.to_json()?,
            _ => return None,
        })
    }
}

impl Merge {
    /// Keys by the names fields have in objects.
    pub fn keys<'a>(fields: impl IntoIterator<Item = &'a str>) -> Merge {
        let keys = fields.into_iter().filter_map(escape).map(Arc::from);
        Merge::Keys(keys.collect())
    }
}

// As Go reads it: padded, and whatever the last bits are.
fn base64(text: &str) -> Option<Vec<u8>> {
    const LAX: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&alphabet::STANDARD, LAX)
        .decode(text)
        .ok()
}

/// Steps of `authorizer.group('').resource('pods').check('get')`.
pub(crate) fn authorizer(_: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    if let [Value::Decision(decision)] = args {
        return Some(Ok(match function {
            "allowed" => Value::Bool(decision.allowed),
            "reason" => decision.reason.as_str().into(),
            "errored" => Value::Bool(decision.error.is_some()),
            "error" => decision.error.as_deref().unwrap_or_default().into(),
            _ => return None,
        }));
    }
    let (Value::Authorizer(check), Value::String(text)) = (args.first()?, args.get(1)?) else {
        return None;
    };
    let mut next = Check::clone(check);
    let text = text.clone();
    match (function, args.len()) {
        ("path", 2) => next.path = Some(text),
        ("group", 2) => next.group = Some(text),
        ("resource", 2) => next.resource = Some(text),
        ("subresource", 2) => next.subresource = text,
        ("namespace", 2) => next.namespace = text,
        ("name", 2) => next.name = text,
        ("fieldSelector", 2) => next.field_selector = text,
        ("labelSelector", 2) => next.label_selector = text,
        ("serviceAccount", 3) => {
            let Value::String(name) = &args[2] else {
                return None;
            };
            next.account = Some((text, name.clone()));
        }
        ("check", 2) => {
            return Some(match &check.by {
                Some(by) => Ok(Value::Decision(by.decide(check, &text).into())),
                None => fault("no authorizer is available"),
            });
        }
        _ => return None,
    }
    Some(Ok(Value::Authorizer(next.into())))
}
