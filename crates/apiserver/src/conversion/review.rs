//! `ConversionReview` of `apiextensions.k8s.io`: what a conversion webhook is asked, and what of
//! its answer is believed. It may change everything but what an object is: of the metadata only
//! labels and annotations come from the answer.

use serde_json::{Map, Value, json};
use towpath_api::facts;
use towpath_api::validate;

/// The first version of reviews that both sides know.
pub(super) fn version(offered: &[String]) -> Option<&str> {
    let mut offered = offered.iter().map(String::as_str);
    offered.find(|version| matches!(*version, "v1" | "v1beta1"))
}

/// The question.
pub(super) fn question(version: &str, uid: &str, wanted: &str, objects: &[&Value]) -> Value {
    json!({
        "kind": "ConversionReview",
        "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
    })
}

/// The converted objects of an answer, not looked at yet.
pub(super) fn answer(version: &str, uid: &str, bytes: &[u8]) -> Result<Vec<Value>, String> {
    let review: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let response = &review["response"];
    if version == "v1" {
        let (api_version, kind) = (text(&review["apiVersion"]), text(&review["kind"]));
        if api_version != "apiextensions.k8s.io/v1" || kind != "ConversionReview" {
            return Err(format!(
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {api_version}, Kind={kind}"
            ));
        }
    }
    if !response.is_object() {
        return Err("no response provided".into());
    }
    let given = text(&response["uid"]);
    if version == "v1" && given != uid {
        return Err(format!("expected response.uid={uid:?}, got {given:?}"));
    }
    let status = text(&response["result"]["status"]);
    if status != "Success" {
        let message = text(&response["result"]["message"]);
        return Err(match message.is_empty() {
            true => format!("response.result.status was '{status}', not 'Success'"),
            false => message,
        });
    }
    match &response["convertedObjects"] {
        Value::Array(objects) => Ok(objects.clone()),
        _ => Ok(Vec::new()),
    }
}

/// Whether the object has the version that was asked for and is still one of its kind.
pub(super) fn typed(original: &Value, converted: &Value, wanted: &str) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let given = text(&converted["apiVersion"]);
    if given != wanted {
        return Err(format!(
            "invalid groupVersion (expected {wanted}, received {given})"
        ));
    }
    let (expected, given) = (text(&original["kind"]), text(&converted["kind"]));
    if given != expected {
        return Err(format!(
            "invalid kind (expected {expected}, received {given})"
        ));
    }
    Ok(())
}

/// Whether it is still the same object.
pub(super) fn same(original: &Value, converted: &Value) -> Result<(), String> {
    for (key, word) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let text = |object: &Value| {
            let value = object["metadata"][key].as_str();
            value.unwrap_or_default().to_string()
        };
        let (expected, given) = (text(original), text(converted));
        if expected != given {
            return Err(format!("must have the same {word}: {expected} != {given}"));
        }
    }
    Ok(())
}

/// Puts back all metadata but labels and annotations.
pub(super) fn restore(original: &Value, converted: &mut Value) -> Result<(), String> {
    let given = match converted.get_mut("metadata") {
        None => return Err("missing metadata in converted object".into()),
        Some(Value::Object(given)) => std::mem::take(given),
        Some(other) => {
            return Err(format!(
                "invalid metadata of type {} in converted object",
                go_type(other)
            ));
        }
    };
    let mut metadata = original["metadata"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for part in ["labels", "annotations"] {
        match given.get(part) {
            None | Some(Value::Null) => {
                metadata.shift_remove(part);
            }
            Some(Value::Object(map)) => {
                strings(part, map)?;
                if original["metadata"][part].as_object() != Some(map) {
                    well_formed(part, map)?;
                }
                metadata.insert(part.into(), map.clone().into());
            }
            Some(other) => {
                return Err(format!(
                    "invalid metadata.{part} of type {} in converted object",
                    go_type(other)
                ));
            }
        }
    }
    converted["metadata"] = metadata.into();
    Ok(())
}

fn strings(part: &str, map: &Map<String, Value>) -> Result<(), String> {
    match map.iter().find(|(_, value)| !value.is_string()) {
        None => Ok(()),
        Some((key, value)) => Err(format!(
            "metadata.{part}[{key}] must be a string, but is {} in converted object",
            go_type(value)
        )),
    }
}

fn well_formed(part: &str, map: &Map<String, Value>) -> Result<(), String> {
    let object = json!({"metadata": {part: map}});
    let errors = validate::metadata(&object, Some(&object), false, |_| Vec::new());
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match told.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

// Upstream's words for JSON values.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `group/version, Kind=kind` of an object.
pub(super) fn kind(object: &Value) -> String {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (group, version) = facts::split_api_version(text("apiVersion"));
    format!("{group}/{version}, Kind={}", text("kind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_and_annotations_are_taken() {
        let original =
            json!({"metadata": {"name": "a", "uid": "1", "labels": {"a": "b"}, "generation": 1}});
        let mut converted =
            json!({"metadata": {"name": "x", "annotations": {"c": "d"}, "generation": 9}});
        restore(&original, &mut converted).expect("metadata");
        assert_eq!(
            converted["metadata"],
            json!({"name": "a", "uid": "1", "generation": 1, "annotations": {"c": "d"}})
        );
        for (wrong, says) in [
            (json!({}), "missing metadata in converted object"),
            (
                json!({"metadata": 1}),
                "invalid metadata of type int64 in converted object",
            ),
            (
                json!({"metadata": {"labels": []}}),
                "invalid metadata.labels of type []interface {} in converted object",
            ),
            (
                json!({"metadata": {"labels": {"a": 1}}}),
                "metadata.labels[a] must be a string, but is int64 in converted object",
            ),
        ] {
            let mut wrong = wrong;
            assert_eq!(restore(&original, &mut wrong), Err(says.to_string()));
        }
    }

    #[test]
    fn answers_are_checked() {
        let of = |value: Value| answer("v1", "u", value.to_string().as_bytes());
        let whole = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        assert_eq!(of(whole(json!(null))), Err("no response provided".into()));
        assert_eq!(
            of(whole(json!({"uid": "x"}))),
            Err("expected response.uid=\"u\", got \"x\"".into())
        );
        assert_eq!(
            of(whole(
                json!({"uid": "u", "result": {"status": "Failure", "message": "no"}})
            )),
            Err("no".into())
        );
        assert_eq!(
            of(whole(
                json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{}]})
            )),
            Ok(vec![json!({})])
        );
        assert!(answer("v1", "u", b"<html>").is_err());
    }
}
