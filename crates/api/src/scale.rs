//! The `scale` subresource: the same small object for everything that has replicas.

use crate::selector::Label;
use serde_json::{Value, json};

/// Where a kind keeps what its scale shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Wanted replicas, such as `spec.replicas`.
    pub spec_replicas: String,
    /// Present replicas, such as `status.replicas`.
    pub status_replicas: String,
    /// Selector: an object (`spec.selector`) or, for custom resources, text.
    pub selector: Option<String>,
}

/// Paths of a built-in kind that has the subresource.
pub fn builtin(group: &str, kind: &str) -> Option<Paths> {
    let known = matches!(
        (group, kind),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet") | ("", "ReplicationController")
    );
    known.then(|| Paths {
        spec_replicas: "spec.replicas".into(),
        status_replicas: "status.replicas".into(),
        selector: Some("spec.selector".into()),
    })
}

/// Paths of a custom resource from `subresources.scale` of its version.
pub fn custom(scale: &Value) -> Option<Paths> {
    let path = |name: &str| Some(scale[name].as_str()?.trim_start_matches('.').to_string());
    Some(Paths {
        spec_replicas: path("specReplicasPath")?,
        status_replicas: path("statusReplicasPath")?,
        selector: path("labelSelectorPath"),
    })
}

/// The `Scale` object of `object`.
pub fn read(paths: &Paths, object: &Value) -> Value {
    let mut metadata = json!({});
    for key in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object["metadata"].get(key) {
            metadata[key] = value.clone();
        }
    }
    let mut spec = json!({});
    if let Some(wanted) = get(object, &paths.spec_replicas)
        .and_then(Value::as_i64)
        .filter(|n| *n != 0)
    {
        spec["replicas"] = wanted.into();
    }
    let present = get(object, &paths.status_replicas)
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let mut status = json!({"replicas": present});
    if let Some(selector) = paths.selector.as_deref().and_then(|path| get(object, path)) {
        status["selector"] = selector_text(selector).into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// Writes the wanted replicas of a `Scale` into `object`.
pub fn write(paths: &Paths, scale: &Value, object: &mut Value) {
    let wanted = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut at = object;
    let mut keys = paths.spec_replicas.split('.').peekable();
    while let Some(key) = keys.next() {
        if !at.is_object() {
            *at = json!({});
        }
        if keys.peek().is_none() {
            at[key] = wanted.into();
            return;
        }
        at = &mut at[key];
    }
}

fn get<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(object, |value, key| value.get(key))
}

fn selector_text(selector: &Value) -> String {
    match selector {
        Value::String(text) => text.clone(),
        Value::Object(map)
            if map.contains_key("matchLabels") || map.contains_key("matchExpressions") =>
        {
            Label::from_object(selector)
                .map(|label| label.to_string())
                .unwrap_or_default()
        }
        Value::Object(map) => Label::from_map(map).to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let mut object = json!({"metadata": {"name": "a", "uid": "u", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}}, "status": {"replicas": 2}});
        let paths = builtin("apps", "Deployment").unwrap();
        let mut scale = read(&paths, &object);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=a"}));
        assert_eq!(scale["metadata"], json!({"name": "a", "uid": "u"}));
        scale["spec"]["replicas"] = 5.into();
        write(&paths, &scale, &mut object);
        assert_eq!(object["spec"]["replicas"], 5);
    }
}
