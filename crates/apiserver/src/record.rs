//! Between objects as values and as stored bytes.

use crate::kinds::Resource;
use serde_json::{Map, Value};
use towpath_api::selector;
use towpath_store::{Meta, NewRec, Rec};

/// Writes an object for the store: its bytes with a hole at `metadata.resourceVersion`, and the
/// facts that selectors need.
pub(crate) fn encode(resource: &Resource, object: &Value) -> NewRec {
    encode_as(&meta(resource, object), object)
}

/// The same where labels and fields that can be selected on have not changed.
pub(crate) fn encode_as(meta: &Meta, object: &Value) -> NewRec {
    let mut body = Vec::with_capacity(512);
    let mut hole = 0;
    body.push(b'{');
    let empty = Map::new();
    let top = object.as_object().unwrap_or(&empty);
    for (index, (key, value)) in top.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_key(&mut body, key);
        match value {
            Value::Object(metadata) if key == "metadata" => {
                hole = write_metadata(&mut body, metadata)
            }
            value => write_value(&mut body, value),
        }
    }
    body.push(b'}');
    // It is kept as long as the object: no slack.
    body.shrink_to_fit();
    NewRec {
        body: body.into(),
        hole: hole as u32,
        meta: meta.clone(),
    }
}

fn write_metadata(body: &mut Vec<u8>, metadata: &Map<String, Value>) -> usize {
    body.push(b'{');
    for (key, value) in metadata {
        if key != "resourceVersion" {
            write_key(body, key);
            write_value(body, value);
            body.push(b',');
        }
    }
    body.extend_from_slice(b"\"resourceVersion\":\"");
    let hole = body.len();
    body.extend_from_slice(b"\"}");
    hole
}

fn write_key(body: &mut Vec<u8>, key: &str) {
    write_value(body, &Value::String(key.to_string()));
    body.push(b':');
}

fn write_value(body: &mut Vec<u8>, value: &Value) {
    // Writing JSON into memory cannot fail.
    let _ = serde_json::to_writer(body, value);
}

/// Reads a stored object, its revision in place.
pub(crate) fn decode(rec: &Rec) -> Value {
    decode_at(rec, rec.revision)
}

/// Reads a stored object at another revision.
pub(crate) fn decode_at(rec: &Rec, revision: u64) -> Value {
    let mut bytes = Vec::new();
    rec.write_at(revision, &mut bytes);
    // We wrote these bytes ourselves and the store checks them at load.
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn meta(resource: &Resource, object: &Value) -> Meta {
    let mut labels: Vec<(Box<str>, Box<str>)> = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
        .collect();
    labels.sort();
    let indexed = match &resource.custom {
        Some(custom) => custom.indexed.iter().map(|path| bare(path)).collect(),
        None => selectable(resource),
    };
    let mut fields: Vec<(Box<str>, Box<str>)> = indexed
        .into_iter()
        .filter_map(|path| {
            let value = match resource.is_custom() {
                true => lookup(object, path)?,
                false => selector::field_text(object, path),
            };
            (!value.is_empty()).then(|| (path.into(), value.into()))
        })
        .collect();
    fields.sort();
    let uid = object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .into();
    Meta {
        uid,
        labels: labels.into(),
        fields: fields.into(),
    }
}

fn bare(path: &str) -> &str {
    path.trim_start_matches('.')
}

/// The text of a field that can be selected on.
pub(crate) fn lookup(object: &Value, path: &str) -> Option<String> {
    let mut value = object;
    for part in path.trim_start_matches('.').split('.') {
        value = value.get(part)?;
    }
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Field paths that can be selected on, beside name and namespace.
pub(crate) fn selectable(resource: &Resource) -> Vec<&str> {
    if let Some(custom) = &resource.custom {
        return custom.selectable.iter().map(|path| bare(path)).collect();
    }
    let group = resource.stored_as.0.as_str();
    selector::selectable(group, &resource.kind).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kinds;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn the_hole_is_where_the_revision_was() {
        let kinds = Kinds::with(&BTreeMap::new(), &[]);
        let pods = kinds.resource("", "v1", "pods").expect("pods");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "\"resourceVersion\":\"", "resourceVersion": "7", "labels": {"b": "2", "a": "1"}},
            "spec": {"nodeName": "n"}
        });
        let new = encode(pods, &pod);
        let (before, after) = new.body.split_at(new.hole as usize);
        let text = [before, b"42", after].concat();
        let back: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(back["metadata"]["resourceVersion"], "42");
        assert_eq!(back["metadata"]["name"], pod["metadata"]["name"]);
        assert_eq!(new.meta.label("a"), Some("1"));
        assert_eq!(new.meta.field("spec.nodeName"), Some("n"));
    }
}
