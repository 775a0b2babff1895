//! CREATE: from a body to a committed object, with a name found for it where it has none.

use super::{Options, TRIES, Written, commit, decode, place, unsaved};
use crate::admission::{self, Change, Effects, Operation};
use crate::body::{self, Answer};
use crate::conversion;
use crate::core::Call;
use crate::model;
use crate::read;
use crate::record;
use crate::route::Target;
use serde_json::Value;
use std::sync::Arc;
use towpath_api::status::{self, Failure, MODIFIED};
use towpath_store::{Expect, Op, Rec};

const NAME_TRIES: usize = 8;

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
    let revision = object["metadata"]["resourceVersion"].as_str();
    if revision.is_some_and(|revision| !matches!(revision, "" | "0")) {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(status::untold(why));
    }
    let rec = insert(call, target, object, &options).await?;
    let mut answer = read::written(call, target, 201, &rec).await?;
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
                let key = towpath_store::key(&target.namespace, &last);
                let state = call.core.store.snapshot();
                let leaving = state.get(&resource.table, &key).is_some_and(|rec| {
                    !record::decode(rec)["metadata"]["deletionTimestamp"].is_null()
                });
                let taken = match leaving {
                    true => status::being_deleted,
                    false => status::already_exists,
                };
                return Err(taken(&resource.group, &resource.plural, &last));
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
pub(super) async fn insert_named(
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
    // Fields that the server adds from here on are nobody's.
    if !options.owned {
        let (manager, now) = (&options.manager, core.clock.rfc3339());
        model::own(resource, "", None, &mut object, manager, &now);
    }
    model::prepare_create(resource, &mut object);
    let mut shown = options.shown.clone();
    shown["kind"] = "CreateOptions".into();
    for _ in 0..TRIES {
        let mut new = object.clone();
        let state = core.store.snapshot();
        let change = Change {
            call,
            target,
            state: &state,
            operation: Operation::Create,
            old: None,
            subresource: "",
            dry_run: options.dry_run,
            options: &shown,
        };
        let mut effects = Effects::default();
        admission::mutate(&change, &mut new, &mut effects).await?;
        model::validate(resource, "", &new, None)?;
        admission::validate(&change, &new, &mut effects).await?;
        crate::deprecated::warnings(resource, &new, None)
            .into_iter()
            .for_each(|warning| call.warn(warning));
        let key = towpath_store::key(&target.namespace, &name);
        if state.get(&resource.table, &key).is_some() {
            return Ok(None);
        }
        conversion::store(core, resource, &mut new).await?;
        let new = record::encode(resource, &new);
        if options.dry_run {
            return Ok(Some(unsaved(key, new, 0)));
        }
        let own = Op::Put {
            resource: resource.table.clone(),
            key,
            expect: Expect::absent(),
            new,
        };
        match commit(core, resource, effects.ops, own).await? {
            Written::Done(rec) => return Ok(rec),
            Written::Raced { own: true } => return Ok(None),
            Written::Raced { own: false } => {}
        }
    }
    Err(status::conflict(
        &resource.group,
        &resource.plural,
        &name,
        MODIFIED,
    ))
}
