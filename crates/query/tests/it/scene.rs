//! What expressions of the corpus are evaluated in: a schema, and objects of it.

use serde_json::Value as Json;
use std::sync::Arc;
use towpath_query::cel::{Env, Key, Merge, Shape, Type, Value, escape};

use towpath_query::cel::REQUEST_BYTES as REQUEST;

/// The shape of a structural schema, as the API's own crate makes it.
pub(crate) fn shape(schema: &Json, root: bool, name: &str) -> Option<Arc<Shape>> {
    let number = |key: &str| schema[key].as_u64();
    if schema["x-kubernetes-int-or-string"] == true {
        let most = number("maxLength").map_or(REQUEST - 2, |n| n * 4);
        return Some(Arc::new(Shape::leaf(Type::Dyn, most, 1)));
    }
    let leaf = |kind, most, least| Some(Arc::new(Shape::leaf(kind, most, least)));
    match schema["type"].as_str()? {
        "array" => {
            let items = shape(&schema["items"], false, &format!("{name}.@idx"))?;
            let most = number("maxItems").unwrap_or((REQUEST - 2) / (items.least_bytes + 1));
            let merge = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Merge::Set,
                Some("map") => Merge::keys(
                    schema["x-kubernetes-list-map-keys"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Json::as_str),
                ),
                _ => Merge::Atomic,
            };
            Some(Arc::new(Shape::list(items, most, merge)))
        }
        "object" if schema["additionalProperties"].is_object() => {
            let values = shape(
                &schema["additionalProperties"],
                false,
                &format!("{name}.@elem"),
            )?;
            let most = number("maxProperties").unwrap_or((REQUEST - 2) / (values.least_bytes + 6));
            Some(Arc::new(Shape::map(values, most)))
        }
        "object" => {
            let mut fields = indexmap::IndexMap::new();
            let mut least = 2;
            let mut properties = schema["properties"].clone();
            if root {
                let text = serde_json::json!({"type": "string"});
                properties["kind"] = text.clone();
                properties["apiVersion"] = text.clone();
                properties["metadata"] = serde_json::json!({"type": "object", "properties": {"name": text, "generateName": text}});
            }
            for (key, value) in properties.as_object().into_iter().flatten() {
                let Some(escaped) = escape(key) else {
                    continue;
                };
                if let Some(found) = shape(value, false, &format!("{name}.{escaped}")) {
                    let required = schema["required"]
                        .as_array()
                        .is_some_and(|all| all.contains(&Json::from(key.as_str())));
                    if required && value["default"].is_null() {
                        least += key.len() as u64 + found.least_bytes + 4;
                    }
                    fields.insert(Arc::from(escaped), found);
                }
            }
            Some(Arc::new(Shape::object(name, fields, least)))
        }
        "string" => {
            let format = schema["format"].as_str().unwrap_or_default();
            let (kind, most, least) = match format {
                "byte" => (Type::Bytes, number("maxLength").unwrap_or(REQUEST - 2), 2),
                "duration" => (Type::Duration, 32, 3),
                "date" => (Type::Timestamp, 12, 12),
                "date-time" => (Type::Timestamp, 32, 21),
                _ => {
                    let longest = schema["enum"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|v| v.as_str().map(str::len))
                        .max();
                    let most = number("maxLength")
                        .map(|n| n * 4)
                        .or(longest.map(|n| n as u64))
                        .unwrap_or(REQUEST - 2);
                    (Type::String, most, 2)
                }
            };
            let mut found = Shape::leaf(kind, most, least);
            found.format = Some(format.into());
            Some(Arc::new(found))
        }
        "boolean" => leaf(Type::Bool, 0, 4),
        "number" => leaf(Type::Double, 0, 1),
        "integer" => leaf(Type::Int, 0, 1),
        _ => None,
    }
}

/// The variables an expression sees.
#[derive(Default, Clone)]
pub(crate) struct Scene {
    pub(crate) shape: Option<Arc<Shape>>,
    pub(crate) variables: Vec<(&'static str, Value)>,
}

impl towpath_query::cel::Variables for Scene {
    fn get(&self, name: &str) -> Option<Result<Value, towpath_query::cel::Error>> {
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| Ok(value.clone()))
    }
}

impl Scene {
    pub(crate) fn env(&self) -> Env {
        match &self.shape {
            None => Env::new(),
            Some(shape) => Env::new()
                .with("self", shape.kind.clone())
                .with("oldSelf", shape.kind.clone()),
        }
    }
}

/// A value as the peer writes it.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => format!("{n}u"),
        Value::Double(n) if n.is_nan() => "double(NaN)".into(),
        Value::Double(n) if n.is_infinite() => {
            format!("double({}Inf)", if *n > 0.0 { "+" } else { "-" })
        }
        Value::Double(n) => format!("double({:016x})", n.to_bits()),
        Value::String(text) => quote(text),
        Value::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("bytes({hex})")
        }
        Value::Duration(nanos) => format!("duration({nanos})"),
        Value::Timestamp(seconds, nanos) => format!("timestamp({seconds}.{nanos:09})"),
        Value::Type(name) => format!("type({name})"),
        Value::Optional(None) => "optional()".into(),
        Value::Optional(Some(inner)) => format!("optional({})", show(inner)),
        Value::Quantity(amount) => format!("quantity({amount})"),
        Value::Url(url) => format!("url({url})"),
        Value::Ip(ip) => format!("ip({ip})"),
        Value::Cidr(cidr) => format!("cidr({cidr})"),
        Value::Semver(version) => format!("semver({version})"),
        Value::Format(name) => format!("format({name})"),
        Value::List(list) => {
            let parts: Vec<String> = list.items.iter().map(show).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::Map(map) => {
            let mut parts: Vec<String> = map
                .entries
                .iter()
                .map(|(key, value)| {
                    let key = match key {
                        Key::String(text) => quote(text),
                        other => show(&other.value()),
                    };
                    format!("{key}: {}", show(value))
                })
                .collect();
            parts.sort();
            format!("{{{}}}", parts.join(", "))
        }
        other => other.type_name().to_string(),
    }
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || c as u32 == 0x7f || c == '\u{fffd}' => {
                out.push_str(&format!("\\u{{{:x}}}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
