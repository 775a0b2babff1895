//! PodTopologyLabels: a pod carries the zone and region of its node, so that programs in it can
//! learn them without reading nodes.

use crate::admission::Change;
use crate::record;
use serde_json::{Value, json};

const LABELS: [&str; 2] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// For pods that are made on a node.
pub(super) fn mutate(change: &Change<'_>, pod: &mut Value) {
    if change.creates("", "pods") {
        let node = pod["spec"]["nodeName"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        label(change, &node, pod);
    }
}

/// For bindings, whose labels become the pod's.
pub(crate) fn binding(change: &Change<'_>, binding: &mut Value) {
    let target = &binding["target"];
    if change.is_part("", "pods", "binding")
        && matches!(target["kind"].as_str(), None | Some("" | "Node"))
    {
        let node = target["name"].as_str().unwrap_or_default().to_string();
        label(change, &node, binding);
    }
}

fn label(change: &Change<'_>, node: &str, object: &mut Value) {
    let Some(node) = change.state.get("nodes", &towpath_store::key("", node)) else {
        return;
    };
    let node = record::decode(node);
    for key in LABELS {
        let Some(value) = node["metadata"]["labels"][key].as_str() else {
            continue;
        };
        if !object["metadata"]["labels"].is_object() {
            object["metadata"]["labels"] = json!({});
        }
        object["metadata"]["labels"][key] = value.into();
    }
}
