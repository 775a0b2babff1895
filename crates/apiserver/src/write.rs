//! CREATE, UPDATE and PATCH: from a body to a committed object.
//!
//! Updates and patches read the present object, make the new one, and commit it on the
//! condition that the object is still the one that was read; where the client named no revision
//! of its own, a lost race is run again.

use crate::admission::{self, Change};
use crate::body::{self, Answer};
use crate::core::Call;
use crate::kinds::Resource;
use crate::model::{self, Strictness};
use crate::patch;
use crate::read;
use crate::record;
use crate::route::Target;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure, MODIFIED};
use towpath_store::{Class, Done, Expect, Op, Rec, Refused, Txn};

const TRIES: usize = 16;
const NAME_TRIES: usize = 8;

/// What the query says about a write.
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) strictness: Strictness,
    pub(crate) force: bool,
    /// The new state carries its owners already (server-side apply).
    pub(crate) owned: bool,
}

impl Options {
    pub(crate) fn read(call: &Call) -> Result<Self, Failure> {
        let kind = match call.method {
            http::Method::PUT => "UpdateOptions",
            http::Method::PATCH => "PatchOptions",
            _ => "CreateOptions",
        };
        let refused = |error: FieldError| status::invalid("meta.k8s.io", kind, "", &[error]);
        let asked: Vec<&str> = call
            .query
            .all("dryRun")
            .filter(|value| !value.is_empty())
            .collect();
        if asked.iter().any(|value| *value != "All") {
            return Err(refused(FieldError::unsupported(
                "dryRun",
                json!(asked),
                &["All"],
            )));
        }
        let apply = call.content_type() == "application/apply-patch+yaml";
        if apply && call.query.get("fieldManager").is_none_or(str::is_empty) {
            return Err(refused(FieldError::required(
                "fieldManager",
                "is required for apply patch",
            )));
        }
        let given = call.query.get("fieldValidation");
        let strictness = Strictness::parse(given).ok_or_else(|| {
            let known = ["Ignore", "Strict", "Warn"];
            refused(FieldError::unsupported(
                "fieldValidation",
                given.unwrap_or_default(),
                &known,
            ))
        })?;
        Ok(Self {
            dry_run: !asked.is_empty(),
            manager: call.manager(),
            strictness,
            force: call.query.is("force"),
            owned: false,
        })
    }
}

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
    kind_of(&target.resource, &mut object)?;
    Ok((object, twice))
}

/// Kind and version of a body must be those of the path; missing ones are filled in.
pub(crate) fn kind_of(resource: &Resource, object: &mut Value) -> Result<(), Failure> {
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

pub(crate) async fn create(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let options = Options::read(call)?;
    let (mut object, twice) = decode(call, target, bytes)?;
    let mut warnings = Vec::new();
    model::shape(
        &target.resource,
        &mut object,
        &twice,
        options.strictness,
        &mut warnings,
    )?;
    place(target, &mut object)?;
    let rec = insert(call, target, object, &options).await?;
    let mut answer = read::written(call, target, 201, &rec)?;
    body::warn(&mut answer, &warnings);
    Ok(answer)
}

/// Commits a new object; finds a name where only a prefix is given.
pub(crate) async fn insert(
    call: &Call,
    target: &Target,
    object: Value,
    options: &Options,
) -> Result<Arc<Rec>, Failure> {
    let resource = &target.resource;
    let prefix = object["metadata"]["generateName"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let given = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let mut last = String::new();
    for _ in 0..NAME_TRIES {
        let mut object = object.clone();
        if given.is_empty() && !prefix.is_empty() {
            let end = (0..=58.min(prefix.len()))
                .rev()
                .find(|at| prefix.is_char_boundary(*at))
                .unwrap_or(0);
            last = format!(
                "{}{}",
                &prefix[..end],
                towpath_stdx::id::suffix(&*call.core.random, 5)
            );
            object["metadata"]["name"] = last.clone().into();
        } else {
            last = given.clone();
        }
        match insert_named(call, target, object, options).await? {
            Some(rec) => return Ok(rec),
            None if given.is_empty() && !prefix.is_empty() => {}
            None => {
                return Err(status::already_exists(
                    &resource.group,
                    &resource.plural,
                    &last,
                ));
            }
        }
    }
    Err(status::generate_name_conflict(
        &resource.group,
        &resource.plural,
        &last,
    ))
}

// `None` where the name is taken.
async fn insert_named(
    call: &Call,
    target: &Target,
    mut object: Value,
    options: &Options,
) -> Result<Option<Arc<Rec>>, Failure> {
    let (core, resource) = (&call.core, &target.resource);
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in [
            "resourceVersion",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "uid",
            "managedFields",
        ] {
            let client_fields = key == "managedFields";
            if !client_fields {
                metadata.remove(key);
            }
        }
        metadata.insert("uid".into(), towpath_stdx::id::uuid(&*core.random).into());
        metadata.insert("creationTimestamp".into(), core.clock.rfc3339().into());
    }
    model::default(resource, &mut object);
    model::prepare_create(resource, &mut object);
    for attempt in 0..TRIES {
        let mut new = object.clone();
        let state = core.store.snapshot();
        let change = Change {
            call,
            target,
            state: &state,
            old: None,
            subresource: "",
        };
        let mut side = admission::admit(&change, &mut new)?;
        model::default(resource, &mut new);
        if !options.owned {
            model::own(
                resource,
                "",
                None,
                &mut new,
                &options.manager,
                &core.clock.rfc3339(),
            );
        }
        model::validate(resource, "", &new, None)?;
        let key = towpath_store::key(&target.namespace, &name);
        if state.get(&resource.table, &key).is_some() {
            return Ok(None);
        }
        model::to_stored(resource, &mut new);
        let new = record::encode(resource, &new);
        if options.dry_run {
            return Ok(Some(unsaved(key, new, 0)));
        }
        side.push(Op::Put {
            resource: resource.table.clone(),
            key: key.clone(),
            expect: Expect::absent(),
            new,
        });
        let at = side.len() - 1;
        match core
            .store
            .commit(Txn {
                ops: side,
                class: class(resource),
            })
            .await
        {
            Ok(done) => {
                crate::crd::after(core, resource);
                return Ok(nth(done, at));
            }
            Err(Refused::Conflict { index, .. }) if index == at => return Ok(None),
            Err(Refused::Conflict { .. }) if attempt + 1 < TRIES => {}
            Err(other) => return Err(refused(other)),
        }
    }
    Err(status::conflict(
        &resource.group,
        &resource.plural,
        &name,
        MODIFIED,
    ))
}

fn nth(done: Done, at: usize) -> Option<Arc<Rec>> {
    done.recs.into_iter().nth(at).flatten()
}

/// What a dry run would have stored.
pub(crate) fn unsaved(key: Arc<str>, new: towpath_store::NewRec, revision: u64) -> Arc<Rec> {
    Arc::new(Rec::unsaved(key, new, revision))
}

pub(crate) async fn update(call: &Call, target: &Target, bytes: &[u8]) -> Answer {
    let options = Options::read(call)?;
    let (mut object, twice) = decode(call, target, bytes)?;
    let mut warnings = Vec::new();
    model::shape(
        &target.resource,
        &mut object,
        &twice,
        options.strictness,
        &mut warnings,
    )?;
    place(target, &mut object)?;
    match object["metadata"]["name"].as_str().unwrap_or_default() {
        "" => object["metadata"]["name"] = target.name.clone().into(),
        name if name == target.name => {}
        name => {
            return Err(status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            )));
        }
    }
    let rec = replace(call, target, &options, |_| Ok(object.clone())).await?;
    let mut answer = read::written(call, target, 200, &rec)?;
    body::warn(&mut answer, &warnings);
    Ok(answer)
}

pub(crate) async fn patch(call: &Call, target: &Target, bytes: Bytes) -> Answer {
    let mut options = Options::read(call)?;
    let patch = patch::Patch::read(call, target, &bytes)?;
    options.owned = patch.is_apply();
    let warnings = parking_lot::Mutex::new(Vec::new());
    if patch.is_apply() && target.subresource.is_empty() {
        let key = towpath_store::key(&target.namespace, &target.name);
        if call
            .core
            .store
            .snapshot()
            .get(&target.resource.table, &key)
            .is_none()
        {
            let mut object = patch.create(call, target, &options)?;
            model::shape(
                &target.resource,
                &mut object,
                &[],
                options.strictness,
                &mut warnings.lock(),
            )?;
            place(target, &mut object)?;
            if let Some(rec) = insert_named(call, target, object, &options).await? {
                let mut answer = read::written(call, target, 201, &rec)?;
                body::warn(&mut answer, &warnings.lock());
                return Ok(answer);
            }
        }
    }
    if target.subresource == "scale" {
        return crate::sub::patch_scale(call, target, &options, &patch).await;
    }
    let rec = replace(call, target, &options, |old| {
        let mut new = patch.apply(call, target, &options, old)?;
        let mut found = warnings.lock();
        found.clear();
        model::shape(
            &target.resource,
            &mut new,
            patch.twice(),
            options.strictness,
            &mut found,
        )?;
        Ok(new)
    })
    .await?;
    let mut answer = read::written(call, target, 200, &rec)?;
    body::warn(&mut answer, &warnings.lock());
    Ok(answer)
}

/// Makes a new state from the present one and commits it.
pub(crate) async fn replace(
    call: &Call,
    target: &Target,
    options: &Options,
    make: impl Fn(&Value) -> Result<Value, Failure>,
) -> Result<Arc<Rec>, Failure> {
    replace_by(call, target, options, make, false).await
}

/// The same for a change the server makes itself, to parts no client may write.
pub(crate) async fn replace_raw(
    call: &Call,
    target: &Target,
    options: &Options,
    make: impl Fn(&Value) -> Result<Value, Failure>,
) -> Result<Arc<Rec>, Failure> {
    replace_by(call, target, options, make, true).await
}

async fn replace_by(
    call: &Call,
    target: &Target,
    options: &Options,
    make: impl Fn(&Value) -> Result<Value, Failure>,
    raw: bool,
) -> Result<Arc<Rec>, Failure> {
    let (core, resource) = (&call.core, &target.resource);
    let conflict = || status::conflict(&resource.group, &resource.plural, &target.name, MODIFIED);
    for _ in 0..TRIES {
        let state = core.store.snapshot();
        let key = towpath_store::key(&target.namespace, &target.name);
        let current = state
            .get(&resource.table, &key)
            .cloned()
            .ok_or_else(|| read::missing(target))?;
        let old = crate::form::serve_version(resource, record::decode(&current));
        let mut new = make(&old)?;
        if !new.is_object() {
            let why = "the patch does not leave an object behind";
            return Err(status::bad_request(why));
        }
        let named = new["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        let named = if named.is_empty() || named == "0" {
            None
        } else {
            Some(named)
        };
        let own_revision = named
            .as_ref()
            .is_some_and(|n| *n != current.revision.to_string());
        if own_revision {
            return Err(conflict());
        }
        if named.is_none() && resource.is_custom() && call.method == http::Method::PUT {
            let error = FieldError::invalid(
                "metadata.resourceVersion",
                0,
                "must be specified for an update",
            );
            return Err(status::invalid(
                &resource.group,
                &resource.kind,
                &target.name,
                &[error],
            ));
        }
        keep_identity(target, &mut new, &old)?;
        match target.subresource.as_str() {
            "status" => model::prepare_status(resource, &mut new, &old),
            "" => model::prepare_update(resource, &mut new, &old),
            _ if raw => {}
            other => keep_but(&mut new, &old, other),
        }
        model::default(resource, &mut new);
        let change = Change {
            call,
            target,
            state: &state,
            old: Some(&old),
            subresource: &target.subresource,
        };
        let mut ops = admission::admit(&change, &mut new)?;
        if !options.owned {
            model::own(
                resource,
                &target.subresource,
                Some(&old),
                &mut new,
                &options.manager,
                &core.clock.rfc3339(),
            );
        }
        model::validate(resource, &target.subresource, &new, Some(&old))?;
        let finished = is_finished(resource, &new);
        model::to_stored(resource, &mut new);
        let new = record::encode(resource, &new);
        if options.dry_run {
            return Ok(unsaved(key, new, current.revision));
        }
        let expect = Expect::revision(current.revision);
        let table = resource.table.clone();
        if finished {
            ops.extend(admission::released(&change));
            ops.push(Op::Delete {
                resource: table,
                key,
                expect,
                last: Some(new),
            });
        } else {
            ops.push(Op::Put {
                resource: table,
                key,
                expect,
                new,
            });
        }
        let at = ops.len() - 1;
        match core
            .store
            .commit(Txn {
                ops,
                class: class(resource),
            })
            .await
        {
            Ok(done) => {
                crate::crd::after(core, resource);
                return nth(done, at).ok_or_else(|| read::missing(target));
            }
            // Someone was faster. A client that named the revision is told when it is compared
            // with the new present one above.
            Err(Refused::Conflict { .. }) => {}
            Err(other) => return Err(refused(other)),
        }
    }
    Err(conflict())
}

/// Whether an object that is being deleted has nothing left to wait for.
fn is_finished(resource: &Resource, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let waits = |list: &Value| list.as_array().is_some_and(|l| !l.is_empty());
    let held = waits(&metadata["finalizers"])
        || resource.is("", "namespaces") && waits(&object["spec"]["finalizers"]);
    let grace = metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
    !metadata["deletionTimestamp"].is_null() && !held && grace == 0
}

/// What no update may change is put back; a wrong UID is a conflict.
fn keep_identity(target: &Target, new: &mut Value, old: &Value) -> Result<(), Failure> {
    let resource = &target.resource;
    let uid = new["metadata"]["uid"].as_str().unwrap_or_default();
    let known = old["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != known {
        return Err(status::uid_precondition(
            &resource.group,
            &resource.plural,
            &target.name,
            uid,
            known,
        ));
    }
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    let Some(metadata) = new["metadata"].as_object_mut() else {
        return Ok(());
    };
    for key in [
        "uid",
        "name",
        "namespace",
        "creationTimestamp",
        "generateName",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        match old["metadata"].get(key) {
            Some(value) => {
                metadata.insert(key.into(), value.clone());
            }
            None => {
                metadata.remove(key);
            }
        }
    }
    metadata.remove("selfLink");
    if !old["metadata"]["deletionTimestamp"].is_null() {
        let had = |value: &Value| {
            old["metadata"]["finalizers"]
                .as_array()
                .is_some_and(|l| l.contains(value))
        };
        let added: Vec<String> = metadata
            .get("finalizers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|value| !had(value))
            .map(Value::to_string)
            .collect();
        if !added.is_empty() {
            let text = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers [{}]",
                added.join(", ")
            );
            let error = FieldError::forbidden("metadata.finalizers", text);
            return Err(status::invalid(
                &resource.group,
                &resource.kind,
                &target.name,
                &[error],
            ));
        }
    }
    Ok(())
}

fn take(new: &mut Value, sent: &Value, part: &str, key: &str) {
    match sent[part].get(key) {
        Some(value) => new[part][key] = value.clone(),
        None => {
            if let Some(part) = new.get_mut(part).and_then(Value::as_object_mut) {
                part.remove(key);
            }
        }
    }
}

/// Other subresources may change one part of the object.
fn keep_but(new: &mut Value, old: &Value, subresource: &str) {
    let sent = std::mem::replace(new, old.clone());
    match subresource {
        "finalize" => take(new, &sent, "spec", "finalizers"),
        "ephemeralcontainers" => {
            take(new, &sent, "spec", "ephemeralContainers");
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = (generation + 1).into();
        }
        "approval" => {
            take(new, &sent, "status", "conditions");
        }
        "resize" => {
            for list in ["containers", "initContainers"] {
                let path = format!("/spec/{list}");
                let Some(containers) = new.pointer_mut(&path).and_then(Value::as_array_mut) else {
                    continue;
                };
                for container in containers {
                    let same = sent["spec"][list]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .find(|c| c["name"] == container["name"]);
                    if let Some(same) = same {
                        container["resources"] = same["resources"].clone();
                    }
                }
            }
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = (generation + 1).into();
        }
        _ => {}
    }
}
