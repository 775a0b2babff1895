//! DefaultTolerationSeconds: how long a pod stays on a node that is lost.

use crate::admission::Change;
use serde_json::{Value, json};

pub(super) fn mutate(change: &Change<'_>, pod: &mut Value) {
    if !change.creates("", "pods") && !change.updates("", "pods") {
        return;
    }
    let mut list = pod["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let known = list.iter().any(|t| {
            (t["key"] == key || t["key"].as_str().unwrap_or_default().is_empty())
                && (t["effect"] == "NoExecute"
                    || t["effect"].as_str().unwrap_or_default().is_empty())
        });
        if !known {
            list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    pod["spec"]["tolerations"] = list.into();
}
