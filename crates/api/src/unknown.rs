//! Fields that a schema does not know: found for field validation, removed by pruning.

use crate::schema::Schema;
use serde_json::Value;

/// Paths of all fields that `schema` does not know (`spec.template.spec.containers[0].imagee`).
pub fn check(schema: &Schema, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut path = String::new();
    visit(schema, value, &mut path, &mut found);
    found
}

fn visit(schema: &Schema, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(map) => {
            let open = schema.is_open();
            for (key, value) in map {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match schema.field(key) {
                    Some(slot) => visit(slot.schema(), value, path, found),
                    None if open => {}
                    None => found.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            let Some(slot) = &schema.items else { return };
            for (at, item) in items.iter().enumerate() {
                path.push_str(&format!("[{at}]"));
                visit(slot.schema(), item, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Removes all fields that `schema` does not know. Returns whether there were any.
pub fn prune(schema: &Schema, value: &mut Value) -> bool {
    match value {
        Value::Object(map) => {
            let mut changed = false;
            if !schema.is_open() {
                let before = map.len();
                map.retain(|key, _| schema.field(key).is_some());
                changed = map.len() != before;
            }
            for (key, value) in map.iter_mut() {
                if let Some(slot) = schema.field(key) {
                    changed |= prune(slot.schema(), value);
                }
            }
            changed
        }
        Value::Array(items) => match &schema.items {
            Some(slot) => items
                .iter_mut()
                .fold(false, |changed, item| prune(slot.schema(), item) | changed),
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn built_in_kinds() {
        let schema = crate::schema::builtin("apps", "v1", "Deployment").unwrap();
        let mut value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "labels": {"a": "b"}, "nme": 1},
            "spec": {"replica": 1, "template": {"spec": {"containers": [{"name": "a"}, {"imagee": "x"}], "nodeSelector": {"any": "thing"}}}}});
        assert_eq!(
            check(schema, &value),
            [
                "metadata.nme",
                "spec.replica",
                "spec.template.spec.containers[1].imagee"
            ]
        );
        assert!(prune(schema, &mut value));
        assert!(check(schema, &value).is_empty());
        assert_eq!(
            value["spec"]["template"]["spec"]["nodeSelector"],
            json!({"any": "thing"})
        );
    }

    #[test]
    fn custom_resources() {
        let schema = Schema::from_crd(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                "empty": {"type": "object"}}}}})).unwrap();
        let mut value = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "extra": 1,
            "spec": {"free": {"a": 1}, "template": {"metadata": {"bad": 1}, "x": 1}, "empty": {"b": 1}}});
        assert_eq!(
            check(&schema, &value),
            ["extra", "spec.template.metadata.bad", "spec.empty.b"]
        );
        assert!(prune(&schema, &mut value));
        assert_eq!(
            value["spec"],
            json!({"free": {"a": 1}, "template": {"metadata": {}, "x": 1}, "empty": {}})
        );
    }
}
