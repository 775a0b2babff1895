//! GET and LIST: stored bytes are spliced into the answer; nothing is decoded unless another
//! form or version is asked for.

use crate::accept::{self, Form};
use crate::body::{self, Answer};
use crate::conversion;
use crate::core::Call;
use crate::filter::Filter;
use crate::form;
use crate::list_bytes;
use crate::paging::Continue;
use crate::record;
use crate::route::Target;
use http::header::ACCEPT;
use serde_json::json;
use std::sync::Arc;
use towpath_api::status::{self, Failure};
use towpath_store::{Rec, Snapshot};

/// 404 as for any object.
pub(crate) fn missing(target: &Target) -> Failure {
    status::not_found(
        &target.resource.group,
        &target.resource.plural,
        &target.name,
    )
}

/// The stored object a request names.
pub(crate) fn find(call: &Call, target: &Target) -> Result<Arc<Rec>, Failure> {
    let key = towpath_store::key(&target.namespace, &target.name);
    call.core
        .store
        .snapshot()
        .get(&target.resource.table, &key)
        .cloned()
        .ok_or_else(|| missing(target))
}

pub(crate) async fn get(call: &Call, target: &Target) -> Answer {
    let form = form::wanted(call, target, None)?;
    if let Some(wanted) = crate::list_options::revision(&call.query)? {
        let current = call.core.store.revision();
        if wanted > current {
            return Err(status::too_large_resource_version(wanted, current));
        }
    }
    let rec = find(call, target)?;
    if form.form == Form::Object && conversion::is_as_stored(&target.resource, &rec) {
        return Ok(body::json_bytes(200, rec.json()));
    }
    let object = conversion::show(&call.core, &target.resource, &rec).await?;
    Ok(body::json(200, &form::one(call, target, form, object)))
}

/// A written object as the client asked for it.
pub(crate) async fn written(call: &Call, target: &Target, code: u16, rec: &Rec) -> Answer {
    let form = accept::wanted(call.header(ACCEPT), target)?;
    let resource = &target.resource;
    if form.form == Form::Object && rec.revision > 0 && conversion::is_as_stored(resource, rec) {
        return Ok(body::json_bytes(code, rec.json()));
    }
    let mut object = conversion::show(&call.core, resource, rec).await?;
    if rec.revision == 0
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("resourceVersion");
    }
    Ok(body::json(code, &form::one(call, target, form, object)))
}

struct Page {
    state: Arc<Snapshot>,
    after: Option<String>,
    limit: usize,
}

fn page(call: &Call, target: &Target) -> Result<Page, Failure> {
    let core = &call.core;
    crate::list_options::check(&call.query, false)?;
    let limit = crate::list_options::limit(&call.query)?;
    let now = core.clock.monotonic();
    if let Some(token) = call.query.get("continue").filter(|t| !t.is_empty()) {
        if call
            .query
            .get("resourceVersion")
            .is_some_and(|rv| !rv.is_empty() && rv != "0")
        {
            return Err(status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Continue::decode(token)?;
        let state = match token.revision {
            None => core.store.snapshot(),
            Some(revision) => core
                .pages
                .get(&target.resource.table, revision, now)
                .ok_or_else(|| token.expired())?,
        };
        return Ok(Page {
            state,
            after: Some(token.after),
            limit,
        });
    }
    let state = core.store.snapshot();
    let wanted = crate::list_options::revision(&call.query)
        .map_err(|failure| status::bad_request(failure.message))?
        .unwrap_or(0);
    if wanted > state.revision() {
        return Err(status::too_large_resource_version(wanted, state.revision()));
    }
    let exact = call.query.get("resourceVersionMatch") == Some("Exact");
    let state = match exact && wanted != state.revision() {
        true => core
            .store
            .past(&target.resource.table, wanted)
            .map(Arc::new)
            .map_err(|_| {
                status::expired("The resourceVersion for the provided list is too old.")
            })?,
        false => state,
    };
    Ok(Page {
        state,
        after: None,
        limit,
    })
}

/// Objects that match, in key order, at most `limit` (0 for all) after a key; tells also how
/// many more there are, where that is known without work.
pub(crate) fn select(
    state: &Snapshot,
    target: &Target,
    filter: &Filter,
    after: Option<&str>,
    limit: usize,
) -> (Vec<Arc<Rec>>, bool) {
    let table = &target.resource.table;
    if let (Some(name), false) = (
        filter.name(),
        target.namespace.is_empty() && target.resource.namespaced,
    ) {
        let found = state.get(table, &towpath_store::key(&target.namespace, name));
        return (
            found
                .filter(|rec| filter.matches(rec))
                .cloned()
                .into_iter()
                .collect(),
            false,
        );
    }
    let mut found = Vec::new();
    for rec in state.range(table, &target.namespace, after) {
        if filter.is_everything() || filter.matches(rec) {
            if limit > 0 && found.len() == limit {
                return (found, true);
            }
            found.push(rec.clone());
        }
    }
    (found, false)
}

pub(crate) async fn list(call: &Call, target: &Target) -> Answer {
    let form = form::wanted(call, target, Some(&target.resource.list_kind))?;
    let mut filter = Filter::new(target, &call.query)?;
    // What depends on the version is looked at in the converted objects; a page may then be short.
    let mut by_value = None;
    if !filter.is_everything() && !conversion::selects_as_stored(&target.resource) {
        let of_place = filter.of_place();
        by_value = Some(std::mem::replace(&mut filter, of_place));
    }
    let page = page(call, target)?;
    let (items, more) = select(
        &page.state,
        target,
        &filter,
        page.after.as_deref(),
        page.limit,
    );
    let mut metadata = json!({"resourceVersion": page.state.revision().to_string()});
    if let (true, Some(last)) = (more, items.last()) {
        let (table, now) = (&target.resource.table, call.core.clock.monotonic());
        call.core.pages.hold(table, &page.state, now);
        let token = Continue {
            revision: Some(page.state.revision()),
            after: last.key.to_string(),
        };
        metadata["continue"] = token.encode().into();
        if filter.is_everything() {
            let rest = page
                .state
                .range(&target.resource.table, &target.namespace, Some(&last.key))
                .count();
            metadata["remainingItemCount"] = rest.into();
        }
    }
    let resource = &target.resource;
    let as_stored = |rec: &Arc<Rec>| conversion::is_as_stored(resource, rec);
    if by_value.is_none() && form.form == Form::Object && items.iter().all(as_stored) {
        let metadata = form::list_metadata(resource, metadata);
        return Ok(list_bytes::answer(resource, form.media, &metadata, items).await);
    }
    let objects = items.iter().map(|rec| record::decode(rec)).collect();
    let mut objects = conversion::show_all(&call.core, resource, objects).await?;
    if let Some(filter) = by_value {
        objects.retain(|object| filter.matches_shown(object));
    }
    Ok(body::json(
        200,
        &form::many(call, target, form, objects, metadata),
    ))
}
