//! Small pieces of cells that many kinds share.

use crate::selector::Label;
use crate::time;
use serde_json::{Map, Value};

pub(super) fn at<'v>(object: &'v Value, path: &str) -> &'v Value {
    path.split('.')
        .try_fold(object, |value, key| value.get(key))
        .unwrap_or(&Value::Null)
}

pub(super) fn text(object: &Value, path: &str) -> String {
    match at(object, path) {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub(super) fn text_or(object: &Value, path: &str, missing: &str) -> Value {
    let text = text(object, path);
    if text.is_empty() {
        missing.into()
    } else {
        text.into()
    }
}

pub(super) fn number(object: &Value, path: &str) -> i64 {
    at(object, path).as_i64().unwrap_or(0)
}

pub(super) fn flag(object: &Value, path: &str, missing: bool) -> Value {
    at(object, path).as_bool().unwrap_or(missing).into()
}

pub(super) fn items<'v>(object: &'v Value, path: &str) -> &'v [Value] {
    at(object, path)
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

pub(super) fn name(object: &Value) -> Value {
    text(object, "metadata.name").into()
}

/// Time since a stamp in the object.
pub(super) fn since(object: &Value, path: &str, now: i64) -> String {
    let then = at(object, path).as_str().and_then(time::parse_rfc3339);
    then.map_or_else(|| "<unknown>".into(), |then| time::human(now - then))
}

pub(super) fn age(object: &Value, now: i64) -> Value {
    since(object, "metadata.creationTimestamp", now).into()
}

/// Names and images of containers.
pub(super) fn containers(object: &Value, path: &str) -> (Value, Value) {
    let list = items(object, path);
    let join = |key: &str| {
        list.iter()
            .map(|item| text(item, key))
            .collect::<Vec<_>>()
            .join(",")
    };
    (join("name").into(), join("image").into())
}

/// A label selector object as text.
pub(super) fn selector(object: &Value, path: &str) -> Value {
    let value = at(object, path);
    if value.is_null() {
        return "<none>".into();
    }
    match Label::from_object(value) {
        Ok(label) if label.is_everything() => "<none>".into(),
        Ok(label) => label.to_string().into(),
        Err(_) => "<error>".into(),
    }
}

/// A map of labels as text.
pub(super) fn labels(object: &Value, path: &str) -> Value {
    match at(object, path).as_object().filter(|map| !map.is_empty()) {
        Some(map) => Label::from_map(map).to_string().into(),
        None => "<none>".into(),
    }
}

pub(super) fn map_len(object: &Value, path: &str) -> i64 {
    at(object, path).as_object().map_or(0, Map::len) as i64
}

/// At most `max` items, with a count of the rest.
pub(super) fn some_of(list: Vec<String>, max: usize, separator: &str) -> String {
    let count = list.len();
    let shown = list
        .into_iter()
        .take(max)
        .collect::<Vec<_>>()
        .join(separator);
    if count > max {
        format!("{shown} + {} more...", count - max)
    } else {
        shown
    }
}

/// Access modes in short.
pub(super) fn access_modes(object: &Value, path: &str) -> Value {
    let given: Vec<&str> = items(object, path)
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let short: Vec<&str> = known
        .iter()
        .filter(|(long, _)| given.contains(long))
        .map(|(_, short)| *short)
        .collect();
    short.join(",").into()
}

pub(super) fn is_default_class(object: &Value, annotation: &str) -> bool {
    object["metadata"]["annotations"][annotation] == "true"
}

pub(super) fn has_condition(object: &Value, kind: &str) -> bool {
    items(object, "status.conditions")
        .iter()
        .any(|c| c["type"] == kind && c["status"] == "True")
}

/// The texts of a list.
pub(super) fn joined(object: &Value, path: &str, separator: &str) -> Value {
    items(object, path)
        .iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(separator)
        .into()
}
