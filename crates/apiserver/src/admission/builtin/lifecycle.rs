//! NamespaceLifecycle: nothing new in a namespace that is absent or going, and some namespaces
//! stay.

use crate::admission::{Change, Effects, Operation};
use serde_json::{Value, json};
use towpath_api::status::{self, Failure};
use towpath_store::{Expect, Op};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn mutate(
    change: &Change<'_>,
    new: &Value,
    effects: &mut Effects,
) -> Result<(), Failure> {
    if change.operation == Operation::Create && change.target.resource.namespaced {
        effects.ops.push(lives(change, new)?);
    }
    Ok(())
}

pub(super) fn delete(change: &Change<'_>) -> Result<(), Failure> {
    if change.target.resource.is("", "namespaces")
        && IMMORTAL.contains(&change.target.name.as_str())
    {
        return Err(change.forbidden(&change.target.name, "this namespace may not be deleted"));
    }
    Ok(())
}

// The condition that the namespace is as it was seen goes into the transaction.
fn lives(change: &Change<'_>, new: &Value) -> Result<Op, Failure> {
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
