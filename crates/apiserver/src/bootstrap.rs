//! Objects every cluster starts with: namespaces, roles, priority classes. Made at each start
//! where they are missing; roles that upstream keeps up to date are put right.

use crate::aggregate;
use crate::aggregation;
use crate::components;
use crate::core::Core;
use crate::fairness;
use crate::kinds::Resource;
use crate::rbac::{Rule, uncovered};
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
    ops.extend(missing(
        core,
        &state,
        "networking.k8s.io/v1",
        "ServiceCIDR",
        "",
        "kubernetes",
        |object| {
            let (network, bits) = core.settings.service_cidr;
            object["spec"] = json!({"cidrs": [format!("{network}/{bits}")]});
            object["status"] = json!({"conditions": [{
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": core.clock.rfc3339(),
                "reason": "",
                "message": "Kubernetes default Service CIDR is ready",
            }]});
        },
    ));
    ops.extend(front_proxy(core, &state));
    for role in facts::bootstrap_roles() {
        ops.extend(reconciled(core, &state, role, Extra::Kept));
    }
    for role in components::objects() {
        ops.extend(reconciled(core, &state, role, Extra::Withdrawn));
    }
    let bindings = "rbac.authorization.k8s.io/clusterrolebindings";
    for name in components::WITHDRAWN {
        let key = towpath_store::key("", name);
        if state.get(bindings, &key).is_some() {
            ops.push(Op::Delete {
                resource: bindings.into(),
                key,
                expect: Expect::any(),
                last: None,
            });
        }
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
    aggregation::begin(core).await?;
    fairness::begin(core).await?;
    aggregate::settle(core).await
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

/// What becomes of rights that someone has added to a default role or binding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extra {
    /// As upstream: only what is missing is added.
    Kept,
    /// Our own components have what the table says.
    Withdrawn,
}

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

// What aggregated servers need to know who calls them, as it is now.
fn front_proxy(core: &Core, state: &Snapshot) -> Option<Op> {
    const NAME: &str = "extension-apiserver-authentication";
    let data = aggregation::configuration(&core.pki);
    let key = towpath_store::key("kube-system", NAME);
    let Some(rec) = state.get("configmaps", &key) else {
        let fill = |object: &mut Value| object["data"] = data;
        return missing(core, state, "v1", "ConfigMap", "kube-system", NAME, fill);
    };
    let mut object = record::decode(rec);
    if object["data"] == data {
        return None;
    }
    object["data"] = data;
    Some(Op::Put {
        resource: "configmaps".into(),
        key,
        expect: Expect::any(),
        new: record::encode_as(&rec.meta, &object),
    })
}

// A default role or binding that is missing, or lacks something of the default's, and that is
// not marked to be left alone.
fn reconciled(core: &Core, state: &Snapshot, mut wanted: Value, extra: Extra) -> Option<Op> {
    let resource = resource_of(
        core,
        wanted["apiVersion"].as_str()?,
        wanted["kind"].as_str()?,
    )?;
    let namespace = wanted["metadata"]["namespace"].as_str().unwrap_or_default();
    let key = towpath_store::key(namespace, wanted["metadata"]["name"].as_str()?);
    wanted["metadata"]["annotations"][AUTOUPDATE] = "true".into();
    wanted["metadata"]["labels"]["kubernetes.io/bootstrapping"] = "rbac-defaults".into();
    match state.get(&resource.table, &key) {
        None => stamp(core, &mut wanted),
        Some(rec) => {
            let present = record::decode(rec);
            if present["metadata"]["annotations"][AUTOUPDATE] == "false" {
                return None;
            }
            let mut updated = present.clone();
            for part in ["labels", "annotations"] {
                for (key, value) in wanted["metadata"][part].as_object().into_iter().flatten() {
                    updated["metadata"][part][key] = value.clone();
                }
            }
            merge(&mut updated, &wanted, extra);
            if updated == present {
                return None;
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

fn merge(present: &mut Value, wanted: &Value, extra: Extra) {
    for part in ["aggregationRule", "roleRef"] {
        if !wanted[part].is_null() {
            present[part] = wanted[part].clone();
        }
    }
    // The rules of an aggregated role are its controller's.
    let parts: &[&str] = match wanted["aggregationRule"].is_object() {
        true => &[],
        false => &["rules", "subjects"],
    };
    for part in parts.iter().filter(|part| wanted[**part].is_array()) {
        let missing: Vec<Value> = match *part {
            "rules" => {
                let held = [Arc::new(rules(present))];
                uncovered(&held, &rules(wanted))
                    .iter()
                    .map(Rule::to_value)
                    .collect()
            }
            _ => {
                let held = present[*part].as_array().cloned().unwrap_or_default();
                let subjects = wanted[*part].as_array().into_iter().flatten();
                subjects.filter(|s| !held.contains(s)).cloned().collect()
            }
        };
        match extra {
            Extra::Withdrawn => present[*part] = wanted[*part].clone(),
            Extra::Kept if missing.is_empty() => {}
            Extra::Kept => {
                let mut all = present[*part].as_array().cloned().unwrap_or_default();
                all.extend(missing);
                present[*part] = all.into();
            }
        }
    }
}

fn rules(role: &Value) -> Vec<Rule> {
    let rules = role["rules"].as_array().into_iter().flatten();
    rules.map(Rule::read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_stays_and_what_is_missing_comes_back() {
        let rule = |verb: &str| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]});
        let wanted = json!({"rules": [rule("get"), rule("list")], "subjects": [{"name": "a"}]});
        let mut role = json!({"rules": [rule("get"), rule("delete")], "subjects": [{"name": "b"}]});
        merge(&mut role, &wanted, Extra::Kept);
        assert_eq!(
            role["rules"],
            json!([rule("get"), rule("delete"), rule("list")])
        );
        assert_eq!(role["subjects"], json!([{"name": "b"}, {"name": "a"}]));
        merge(&mut role, &wanted, Extra::Withdrawn);
        assert_eq!(role, wanted);
        let made_of = json!({"aggregationRule": {"clusterRoleSelectors": []}, "rules": []});
        let mut role = json!({"rules": [rule("get")]});
        merge(&mut role, &made_of, Extra::Kept);
        assert_eq!(role["rules"], json!([rule("get")]));
    }
}
