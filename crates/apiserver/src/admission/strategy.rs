//! What the server itself fills in and allocates when admission has had its say: first
//! statuses, addresses, conditions of definitions, and the side writes that belong in the
//! object's transaction.

use super::{Change, Effects, Operation};
use crate::alloc;
use crate::crd;
use crate::guard;
use crate::record;
use serde_json::{Value, json};
use towpath_api::generation;
use towpath_api::status::Failure;
use towpath_store::{Expect, NewRec, Op};

pub(super) fn prepare(
    change: &Change<'_>,
    new: &mut Value,
    effects: &mut Effects,
) -> Result<(), Failure> {
    if !matches!(change.subresource, "" | "finalize") {
        return Ok(());
    }
    let creates = change.operation == Operation::Create;
    let resource = &change.target.resource;
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") if creates => effects.ops.extend(namespace(change, new)),
        ("", "pods") if creates => {
            // Admission may have given it resources.
            new["status"]["qosClass"] = generation::quality(&new["spec"]).into();
        }
        ("", "services") => effects.ops.extend(alloc::admit(change, new)?),
        ("", "persistentvolumeclaims" | "persistentvolumes") if creates => {
            new["status"]["phase"] = "Pending".into();
        }
        ("rbac.authorization.k8s.io", _) => guard::admit(change, new)?,
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd::admit(change, new)?,
        _ => {}
    }
    Ok(())
}

/// What goes with an object that is removed.
pub(crate) fn released(change: &Change<'_>) -> Vec<Op> {
    let resource = &change.target.resource;
    let Some(old) = change.old else {
        return Vec::new();
    };
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "services") => alloc::release(old),
        _ => Vec::new(),
    }
}

/// A namespace comes with what every pod in it needs: its default service account and the
/// authority's certificate.
fn namespace(change: &Change<'_>, new: &mut Value) -> Vec<Op> {
    let name = new["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    new["status"] = json!({"phase": "Active"});
    new["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.clone().into();
    let core = &change.call.core;
    let kinds = core.kinds.load();
    let mut ops = Vec::new();
    let objects = [
        (
            "serviceaccounts",
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}),
        ),
        (
            "configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": core.pki.ca_pem}}),
        ),
    ];
    for (plural, mut object) in objects {
        let Some(resource) = kinds.resource("", "v1", plural) else {
            continue;
        };
        object["metadata"]["namespace"] = name.clone().into();
        object["metadata"]["uid"] = towpath_stdx::id::uuid(&*core.random).into();
        object["metadata"]["creationTimestamp"] = core.clock.rfc3339().into();
        let key = towpath_store::key(
            &name,
            object["metadata"]["name"].as_str().unwrap_or_default(),
        );
        if change.state.get(plural, &key).is_none() {
            let new = record::encode(resource, &object);
            ops.push(Op::Put {
                resource: resource.table.clone(),
                key,
                expect: Expect::any(),
                new,
            });
        }
    }
    ops
}

/// A record that holds nothing but its key.
pub(crate) fn mark() -> NewRec {
    NewRec {
        body: bytes::Bytes::from_static(b"\"\""),
        hole: 1,
        meta: towpath_store::Meta::default(),
    }
}
