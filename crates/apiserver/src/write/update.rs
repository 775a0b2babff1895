//! UPDATE and PATCH: read the present object, make the new one, and commit it on the condition
//! that the object is still the one that was read; where the client named no revision of its
//! own, a lost race is run again.

use super::create::insert_named;
use super::parts::{is_finished, keep_but, keep_identity};
use super::{Options, TRIES, Written, commit, decode, place, unsaved};
use crate::admission::{self, Change, Effects, Operation};
use crate::body::{self, Answer};
use crate::conversion;
use crate::core::Call;
use crate::kinds::Resource;
use crate::model::{self, Strictness};
use crate::patch;
use crate::read;
use crate::record;
use crate::route::Target;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use towpath_api::field::FieldError;
use towpath_api::status::{self, Failure, MODIFIED};
use towpath_store::{Expect, NewRec, Op, Rec};

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
        "" => return Err(undeterminable(target)),
        name if name == target.name => {}
        name => {
            return Err(status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            )));
        }
    }
    let key = towpath_store::key(&target.namespace, &target.name);
    let state = call.core.store.snapshot();
    if made_by_update(target) && state.get(&target.resource.table, &key).is_none() {
        crate::core::may_create(call, target)?;
        if let Some(rec) = insert_named(call, target, object.clone(), &options).await? {
            let mut answer = read::written(call, target, 201, &rec).await?;
            body::warn(&mut answer, &warnings);
            return Ok(answer);
        }
    }
    let rec = replace(call, target, &options, |_| Ok(object.clone())).await?;
    let mut answer = read::written(call, target, 200, &rec).await?;
    body::warn(&mut answer, &warnings);
    Ok(answer)
}

/// 400: a body without the name that its path has.
pub(crate) fn undeterminable(target: &Target) -> Failure {
    status::bad_request(format!(
        "the name of the object ({} based on URL) was undeterminable: name must be provided",
        target.name
    ))
}

/// Kinds that upstream creates where an update finds nothing.
fn made_by_update(target: &Target) -> bool {
    let resource = &target.resource;
    let plural = resource.plural.as_str();
    target.subresource.is_empty()
        && match resource.group.as_str() {
            "" => matches!(plural, "endpoints" | "events" | "limitranges" | "services"),
            "node.k8s.io" => plural == "runtimeclasses",
            "coordination.k8s.io" => plural == "leases",
            "events.k8s.io" => plural == "events",
            "rbac.authorization.k8s.io" => true,
            _ => false,
        }
}

/// Kinds whose updates must name the revision that they change.
fn needs_revision(resource: &Resource) -> bool {
    resource.is_custom()
        || match (resource.group.as_str(), resource.plural.as_str()) {
            ("admissionregistration.k8s.io" | "node.k8s.io" | "coordination.k8s.io", _) => true,
            ("apiextensions.k8s.io" | "apiregistration.k8s.io", _) => true,
            ("policy", plural) => plural == "poddisruptionbudgets",
            ("storage.k8s.io", plural) => {
                !matches!(plural, "storageclasses" | "volumeattributesclasses")
            }
            _ => false,
        }
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
            crate::core::may_create(call, target)?;
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
                let mut answer = read::written(call, target, 201, &rec).await?;
                body::warn(&mut answer, &warnings.lock());
                return Ok(answer);
            }
        }
    }
    if target.subresource == "scale" {
        options.scale = true;
        return crate::sub::patch_scale(call, target, &options, &patch).await;
    }
    let rec = replace(call, target, &options, |old| {
        let mut new = patch.apply(call, target, &options, old)?;
        if !patch.is_apply() {
            patch::same_object(target, &new, old)?;
        }
        let mut found = warnings.lock();
        found.clear();
        let mut shaped = model::shape(
            &target.resource,
            &mut new,
            patch.twice(),
            options.strictness,
            &mut found,
        );
        let unknown = patch.unknown();
        match options.strictness {
            Strictness::Warn => found.extend_from_slice(unknown),
            Strictness::Strict if shaped.is_ok() && !unknown.is_empty() => {
                let (kind, version) = (&target.resource.kind, &target.resource.version);
                shaped = Err(status::strict(kind, version, unknown));
            }
            _ => {}
        }
        match shaped {
            Err(failure) if !patch.is_apply() && failure.message.contains("cannot be handled") => {
                let error = FieldError::invalid("patch", new.to_string(), failure.message);
                Err(status::invalid("", "", "", &[error]))
            }
            other => other.map(|()| new),
        }
    })
    .await?;
    let mut answer = read::written(call, target, 200, &rec).await?;
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
        let old = conversion::show(core, resource, &current).await?;
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
        let named = match named {
            Some(text) => Some(
                text.parse::<u64>()
                    .map_err(|_| crate::list_options::not_a_revision(&text))?,
            ),
            None => None,
        };
        if named.is_some_and(|named| named != current.revision) {
            return Err(conflict());
        }
        if named.is_none()
            && needs_revision(resource)
            && call.method == http::Method::PUT
            && !options.scale
        {
            let error = FieldError::invalid(
                "metadata.resourceVersion",
                0,
                "must be specified for an update",
            );
            return Err(status::invalid(
                &resource.group,
                &resource.plural,
                &target.name,
                &[error],
            ));
        }
        keep_identity(target, &mut new, &old)?;
        match target.subresource.as_str() {
            "status" => model::prepare_status(resource, &mut new, &old),
            "" => model::default(resource, &mut new),
            _ if raw => {}
            other => keep_but(&mut new, &old, other),
        }
        // Fields that the server adds from here on are nobody's.
        if !options.owned {
            let through = match options.scale {
                true => "scale",
                false => target.subresource.as_str(),
            };
            model::own(
                resource,
                through,
                Some(&old),
                &mut new,
                &options.manager,
                &core.clock.rfc3339(),
            );
        }
        if target.subresource.is_empty() {
            model::prepare_update(resource, &mut new, &old);
        }
        model::default(resource, &mut new);
        let change = Change {
            call,
            target,
            state: &state,
            operation: Operation::Update,
            old: Some(&old),
            subresource: &target.subresource,
            dry_run: options.dry_run,
            options: &options.shown,
        };
        let mut effects = Effects::default();
        admission::mutate(&change, &mut new, &mut effects).await?;
        model::validate(resource, &target.subresource, &new, Some(&old))?;
        admission::validate(&change, &new, &mut effects).await?;
        if target.subresource.is_empty() {
            crate::deprecated::warnings(resource, &new, Some(&old))
                .into_iter()
                .for_each(|warning| call.warn(warning));
        }
        if options.owned {
            towpath_api::apply::keep_times(&old, &mut new);
        }
        let finished = is_finished(resource, &new);
        conversion::store(core, resource, &mut new).await?;
        let new = record::encode(resource, &new);
        if options.dry_run {
            return Ok(unsaved(key, new, current.revision));
        }
        let mut ops = effects.ops;
        let expect = Expect::revision(current.revision);
        let table = resource.table.clone();
        let own = if finished {
            ops.extend(admission::released(&change));
            Op::Delete {
                resource: table,
                key,
                expect,
                last: Some(new),
            }
        } else {
            Op::Put {
                resource: table,
                key,
                expect,
                new,
            }
        };
        match commit(core, resource, ops, own).await? {
            // Upstream shows the last state as it was changed, not the deletion.
            Written::Done(Some(rec)) if finished => {
                let new = NewRec {
                    body: rec.body().clone(),
                    hole: rec.halves().0.len() as u32,
                    meta: rec.meta.clone(),
                };
                return Ok(unsaved(rec.key.clone(), new, current.revision));
            }
            Written::Done(rec) => return rec.ok_or_else(|| read::missing(target)),
            // Someone was faster. A client that named the revision is told when it is compared
            // with the new present one above.
            Written::Raced { .. } => {}
        }
    }
    Err(conflict())
}
