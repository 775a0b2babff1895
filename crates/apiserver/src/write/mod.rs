//! CREATE, UPDATE and PATCH: from a body to a committed object.
//!
//! Every way goes: decode, default, [`crate::admission::mutate`], field ownership, validation,
//! [`crate::admission::validate`], one transaction.

mod create;
mod options;
mod parts;
mod update;

use crate::core::{Call, Core};
use crate::kinds::Resource;
use crate::model;
use crate::route::Target;
pub(crate) use create::create;
pub(crate) use options::Options;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure};
use towpath_store::{Class, Op, Rec, Refused, Txn};
pub(crate) use update::{patch, replace, replace_raw, undeterminable, update};

const TRIES: usize = 16;

/// Leases and Events may be lost with power; nothing else.
pub(crate) fn class(resource: &Resource) -> Class {
    match (resource.stored_as.0.as_str(), resource.plural.as_str()) {
        ("coordination.k8s.io", "leases") | ("", "events") => Class::Relaxed,
        _ => Class::Normal,
    }
}

/// Reads a body of the kind a resource has.
pub(crate) fn decode(
    call: &Call,
    target: &Target,
    bytes: &[u8],
) -> Result<(Value, Vec<String>), Failure> {
    let (mut object, twice) = model::read_body(call.content_type(), bytes)?;
    if target.resource.is_custom() {
        custom_kind(&target.resource, &object)?;
    }
    kind_of(&target.resource, &mut object)?;
    Ok((object, twice))
}

/// Nothing stands in for the kind of a custom resource.
fn custom_kind(resource: &Resource, object: &Value) -> Result<(), Failure> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    for (key, value) in [("Kind", kind), ("apiVersion", version)] {
        if value.is_empty() {
            return Err(status::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): Object '{key}' is missing in '{object}' ({object})",
                resource.kind
            )));
        }
    }
    if kind != resource.kind && version == resource.api_version() {
        let why = format!("must be {}", resource.kind);
        let error = FieldError::invalid("kind", kind, why);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(status::invalid(&resource.group, kind, name, &[error]));
    }
    Ok(())
}

/// Kind and version of a body must be those of the path; missing ones are filled in.
pub(crate) fn kind_of(resource: &Resource, object: &mut Value) -> Result<(), Failure> {
    if object.is_null() {
        *object = json!({});
    }
    let Some(map) = object.as_object_mut() else {
        return Err(status::bad_request("the body is not an object"));
    };
    let api_version = resource.api_version();
    for (key, wanted) in [
        ("apiVersion", api_version.as_str()),
        ("kind", resource.kind.as_str()),
    ] {
        match map.get(key).and_then(Value::as_str).unwrap_or_default() {
            "" => {
                map.insert(key.into(), wanted.into());
            }
            given if given == wanted => {}
            given => {
                return Err(status::bad_request(match key {
                    "kind" => format!(
                        "no kind \"{given}\" is registered for version \"{api_version}\" in scheme; the path is for kind \"{wanted}\""
                    ),
                    _ => format!(
                        "the API version in the data ({given}) does not match the expected API version ({wanted})"
                    ),
                }));
            }
        }
    }
    if !map.get("metadata").is_some_and(Value::is_object) {
        map.insert("metadata".into(), json!({}));
    }
    Ok(())
}

/// Writes what a keeper of objects found to be wanted. Where someone was faster nothing is written:
/// that is an event, and with it all is looked at again.
pub(crate) async fn settle(core: &Core, ops: Vec<Op>) -> Result<(), Failure> {
    if ops.is_empty() {
        return Ok(());
    }
    let txn = Txn {
        ops,
        ..Txn::default()
    };
    match core.store.commit(txn).await {
        Ok(_) | Err(Refused::Conflict { .. }) => Ok(()),
        Err(other) => Err(refused(other)),
    }
}

fn place(target: &Target, object: &mut Value) -> Result<(), Failure> {
    let metadata = &mut object["metadata"];
    let given = metadata["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    if !target.resource.namespaced {
        if let Some(map) = metadata.as_object_mut() {
            map.remove("namespace");
        }
        return Ok(());
    }
    if !given.is_empty() && given != target.namespace {
        return Err(status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    metadata["namespace"] = target.namespace.clone().into();
    Ok(())
}

/// The store's refusals that are nobody's race.
pub(crate) fn refused(refused: Refused) -> Failure {
    match refused {
        Refused::Conflict { .. } => status::internal("precondition of a write did not hold"),
        Refused::ReadOnly(why) => {
            status::unavailable(format!("the object store is read-only: {why}"))
        }
        Refused::Full(why) => {
            let mut failure =
                status::unavailable(format!("the object store refuses writes: {why}"));
            failure.code = 507;
            failure.reason = "InsufficientStorage";
            failure
        }
        Refused::Closed => status::unavailable("the server is stopping"),
    }
}

/// How a write ended that nothing but a race refuses.
enum Written {
    /// Committed; the object's record, which a deletion of nothing has not.
    Done(Option<Arc<Rec>>),
    /// Another write was faster: to the object itself, or to something written with it.
    Raced { own: bool },
}

/// Commits an object's write together with what else belongs to it.
async fn commit(
    core: &Core,
    resource: &Resource,
    mut ops: Vec<Op>,
    own: Op,
) -> Result<Written, Failure> {
    let at = ops.len();
    ops.push(own);
    let class = class(resource);
    match core.store.commit(Txn { ops, class }).await {
        Ok(done) => {
            crate::crd::after(core, resource);
            Ok(Written::Done(done.recs.into_iter().nth(at).flatten()))
        }
        Err(Refused::Conflict { index, .. }) => Ok(Written::Raced { own: index == at }),
        Err(other) => Err(refused(other)),
    }
}

/// What a dry run would have stored.
pub(crate) fn unsaved(key: Arc<str>, new: towpath_store::NewRec, revision: u64) -> Arc<Rec> {
    Arc::new(Rec::unsaved(key, new, revision))
}
