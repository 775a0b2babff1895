//! The way from `kubectl apply` to `kubectl apply --server-side`: what client-side apply wrote
//! into its annotation is kubectl's own, though another manager is on record for it, and the
//! annotation follows what kubectl applies from then on. Other managers take no part in it.

use super::{Set, Writer, compare, paths};
use crate::schema::Schema;
use serde_json::Value;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const KUBECTL: &str = "kubectl";
/// Of all annotations together, as validation has it.
const ANNOTATIONS_BYTES: usize = 256 << 10;

fn annotation(object: &Value) -> Option<&str> {
    let text = object["metadata"]["annotations"][ANNOTATION].as_str();
    text.filter(|text| !text.is_empty())
}

/// What a writer may change although others own it: fields that still are as kubectl applied
/// them on the client's side.
pub(super) fn allowed(schema: &Schema, live: Option<&Value>, writer: Writer<'_>) -> Set {
    let text = live.and_then(annotation);
    let (Some(live), Some(text), KUBECTL) = (live, text, writer.manager) else {
        return Set::default();
    };
    let Ok(last) = serde_json::from_str::<Value>(text) else {
        return Set::default();
    };
    if last["apiVersion"].as_str() != Some(writer.api_version) {
        return Set::default();
    }
    let changed = compare(schema, &last, live);
    paths(schema, &last)
        .difference(&changed.modified)
        .difference(&changed.added)
        .difference(&changed.removed)
}

/// Writes what was applied into the annotation of an object that has one.
pub(super) fn follow(object: &mut Value, config: &Value, writer: Writer<'_>) {
    if writer.manager != KUBECTL || annotation(object).is_none() {
        return;
    }
    let mut applied = config.clone();
    if let Some(metadata) = applied["metadata"].as_object_mut()
        && let Some(annotations) = metadata.get_mut("annotations")
        && let Some(kept) = annotations.as_object_mut()
    {
        kept.remove(ANNOTATION);
        if kept.is_empty() {
            metadata.remove("annotations");
        }
    }
    let Some(annotations) = object["metadata"]["annotations"].as_object_mut() else {
        return;
    };
    let text = sorted(&applied).to_string() + "\n";
    annotations.insert(ANNOTATION.into(), text.into());
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > ANNOTATIONS_BYTES {
        annotations.remove(ANNOTATION);
    }
}

// Upstream writes keys in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.into_iter();
            entries.map(|(k, v)| (k.clone(), sorted(v))).collect()
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
