//! Value rules of custom resources (OpenAPI validation keywords) and their evaluation.
//!
//! Texts follow upstream's validator: `spec.n in body should be less than or equal to 3`.

use super::{Kind, ListType, Schema};
use crate::field::{ErrorKind, FieldError, join};
use regex::Regex;
use serde_json::Value;

/// The keywords of one node.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Allowed values; empty means any.
    pub allowed: Vec<Value>,
    /// Lower bound and whether it is excluded.
    pub minimum: Option<(f64, bool)>,
    /// Upper bound and whether it is excluded.
    pub maximum: Option<(f64, bool)>,
    /// The value is a multiple of this.
    pub multiple_of: Option<f64>,
    /// Least and most characters.
    pub length: (Option<u64>, Option<u64>),
    /// The text matches this.
    pub pattern: Option<Regex>,
    /// Least and most items.
    pub items: (Option<u64>, Option<u64>),
    /// Least and most entries.
    pub properties: (Option<u64>, Option<u64>),
    /// All of these hold.
    pub all_of: Vec<Schema>,
    /// One of these holds at least.
    pub any_of: Vec<Schema>,
    /// Exactly one of these holds.
    pub one_of: Vec<Schema>,
    /// This does not hold.
    pub not: Option<Box<Schema>>,
    /// An object whose unknown fields are pruned though no field is known.
    pub closed: bool,
}

/// All findings about `value` at `path`: types, required fields, keywords.
pub fn check(schema: &Schema, value: &Value, path: &str, found: &mut Vec<FieldError>) {
    if value.is_null() && schema.nullable {
        return;
    }
    if !type_fits(schema.kind, value) {
        if schema.kind == Kind::Integer && value.is_number() {
            let detail =
                format!("Checked value must be of type integer (default format) in {path}");
            found.push(FieldError::invalid("<nil>", "", detail));
        }
        found.push(wrong_type(schema, value, path));
        return;
    }
    match value {
        Value::Object(map) => {
            for name in &schema.required {
                if !map.contains_key(&**name) {
                    found.push(FieldError::required(join(path, name), ""));
                }
            }
            for (key, value) in map {
                if let Some(slot) = schema.fields.get(key.as_str()) {
                    check(slot.schema(), value, &join(path, key), found);
                } else if let Some(slot) = &schema.additional {
                    check(slot.schema(), value, &join(path, key), found);
                }
            }
        }
        Value::Array(items) => {
            if let Some(slot) = &schema.items {
                for (at, item) in items.iter().enumerate() {
                    check(slot.schema(), item, &format!("{path}[{at}]"), found);
                }
            }
            unique(schema, items, path, found);
        }
        Value::String(text) => text_format(schema, text, path, found),
        _ => {}
    }
    if let Some(rules) = &schema.rules {
        keywords(rules, value, path, found);
    }
}

fn type_fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Any => true,
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Integer => is_integer(value),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::IntOrString => value.is_string() || is_integer(value),
        Kind::Quantity => value.is_string() || value.is_number(),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
}

fn wrong_type(schema: &Schema, value: &Value, path: &str) -> FieldError {
    let wanted = match schema.kind {
        Kind::Any => "any",
        Kind::Object => "object",
        Kind::Array => "array",
        Kind::String | Kind::Quantity => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::IntOrString => "integer,string",
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let detail = format!(
        "{path} in body must be of type {wanted}: {}",
        crate::field::quote(found)
    );
    FieldError::type_invalid(path, found, detail)
}

fn unique(schema: &Schema, items: &[Value], path: &str, found: &mut Vec<FieldError>) {
    let mut seen: Vec<Value> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let key = match &schema.list {
            ListType::Atomic => return,
            ListType::Set => item.clone(),
            ListType::Map(keys) => keys
                .iter()
                .map(|key| {
                    (
                        key.to_string(),
                        item.get(&**key).cloned().unwrap_or(Value::Null),
                    )
                })
                .collect(),
        };
        if seen.contains(&key) {
            found.push(FieldError::duplicate(format!("{path}[{at}]"), key));
        } else {
            seen.push(key);
        }
    }
}

fn text_format(schema: &Schema, text: &str, path: &str, found: &mut Vec<FieldError>) {
    let fits = match schema.format.as_deref() {
        Some("date-time") => crate::time::is_rfc3339(text),
        Some("byte") => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .is_ok()
        }
        Some("ipv4") => text.parse::<std::net::Ipv4Addr>().is_ok(),
        Some("ipv6") => text.parse::<std::net::Ipv6Addr>().is_ok(),
        Some("date") => text.len() == 10 && crate::time::is_rfc3339(&format!("{text}T00:00:00Z")),
        Some("uuid") => is_uuid(text),
        _ => true,
    };
    if !fits && let Some(format) = &schema.format {
        let detail = format!(
            "{path} in body must be of type {format}: {}",
            crate::field::quote(text)
        );
        found.push(FieldError::type_invalid(path, text, detail));
    }
}

fn is_uuid(text: &str) -> bool {
    let hex: Vec<u8> = text.bytes().filter(|c| *c != b'-').collect();
    hex.len() == 32 && hex.iter().all(u8::is_ascii_hexdigit)
}

fn keywords(rules: &Rules, value: &Value, path: &str, found: &mut Vec<FieldError>) {
    let mut wrong = |kind, text: String| {
        found.push(FieldError {
            kind,
            field: path.to_string(),
            value: value.clone(),
            detail: format!("{path} in body {text}"),
            hides_value: false,
        });
    };
    if !rules.allowed.is_empty() && !rules.allowed.contains(value) {
        let supported: Vec<String> = rules.allowed.iter().map(Value::to_string).collect();
        found.push(FieldError {
            kind: ErrorKind::NotSupported,
            field: path.to_string(),
            value: value.clone(),
            detail: format!("supported values: {}", supported.join(", ")),
            hides_value: false,
        });
        return;
    }
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            numeric(rules, number, &mut wrong);
        }
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if rules.length.0.is_some_and(|min| length < min) {
                wrong(
                    ErrorKind::Invalid,
                    format!(
                        "should be at least {} chars long",
                        rules.length.0.unwrap_or(0)
                    ),
                );
            }
            if let Some(pattern) = rules
                .pattern
                .as_ref()
                .filter(|pattern| !pattern.is_match(text))
            {
                wrong(ErrorKind::Invalid, format!("should match '{pattern}'"));
            }
        }
        Value::Array(items) => count(rules.items, items.len(), "items", path, found),
        Value::Object(map) => count(rules.properties, map.len(), "properties", path, found),
        _ => {}
    }
    if let (Value::String(text), Some(max)) = (value, rules.length.1)
        && text.chars().count() as u64 > max
    {
        found.push(FieldError::too_long(
            path,
            usize::try_from(max).unwrap_or(usize::MAX),
        ));
    }
    combined(rules, value, path, found);
}

fn numeric(rules: &Rules, number: f64, wrong: &mut impl FnMut(ErrorKind, String)) {
    if let Some((min, excluded)) = rules.minimum {
        if excluded && number <= min {
            wrong(ErrorKind::Invalid, format!("should be greater than {min}"));
        } else if number < min {
            wrong(
                ErrorKind::Invalid,
                format!("should be greater than or equal to {min}"),
            );
        }
    }
    if let Some((max, excluded)) = rules.maximum {
        if excluded && number >= max {
            wrong(ErrorKind::Invalid, format!("should be less than {max}"));
        } else if number > max {
            wrong(
                ErrorKind::Invalid,
                format!("should be less than or equal to {max}"),
            );
        }
    }
    if let Some(step) = rules
        .multiple_of
        .filter(|step| (number / step).fract() != 0.0)
    {
        wrong(
            ErrorKind::Invalid,
            format!("should be a multiple of {step}"),
        );
    }
}

fn count(
    bounds: (Option<u64>, Option<u64>),
    length: usize,
    what: &str,
    path: &str,
    found: &mut Vec<FieldError>,
) {
    if let Some(min) = bounds.0.filter(|min| (length as u64) < *min) {
        let detail = format!("{path} in body should have at least {min} {what}");
        found.push(FieldError::invalid(path, length, detail));
    }
    if let Some(max) = bounds.1.filter(|max| length as u64 > *max) {
        found.push(FieldError::too_many(
            path,
            length,
            usize::try_from(max).unwrap_or(usize::MAX),
        ));
    }
}

/// Rules that combine schemas. Upstream names no field in their findings, and adds those of the
/// alternative that came closest.
fn combined(rules: &Rules, value: &Value, path: &str, found: &mut Vec<FieldError>) {
    let findings = |schema: &Schema| {
        let mut inner = Vec::new();
        check(schema, value, path, &mut inner);
        inner
    };
    let name = crate::field::quote(path);
    let wrong = |found: &mut Vec<FieldError>, text: &str| {
        found.push(FieldError::invalid("<nil>", "", format!("{name} {text}")));
    };
    let closest = |schemas: &[Schema]| {
        schemas
            .iter()
            .map(findings)
            .min_by_key(Vec::len)
            .unwrap_or_default()
    };
    let valid = |schemas: &[Schema]| {
        schemas
            .iter()
            .filter(|schema| findings(schema).is_empty())
            .count()
    };
    let all: Vec<FieldError> = rules.all_of.iter().flat_map(findings).collect();
    if !all.is_empty() {
        wrong(found, "must validate all the schemas (allOf)");
        found.extend(all);
    }
    if !rules.any_of.is_empty() && valid(&rules.any_of) == 0 {
        wrong(found, "must validate at least one schema (anyOf)");
        found.extend(closest(&rules.any_of));
    }
    if !rules.one_of.is_empty() {
        match valid(&rules.one_of) {
            1 => {}
            0 => {
                wrong(
                    found,
                    "must validate one and only one schema (oneOf). Found none valid",
                );
                found.extend(closest(&rules.one_of));
            }
            n => {
                let text = format!(
                    "must validate one and only one schema (oneOf). Found {n} valid alternatives"
                );
                wrong(found, &text);
            }
        }
    }
    if rules
        .not
        .as_ref()
        .is_some_and(|schema| findings(schema).is_empty())
    {
        wrong(found, "must not validate the schema (not)");
    }
}
