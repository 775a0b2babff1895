//! What a node may do: everything that each node may, and of secrets, config maps, claims and
//! volumes only what pods refer to that run on it. Found in the store's present state, so that
//! it holds from the moment a pod is bound.

use crate::rbac::{Ask, Rule};
use crate::record;
use serde_json::Value;
use std::sync::OnceLock;
use towpath_api::facts;
use towpath_kit::traits::Principal;
use towpath_store::Snapshot;

const LEASES: &str = "kube-node-lease";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What an object of a pod's is called in [`refers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Secret,
    ConfigMap,
    Claim,
    Account,
    ResourceClaim,
}

/// Nothing where a principal is no node; else whether it may, or why not. `fields` is the field
/// selector of the request.
pub(crate) fn decide(
    state: &Snapshot,
    who: &Principal,
    ask: &Ask<'_>,
    fields: &str,
) -> Option<Result<(), String>> {
    if !who.groups.iter().any(|group| group == "system:nodes") {
        return None;
    }
    let node = who.name.strip_prefix("system:node:")?;
    if node.is_empty() {
        return Some(Err(format!("unknown node for user {:?}", who.name)));
    }
    Some(decide_for(state, node, ask, fields))
}

fn decide_for(state: &Snapshot, node: &str, ask: &Ask<'_>, fields: &str) -> Result<(), String> {
    let no = |why: &str| Err(why.to_string());
    let reads = matches!(ask.verb, "get" | "list" | "watch");
    let part = !ask.subresource.is_empty();
    let related = |kind: Kind| match refers(state, node, ask.namespace, kind, ask.name) {
        true => Ok(()),
        false => Err(unrelated(node)),
    };
    match (ask.group, ask.resource) {
        ("", "secrets" | "configmaps") => match () {
            () if !reads => no("can only read resources of this type"),
            () if part => no("cannot read subresource"),
            () if ask.namespace.is_empty() => no("can only read namespaced object of this type"),
            () if ask.name.is_empty() => no("No Object name found"),
            () if ask.resource == "secrets" && volume_secret(state, node, ask) => Ok(()),
            () if ask.resource == "secrets" => related(Kind::Secret),
            () => related(Kind::ConfigMap),
        },
        ("", "persistentvolumeclaims") if ask.subresource == "status" => match ask.verb {
            "update" | "patch" => related(Kind::Claim),
            _ => no("can only get/update/patch this type"),
        },
        ("", "persistentvolumeclaims") => gets(ask).and_then(|()| related(Kind::Claim)),
        ("", "persistentvolumes") => gets(ask).and_then(|()| volume(state, node, ask.name)),
        ("storage.k8s.io", "volumeattachments") => {
            gets(ask)?;
            let key = towpath_store::key("", ask.name);
            let found = state.get("storage.k8s.io/volumeattachments", &key);
            let own = found.is_some_and(|rec| record::decode(rec)["spec"]["nodeName"] == node);
            own.then_some(()).ok_or_else(|| unrelated(node))
        }
        ("", "serviceaccounts") => match (ask.verb, ask.subresource) {
            ("get", "") | ("create", "token") if !ask.name.is_empty() => related(Kind::Account),
            ("create", "token") | (_, "") => {
                no("can only create tokens for individual service accounts")
            }
            _ => no("can only create token subresource of serviceaccount"),
        },
        ("coordination.k8s.io", "leases") => {
            let verbs = ["get", "create", "update", "patch", "delete"];
            match () {
                () if !verbs.contains(&ask.verb) => {
                    no("can only get, create, update, patch, or delete a node lease")
                }
                () if ask.namespace != LEASES => Err(format!(
                    "can only access leases in the {LEASES:?} system namespace"
                )),
                () if ask.verb != "create" && ask.name != node => {
                    no("can only access node lease with the same name as the requesting node")
                }
                () => Ok(()),
            }
        }
        ("storage.k8s.io", "csinodes") => {
            let verbs = ["get", "create", "update", "patch", "delete"];
            match () {
                () if !verbs.contains(&ask.verb) => {
                    no("can only get, create, update, patch, or delete a CSINode")
                }
                () if part => no("cannot authorize CSINode subresources"),
                () if ask.verb != "create" && ask.name != node => {
                    no("can only access CSINode with the same name as the requesting node")
                }
                () => Ok(()),
            }
        }
        ("resource.k8s.io", "resourceclaims") => {
            gets(ask).and_then(|()| related(Kind::ResourceClaim))
        }
        ("resource.k8s.io", "resourceslices") if part => {
            no("cannot authorize ResourceSlice subresources")
        }
        ("resource.k8s.io", "resourceslices") => slices(state, node, ask, fields),
        ("", "nodes") => own_node(node, ask),
        ("", "pods") => pods(state, node, ask, fields),
        _ if rules().iter().any(|rule| rule.allows(ask)) => Ok(()),
        _ => no(""),
    }
}

fn unrelated(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

fn gets(ask: &Ask<'_>) -> Result<(), String> {
    let why = match () {
        () if ask.verb != "get" => "can only get individual resources of this type",
        () if !ask.subresource.is_empty() => "cannot get subresource",
        () if ask.name.is_empty() => "No Object name found",
        () => return Ok(()),
    };
    Err(why.into())
}

fn own_node(node: &str, ask: &Ask<'_>) -> Result<(), String> {
    match (ask.subresource, ask.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if ask.name == node => Ok(()),
        ("", "get" | "list" | "watch") => Err(match ask.name {
            "" => format!("node '{node}' cannot read all nodes, only its own Node object"),
            name => format!("node '{node}' cannot read '{name}', only its own Node object"),
        }),
        _ => Err(String::new()),
    }
}

fn pods(state: &Snapshot, node: &str, ask: &Ask<'_>, fields: &str) -> Result<(), String> {
    let runs_here = || {
        let rec = state.get("pods", &towpath_store::key(ask.namespace, ask.name));
        let here = rec.is_some_and(|rec| rec.meta.field("spec.nodeName") == Some(node));
        here.then_some(()).ok_or_else(|| unrelated(node))
    };
    match (ask.subresource, ask.verb) {
        ("", "get") => runs_here(),
        ("", "list" | "watch") => {
            let wanted = [
                format!("spec.nodeName={node}"),
                format!("spec.nodeName=={node}"),
            ];
            let scoped = fields
                .split(',')
                .any(|term| wanted.iter().any(|w| w == term));
            match (scoped, ask.name.is_empty()) {
                (true, _) => Ok(()),
                (false, false) => runs_here(),
                (false, true) => {
                    Err("can only list/watch pods with spec.nodeName field selector".into())
                }
            }
        }
        // Which pods, NodeRestriction says.
        ("", "create" | "delete") | ("status", "update" | "patch") => Ok(()),
        ("eviction", "create") => Ok(()),
        _ => Err(String::new()),
    }
}

// Whether a field selector asks for what is on the node only.
fn is_scoped(node: &str, fields: &str) -> bool {
    let wanted = [
        format!("spec.nodeName={node}"),
        format!("spec.nodeName=={node}"),
    ];
    fields
        .split(',')
        .any(|term| wanted.iter().any(|wanted| wanted == term))
}

fn slices(state: &Snapshot, node: &str, ask: &Ask<'_>, fields: &str) -> Result<(), String> {
    match ask.verb {
        // Of which node, NodeRestriction says.
        "create" => Ok(()),
        "get" | "update" | "patch" | "delete" => {
            let key = towpath_store::key("", ask.name);
            let rec = state.get("resource.k8s.io/resourceslices", &key);
            let own = rec.is_some_and(|rec| record::decode(rec)["spec"]["nodeName"] == node);
            own.then_some(()).ok_or_else(|| unrelated(node))
        }
        "list" | "watch" | "deletecollection" if is_scoped(node, fields) => Ok(()),
        "list" | "watch" | "deletecollection" => Err(
            "can only list/watch/deletecollection resourceslices with nodeName field selector"
                .into(),
        ),
        _ => Err("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection".into()),
    }
}

// A volume that is bound to a claim which a pod here uses.
fn volume(state: &Snapshot, node: &str, name: &str) -> Result<(), String> {
    let rec = state.get("persistentvolumes", &towpath_store::key("", name));
    let claim = rec.map(|rec| record::decode(rec)["spec"]["claimRef"].clone());
    let used = claim.is_some_and(|claim| {
        let text = |key: &str| claim[key].as_str().unwrap_or_default().to_string();
        refers(state, node, &text("namespace"), Kind::Claim, &text("name"))
    });
    used.then_some(()).ok_or_else(|| unrelated(node))
}

// Whether a volume that a pod here uses needs the secret.
fn volume_secret(state: &Snapshot, node: &str, ask: &Ask<'_>) -> bool {
    let table = state.table("persistentvolumes");
    table.values().any(|rec| {
        let volume = record::decode(rec);
        let claim = &volume["spec"]["claimRef"];
        let namespace = claim["namespace"].as_str().unwrap_or_default();
        let name = claim["name"].as_str().unwrap_or_default();
        secret_refs(&volume["spec"], &|reference| {
            let home = reference["namespace"].as_str().unwrap_or(namespace);
            home == ask.namespace && reference["name"] == ask.name
        }) && refers(state, node, namespace, Kind::Claim, name)
    })
}

/// Whether a pod on the node refers to the object.
fn refers(state: &Snapshot, node: &str, namespace: &str, kind: Kind, name: &str) -> bool {
    if namespace.is_empty() || name.is_empty() {
        return false;
    }
    let mut pods = state.range("pods", namespace, None);
    pods.any(|rec| {
        rec.meta.field("spec.nodeName") == Some(node) && mentions(&record::decode(rec), kind, name)
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn mentions(pod: &Value, kind: Kind, name: &str) -> bool {
    // What a node itself has made gives it no rights.
    if !pod["metadata"]["annotations"][MIRROR].is_null() {
        return false;
    }
    let spec = &pod["spec"];
    let volumes = || list(&spec["volumes"]);
    let projected = |key: &'static str| {
        volumes()
            .flat_map(|volume| list(&volume["projected"]["sources"]))
            .any(|source| source[key]["name"] == name)
    };
    let containers = || {
        ["containers", "initContainers", "ephemeralContainers"]
            .into_iter()
            .flat_map(|key| list(&spec[key]))
    };
    let environment = |one: &'static str, all: &'static str| {
        containers().any(|container| {
            list(&container["env"]).any(|env| env["valueFrom"][one]["name"] == name)
                || list(&container["envFrom"]).any(|from| from[all]["name"] == name)
        })
    };
    match kind {
        Kind::ResourceClaim => {
            list(&spec["resourceClaims"]).any(|claim| claim["resourceClaimName"] == name)
                || list(&pod["status"]["resourceClaimStatuses"])
                    .any(|claim| claim["resourceClaimName"] == name)
        }
        Kind::Account => spec["serviceAccountName"] == name,
        Kind::Claim => volumes().any(|volume| {
            let made = format!(
                "{}-{}",
                pod["metadata"]["name"].as_str().unwrap_or_default(),
                volume["name"].as_str().unwrap_or_default()
            );
            volume["persistentVolumeClaim"]["claimName"] == name
                || volume["ephemeral"].is_object() && made == name
        }),
        Kind::ConfigMap => {
            volumes().any(|volume| volume["configMap"]["name"] == name)
                || projected("configMap")
                || environment("configMapKeyRef", "configMapRef")
        }
        Kind::Secret => {
            list(&spec["imagePullSecrets"]).any(|secret| secret["name"] == name)
                || volumes().any(|volume| {
                    volume["secret"]["secretName"] == name
                        || secret_refs(volume, &|reference| reference["name"] == name)
                })
                || projected("secret")
                || environment("secretKeyRef", "secretRef")
        }
    }
}

// Drivers name their secrets in references: `secretRef`, `nodePublishSecretRef` and the like.
fn secret_refs(value: &Value, is: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| {
            let reference = key == "secretRef" || key.ends_with("SecretRef");
            reference && is(value) || secret_refs(value, is)
        }),
        _ => false,
    }
}

/// What every node may do beside that: the rules of upstream's role for nodes.
fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let roles = facts::bootstrap_roles();
        let node = roles.into_iter().find(|role| {
            role["kind"] == "ClusterRole" && role["metadata"]["name"] == "system:node"
        });
        let role = node.unwrap_or_default();
        list(&role["rules"]).map(Rule::read).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_mention_what_they_use() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "serviceAccountName": "account",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "key"}}}], "envFrom": [{"configMapRef": {"name": "all"}}]}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "first"}}]}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "mounted"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "root"}}, {"secret": {"name": "part"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "d", "ephemeral": {}},
                {"name": "e", "csi": {"nodePublishSecretRef": {"name": "publish"}}},
            ],
        }});
        for name in ["pull", "key", "first", "mounted", "part", "publish"] {
            assert!(mentions(&pod, Kind::Secret, name), "{name}");
            assert!(!mentions(&pod, Kind::ConfigMap, name), "{name}");
        }
        assert!(mentions(&pod, Kind::ConfigMap, "all") && mentions(&pod, Kind::ConfigMap, "root"));
        assert!(mentions(&pod, Kind::Claim, "claim") && mentions(&pod, Kind::Claim, "p-d"));
        assert!(mentions(&pod, Kind::Account, "account"));
        let mut mirror = pod.clone();
        mirror["metadata"]["annotations"] = json!({MIRROR: "x"});
        assert!(!mentions(&mirror, Kind::Secret, "pull"));
    }

    #[test]
    fn there_are_rules_for_nodes() {
        assert!(rules().len() > 10);
    }
}
