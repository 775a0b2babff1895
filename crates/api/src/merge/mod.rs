//! The four kinds of patch: JSON Patch, merge patch, strategic merge patch and, through
//! [`crate::apply`], server-side apply.

mod strategic;

pub use crate::apply::apply;
pub use strategic::strategic;

use serde_json::{Map, Value};

/// Operations one JSON Patch may have, as upstream.
const MAX_OPERATIONS: usize = 10_000;

/// Why a patch cannot be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The patch is not in the form of its kind: 400.
    #[error("{0}")]
    Malformed(String),
    /// More operations than allowed: 413.
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooMany(usize),
    /// The patch does not fit the object: 422, with upstream's words; the operation and its reason
    /// are for the log.
    #[error("the server rejected our request due to an error in our request")]
    Unfit(String),
    /// A strategic merge patch contradicts itself or the lists it merges: upstream's bare 500.
    #[error("{0}")]
    Merge(String),
}

impl Error {
    /// The answer to the client. Upstream names neither kind nor object in these.
    pub fn failure(&self, _group: &str, _kind: &str, _name: &str) -> crate::status::Failure {
        let text = self.to_string();
        match self {
            Error::Malformed(_) => crate::status::bad_request(text),
            Error::TooMany(_) => crate::status::too_many_operations(&text),
            Error::Unfit(_) => crate::status::unprocessable(text),
            Error::Merge(_) => crate::status::untold(text),
        }
    }
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// RFC 6902. All or nothing.
pub fn json_patch(object: &Value, patch: &Value) -> Result<Value, Error> {
    if !patch.is_array() {
        return Err(Error::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
            go_kind(patch)
        )));
    }
    // What is a list but not of operations is told only when it is tried.
    let operations: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|error| Error::Unfit(error.to_string()))?;
    if operations.0.len() > MAX_OPERATIONS {
        let count = operations.0.len();
        return Err(Error::TooMany(count));
    }
    let operations: Vec<_> = operations.0.into_iter().map(lenient).collect();
    let mut result = object.clone();
    json_patch::patch(&mut result, &operations).map_err(|error| Error::Unfit(error.to_string()))?;
    Ok(result)
}

/// Upstream's library replaces a member of an object also where there is none yet.
fn lenient(operation: json_patch::PatchOperation) -> json_patch::PatchOperation {
    use json_patch::{AddOperation, PatchOperation};
    match operation {
        PatchOperation::Replace(replace) if replace.path.count() == 1 => {
            PatchOperation::Add(AddOperation {
                path: replace.path,
                value: replace.value,
            })
        }
        other => other,
    }
}

/// RFC 7386.
pub fn merge_patch(object: &Value, patch: &Value) -> Result<Value, Error> {
    if !patch.is_object() {
        return Err(Error::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go_kind(patch)
        )));
    }
    let mut result = object.clone();
    merge_into(&mut result, patch);
    Ok(result)
}

fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.shift_remove(key);
        } else {
            merge_into(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_patches() {
        let object = json!({"a": {"b": [1, 2]}});
        let patch = json!([{"op": "add", "path": "/a/b/-", "value": 3}, {"op": "test", "path": "/a/b/0", "value": 1}]);
        assert_eq!(
            json_patch(&object, &patch).unwrap(),
            json!({"a": {"b": [1, 2, 3]}})
        );
        assert!(matches!(
            json_patch(&object, &json!([{"op": "remove", "path": "/x"}])),
            Err(Error::Unfit(_))
        ));
        assert!(matches!(
            json_patch(&object, &json!({"op": "remove"})),
            Err(Error::Malformed(_))
        ));
    }

    #[test]
    fn merge_patches() {
        let object = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        let patch = json!({"a": {"b": null, "e": {"f": null, "g": 1}}, "d": [2]});
        assert_eq!(
            merge_patch(&object, &patch).unwrap(),
            json!({"a": {"c": 2, "e": {"g": 1}}, "d": [2]})
        );
        assert!(merge_patch(&object, &json!([])).is_err());
    }
}
