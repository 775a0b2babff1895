//! NodeRestriction: who has a node's certificate (`system:node:<name>` in `system:nodes`) acts on
//! that node, on its lease, and on pods and tokens of pods that run there.

use crate::admission::{Change, Operation};
use crate::record;
use serde_json::Value;
use towpath_api::status::Failure;

fn node<'a>(change: &Change<'a>) -> Option<&'a str> {
    let who = &change.call.principal;
    if !who.groups.iter().any(|group| group == "system:nodes") {
        return None;
    }
    who.name.strip_prefix("system:node:")
}

pub(super) fn validate(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let Some(node) = node(change) else {
        return Ok(());
    };
    let resource = &change.target.resource;
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let refuse = |why: String| Err(change.forbidden(name, &why));
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "nodes") if name != node => refuse(format!(
            "node {node:?} is not allowed to modify node {name:?}"
        )),
        ("", "nodes") => labels(change, node, new),
        ("coordination.k8s.io", "leases") if change.target.namespace != "kube-node-lease" => {
            refuse(format!(
                "can only access leases in the kube-node-lease namespace as node {node:?}"
            ))
        }
        ("coordination.k8s.io", "leases") if name != node => refuse(format!(
            "can only access node lease with the same name as the requesting node {node:?}"
        )),
        ("", "pods") => {
            let on = new["spec"]["nodeName"].as_str().unwrap_or_default();
            if on != node {
                return refuse(format!(
                    "node {node:?} can only change pods with spec.nodeName set to itself"
                ));
            }
            let mirror = &new["metadata"]["annotations"]["kubernetes.io/config.mirror"];
            match change.operation == Operation::Create && mirror.is_null() {
                true => refuse(format!(
                    "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
                )),
                false => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

// Labels by which others choose nodes are not a node's own to set.
fn labels(change: &Change<'_>, node: &str, new: &Value) -> Result<(), Failure> {
    let none = Value::Null;
    let old = change.old.unwrap_or(&none);
    let refuse = |why: String| Err(change.forbidden(node, &why));
    if change.old.is_some() && old["spec"]["taints"] != new["spec"]["taints"] {
        return refuse(format!("node {node:?} is not allowed to modify taints"));
    }
    let keys = [old, new].into_iter().flat_map(|object| {
        object["metadata"]["labels"]
            .as_object()
            .into_iter()
            .flatten()
    });
    for (key, _) in keys {
        let differs = old["metadata"]["labels"][key] != new["metadata"]["labels"][key];
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        let restricted = domain == "node-restriction.kubernetes.io"
            || domain.ends_with(".node-restriction.kubernetes.io");
        if differs && restricted {
            return refuse(format!("is not allowed to modify labels: {key}"));
        }
    }
    Ok(())
}

pub(super) fn delete(change: &Change<'_>) -> Result<(), Failure> {
    let (Some(node), Some(old)) = (node(change), change.old) else {
        return Ok(());
    };
    let resource = &change.target.resource;
    let name = change.target.name.as_str();
    if resource.is("", "nodes") {
        let why = format!("node {node:?} is not allowed to delete node {name:?}");
        return Err(change.forbidden(name, &why));
    }
    if resource.is("", "pods") && old["spec"]["nodeName"] != node {
        let why = format!("node {node:?} can only delete pods with spec.nodeName set to itself");
        return Err(change.forbidden(name, &why));
    }
    Ok(())
}

/// Whether the node may ask for a token bound to this pod.
pub(crate) fn token(
    call: &crate::core::Call,
    state: &towpath_store::Snapshot,
    namespace: &str,
    pod: Option<&str>,
) -> Result<(), String> {
    let who = &call.principal;
    let nodes = who.groups.iter().any(|group| group == "system:nodes");
    let Some(node) = who.name.strip_prefix("system:node:").filter(|_| nodes) else {
        return Ok(());
    };
    let Some(pod) = pod else {
        return Err(format!("node requested token not bound to a pod: {node:?}"));
    };
    let rec = state.get("pods", &towpath_store::key(namespace, pod));
    let there = rec.is_some_and(|rec| record::decode(rec)["spec"]["nodeName"] == node);
    match there {
        true => Ok(()),
        false => Err("node requested token bound to a pod scheduled on a different node".into()),
    }
}
