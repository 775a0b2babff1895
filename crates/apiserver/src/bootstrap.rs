//! Objects every cluster starts with: namespaces, roles, priority classes. Made at each start
//! where they are missing; roles that upstream keeps up to date are put right.

use crate::core::Core;
use crate::kinds::Resource;
use crate::record;
use crate::write::refused;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::facts;
use towpath_api::status::Failure;
use towpath_store::{Expect, Op, Snapshot, Txn};

const NAMESPACES: [&str; 5] = [
    "default",
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "towpath-system",
];

pub(crate) async fn run(core: &Arc<Core>) -> Result<(), Failure> {
    let state = core.store.snapshot();
    let mut ops = Vec::new();
    for name in NAMESPACES {
        ops.extend(missing(
            core,
            &state,
            "v1",
            "Namespace",
            "",
            name,
            |object| {
                object["metadata"]["labels"] = json!({"kubernetes.io/metadata.name": name});
                object["spec"] = json!({"finalizers": ["kubernetes"]});
                object["status"] = json!({"phase": "Active"});
            },
        ));
        ops.extend(missing(
            core,
            &state,
            "v1",
            "ServiceAccount",
            name,
            "default",
            |_| {},
        ));
        ops.extend(missing(
            core,
            &state,
            "v1",
            "ConfigMap",
            name,
            "kube-root-ca.crt",
            |object| {
                object["data"] = json!({"ca.crt": core.pki.ca_pem});
            },
        ));
    }
    for (name, value) in [
        ("system-cluster-critical", 2_000_000_000),
        ("system-node-critical", 2_000_001_000),
    ] {
        ops.extend(missing(
            core,
            &state,
            "scheduling.k8s.io/v1",
            "PriorityClass",
            "",
            name,
            |object| {
                object["value"] = value.into();
                object["preemptionPolicy"] = "PreemptLowerPriority".into();
            },
        ));
    }
    for role in facts::bootstrap_roles().into_iter().chain(own_roles()) {
        ops.extend(reconciled(core, &state, role));
    }
    if !ops.is_empty() {
        core.store
            .commit(Txn {
                ops,
                ..Txn::default()
            })
            .await
            .map_err(refused)?;
    }
    Ok(())
}

/// Components of this process have an identity each and take the same way as anyone; what they
/// may do is said here.
fn own_roles() -> Vec<Value> {
    let api = "rbac.authorization.k8s.io/v1";
    vec![json!({
        "apiVersion": api, "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:towpath"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:towpath"}],
    })]
}

fn resource_of(core: &Core, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
    let (group, version) = facts::split_api_version(api_version);
    core.kinds.load().of_kind(group, version, kind).cloned()
}

fn stamp(core: &Core, object: &mut Value) {
    object["metadata"]["uid"] = towpath_stdx::id::uuid(&*core.random).into();
    object["metadata"]["creationTimestamp"] = core.clock.rfc3339().into();
}

fn missing(
    core: &Core,
    state: &Snapshot,
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    fill: impl FnOnce(&mut Value),
) -> Option<Op> {
    let resource = resource_of(core, api_version, kind)?;
    let key = towpath_store::key(namespace, name);
    if state.get(&resource.table, &key).is_some() {
        return None;
    }
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    stamp(core, &mut object);
    fill(&mut object);
    let new = record::encode(&resource, &object);
    Some(Op::Put {
        resource: resource.table.clone(),
        key,
        expect: Expect::any(),
        new,
    })
}

// A default role or binding that is missing, or whose content is not the default's and that is
// not marked to be left alone.
fn reconciled(core: &Core, state: &Snapshot, mut wanted: Value) -> Option<Op> {
    let resource = resource_of(
        core,
        wanted["apiVersion"].as_str()?,
        wanted["kind"].as_str()?,
    )?;
    let namespace = wanted["metadata"]["namespace"].as_str().unwrap_or_default();
    let key = towpath_store::key(namespace, wanted["metadata"]["name"].as_str()?);
    wanted["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] =
        "true".into();
    wanted["metadata"]["labels"]["kubernetes.io/bootstrapping"] = "rbac-defaults".into();
    match state.get(&resource.table, &key) {
        None => stamp(core, &mut wanted),
        Some(rec) => {
            let present = record::decode(rec);
            let same = ["rules", "aggregationRule", "subjects", "roleRef"]
                .iter()
                .all(|part| present[*part] == wanted[*part]);
            let kept = present["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"]
                == "false";
            if same || kept {
                return None;
            }
            let mut updated = present;
            for part in ["rules", "aggregationRule", "subjects", "roleRef"] {
                if !wanted[part].is_null() {
                    updated[part] = wanted[part].clone();
                }
            }
            wanted = updated;
        }
    }
    let new = record::encode(&resource, &wanted);
    Some(Op::Put {
        resource: resource.table.clone(),
        key,
        expect: Expect::any(),
        new,
    })
}
