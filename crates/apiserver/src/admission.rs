//! What the server itself adds to objects and forbids, in one fixed order, with the side
//! writes that must happen in the same transaction.

use crate::alloc;
use crate::core::Call;
use crate::crd;
use crate::guard;
use crate::pods;
use crate::record;
use crate::route::Target;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use towpath_api::status::{self, Failure};
use towpath_store::{Expect, NewRec, Op, Snapshot};

/// One write on its way.
pub(crate) struct Change<'a> {
    pub(crate) call: &'a Call,
    pub(crate) target: &'a Target,
    pub(crate) state: &'a Snapshot,
    /// Absent on creation.
    pub(crate) old: Option<&'a Value>,
    pub(crate) subresource: &'a str,
}

impl Change<'_> {
    pub(crate) fn forbidden(&self, name: &str, why: &str) -> Failure {
        status::forbidden(
            &self.target.resource.group,
            &self.target.resource.plural,
            name,
            why,
        )
    }
}

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Completes and checks the new state; returns what else the transaction must do.
pub(crate) fn admit(change: &Change<'_>, new: &mut Value) -> Result<Vec<Op>, Failure> {
    let mut ops = Vec::new();
    let resource = &change.target.resource;
    if change.old.is_none() && resource.namespaced {
        ops.push(namespace_lifecycle(change, new)?);
    }
    if !matches!(change.subresource, "" | "finalize") {
        return Ok(ops);
    }
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") if change.old.is_none() => ops.extend(namespace(change, new)),
        ("", "pods") if change.old.is_none() => pods::admit(change, new)?,
        ("", "services") => ops.extend(alloc::admit(change, new)?),
        ("", "persistentvolumeclaims") if change.old.is_none() => claim(change, new),
        ("", "persistentvolumes") if change.old.is_none() => {
            new["status"] = json!({"phase": "Pending"})
        }
        ("networking.k8s.io", "ingresses") if change.old.is_none() => ingress_class(change, new),
        ("rbac.authorization.k8s.io", _) => guard::admit(change, new)?,
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd::admit(change, new)?,
        ("towpath.dev", "promotions") => promotion(change, new),
        _ => {}
    }
    Ok(ops)
}

/// Checks a deletion.
pub(crate) fn admit_delete(change: &Change<'_>) -> Result<(), Failure> {
    if change.target.resource.is("", "namespaces")
        && IMMORTAL.contains(&change.target.name.as_str())
    {
        return Err(change.forbidden(&change.target.name, "this namespace may not be deleted"));
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
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd::instances(change.state, old),
        _ => Vec::new(),
    }
}

fn namespace_lifecycle(change: &Change<'_>, new: &Value) -> Result<Op, Failure> {
    let namespace = &change.target.namespace;
    let key = towpath_store::key("", namespace);
    let found = change
        .state
        .get("namespaces", &key)
        .ok_or_else(|| status::not_found("", "namespaces", namespace))?;
    let mut expect = Expect::revision(found.revision);
    if found.meta.field("status.phase") == Some("Terminating") {
        // Events about what is being removed are welcome to the last.
        if !change.target.resource.is("", "events")
            && change.target.resource.group != "events.k8s.io"
        {
            let name = new["metadata"]["name"].as_str().unwrap_or_default();
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let mut failure = change.forbidden(name, &why);
            if let Some(details) = &mut failure.details {
                details["causes"] = json!([{
                    "reason": "NamespaceTerminating",
                    "message": format!("namespace {namespace} is being terminated"),
                    "field": "metadata.namespace"
                }]);
            }
            return Err(failure);
        }
        expect = Expect {
            present: Some(true),
            ..Expect::default()
        };
    }
    Ok(Op::Check {
        resource: "namespaces".into(),
        key,
        expect,
    })
}

/// A namespace comes with what every pod in it needs: its default service account and the
/// authority's certificate.
fn namespace(change: &Change<'_>, new: &mut Value) -> Vec<Op> {
    let name = new["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    new["spec"]["finalizers"] = json!(["kubernetes"]);
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

/// Name of the object of a table that is marked as the default one.
fn marked_default(state: &Snapshot, table: &str, annotation: &str) -> Option<String> {
    let marked = state.range(table, "", None).filter_map(|rec| {
        let object = record::decode(rec);
        (object["metadata"]["annotations"][annotation] == "true")
            .then_some((rec.created, rec.name().to_string()))
    });
    // Of several, the youngest, as upstream.
    marked
        .max_by_key(|(created, _)| *created)
        .map(|(_, name)| name)
}

fn claim(change: &Change<'_>, new: &mut Value) {
    new["status"] = json!({"phase": "Pending"});
    if new["spec"]["storageClassName"].is_null()
        && let Some(class) = marked_default(
            change.state,
            "storage.k8s.io/storageclasses",
            "storageclass.kubernetes.io/is-default-class",
        )
    {
        new["spec"]["storageClassName"] = class.into();
    }
}

fn ingress_class(change: &Change<'_>, new: &mut Value) {
    let asked = !new["spec"]["ingressClassName"].is_null()
        || !new["metadata"]["annotations"]["kubernetes.io/ingress.class"].is_null();
    if !asked
        && let Some(class) = marked_default(
            change.state,
            "networking.k8s.io/ingressclasses",
            "ingressclass.kubernetes.io/is-default-class",
        )
    {
        new["spec"]["ingressClassName"] = class.into();
    }
}

/// Who asked for a promotion and who approved it is what authentication said, not the body.
fn promotion(change: &Change<'_>, new: &mut Value) {
    if !new["spec"].is_object() {
        return;
    }
    let who = change.call.principal.name.clone();
    let by = change
        .old
        .map_or_else(|| Value::from(who.clone()), |old| old["spec"]["by"].clone());
    new["spec"]["by"] = by;
    let known: Vec<Value> = change
        .old
        .and_then(|old| old["spec"]["approvals"].as_array().cloned())
        .unwrap_or_default();
    let now = change.call.core.clock.rfc3339();
    // Not by index: that would leave a null behind where there are none.
    let approvals = new.pointer_mut("/spec/approvals");
    let Some(approvals) = approvals.and_then(Value::as_array_mut) else {
        return;
    };
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for approval in &known {
        *left.entry(approval.to_string()).or_default() += 1;
    }
    for approval in approvals {
        match left
            .get_mut(&approval.to_string())
            .filter(|count| **count > 0)
        {
            Some(count) => *count -= 1,
            // What is no object is refused by the schema.
            None if !approval.is_object() => {}
            None => {
                approval["by"] = who.clone().into();
                approval["at"] = now.clone().into();
            }
        }
    }
}

/// A record that holds nothing but its key.
pub(crate) fn mark() -> NewRec {
    NewRec {
        body: bytes::Bytes::from_static(b"\"\""),
        hole: 1,
        meta: towpath_store::Meta::default(),
    }
}
