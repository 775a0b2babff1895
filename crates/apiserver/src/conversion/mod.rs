//! Between the versions of a custom resource: the stored one, and those that are served.
//!
//! An object is kept in the version that was the storage version when it was written last. Every
//! other reader gets it converted, by renaming (`None`) or by the definition's webhook. Before
//! that, what was written before the definition changed is pruned and defaulted by the present
//! schema of the version it is stored in; after it, it is pruned by that of the version shown.
//! Built-in kinds are converted by [`crate::form`].

mod review;

use crate::core::Core;
use crate::form;
use crate::kinds::{Custom, Resource};
use crate::outbound;
use crate::record;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_api::schema::Schema;
use towpath_api::status::{self, Failure};
use towpath_api::{defaults, facts, unknown};
use towpath_store::Rec;

const TIMEOUT: Duration = Duration::from_secs(30);
const AGENT: &str = "kube-apiserver-conversion";
/// Largest answer.
const ANSWER_BYTES: usize = 16 << 20;
/// Most objects and bytes of one question.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 4 << 20;

/// How one definition's objects get from version to version.
pub(crate) struct Conversion {
    pub(crate) group: String,
    /// Schemas of all versions, also of those that are not served.
    pub(crate) schemas: BTreeMap<String, Arc<Schema>>,
    /// Without one, only the name of the version changes.
    pub(crate) webhook: Option<Webhook>,
}

/// Who converts.
pub(crate) struct Webhook {
    pub(crate) client: Value,
    pub(crate) reviews: Vec<String>,
}

impl Conversion {
    /// Reads a definition.
    pub(crate) fn of(definition: &Value) -> Self {
        let spec = &definition["spec"];
        let versions = spec["versions"].as_array().into_iter().flatten();
        let schema = |version: &Value| {
            let schema = Schema::from_crd(&version["schema"]["openAPIV3Schema"]).ok()?;
            Some((version["name"].as_str()?.to_string(), Arc::new(schema)))
        };
        let conversion = &spec["conversion"];
        let reviews = conversion["webhook"]["conversionReviewVersions"].as_array();
        let webhook = (conversion["strategy"] == "Webhook").then(|| Webhook {
            client: conversion["webhook"]["clientConfig"].clone(),
            reviews: reviews
                .into_iter()
                .flatten()
                .filter_map(|version| version.as_str().map(str::to_string))
                .collect(),
        });
        Self {
            group: spec["group"].as_str().unwrap_or_default().into(),
            schemas: versions.filter_map(schema).collect(),
            webhook,
        }
    }
}

/// Whether stored bytes are what the resource's clients see.
pub(crate) fn is_as_stored(resource: &Resource, rec: &Rec) -> bool {
    let current = |custom: &Arc<Custom>| rec.revision > custom.since;
    resource.is_stored_form() && resource.custom.as_ref().is_none_or(current)
}

/// Whether a stored object's own labels and fields tell what a selector of the resource finds.
pub(crate) fn selects_as_stored(resource: &Resource) -> bool {
    match &resource.custom {
        None => true,
        Some(custom) => {
            resource.is_stored_form() && custom.since == 0 || custom.conversion.webhook.is_none()
        }
    }
}

/// A stored object in the version of a resource.
pub(crate) async fn show(core: &Core, resource: &Resource, rec: &Rec) -> Result<Value, Failure> {
    show_at(core, resource, rec, rec.revision).await
}

/// The same at another revision.
pub(crate) async fn show_at(
    core: &Core,
    resource: &Resource,
    rec: &Rec,
    revision: u64,
) -> Result<Value, Failure> {
    let object = record::decode_at(rec, revision);
    let mut shown = show_all(core, resource, vec![object]).await?;
    shown.pop().ok_or_else(|| status::internal("no object"))
}

/// Stored objects in the version of a resource.
pub(crate) async fn show_all(
    core: &Core,
    resource: &Resource,
    objects: Vec<Value>,
) -> Result<Vec<Value>, Failure> {
    let Some(custom) = &resource.custom else {
        let show = |object| form::serve_version(resource, object);
        return Ok(objects.into_iter().map(show).collect());
    };
    let mut objects = objects;
    for object in &mut objects {
        complete(&custom.conversion, object);
    }
    let conversion = &custom.conversion;
    let mut objects = convert(core, conversion, &resource.version, objects).await?;
    for object in &mut objects {
        unknown::prune(&custom.schema, object);
    }
    Ok(objects)
}

// What is read is pruned and defaulted in the version it is stored in; what a conversion leaves
// out stays out.
fn complete(conversion: &Conversion, object: &mut Value) {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (_, version) = facts::split_api_version(api_version);
    if let Some(schema) = conversion.schemas.get(version) {
        unknown::prune(schema, object);
        defaults::custom(schema, object);
    }
}

/// An object in the version of a resource, in its stored form.
pub(crate) async fn store(
    core: &Core,
    resource: &Resource,
    object: &mut Value,
) -> Result<(), Failure> {
    let Some(custom) = &resource.custom else {
        crate::model::to_stored(resource, object);
        return Ok(());
    };
    if resource.is_stored_form() {
        return Ok(());
    }
    let version = &resource.stored_as.1;
    *object = between(core, &custom.conversion, version, object.take()).await?;
    // Stored as it will be shown.
    complete(&custom.conversion, object);
    Ok(())
}

/// One object in another version.
pub(crate) async fn between(
    core: &Core,
    conversion: &Conversion,
    version: &str,
    object: Value,
) -> Result<Value, Failure> {
    let mut converted = convert(core, conversion, version, vec![object]).await?;
    let converted = converted.pop();
    converted.ok_or_else(|| status::internal("no object"))
}

async fn convert(
    core: &Core,
    conversion: &Conversion,
    version: &str,
    mut objects: Vec<Value>,
) -> Result<Vec<Value>, Failure> {
    let wanted = facts::api_version(&conversion.group, version);
    let other = |object: &Value| object["apiVersion"] != wanted.as_str();
    let Some(webhook) = &conversion.webhook else {
        for object in objects.iter_mut().filter(|object| other(object)) {
            object["apiVersion"] = wanted.clone().into();
        }
        return Ok(objects);
    };
    let places: Vec<usize> = (0..objects.len())
        .filter(|at| other(&objects[*at]))
        .collect();
    let (mut rest, mut size) = (places.as_slice(), 0);
    while !rest.is_empty() {
        let count = rest
            .iter()
            .take(BATCH)
            .take_while(|at| {
                size += objects[**at].to_string().len();
                size <= BATCH_BYTES
            })
            .count();
        let (now, later) = rest.split_at(count.max(1));
        let asked: Vec<&Value> = now.iter().map(|at| &objects[*at]).collect();
        let converted = ask(core, webhook, &wanted, &asked).await;
        let converted = converted.map_err(status::untold)?;
        for (at, object) in now.iter().zip(converted) {
            objects[*at] = object;
        }
        (rest, size) = (later, 0);
    }
    Ok(objects)
}

// Asks the webhook once; its objects come back in the order of the question.
async fn ask(
    core: &Core,
    webhook: &Webhook,
    wanted: &str,
    objects: &[&Value],
) -> Result<Vec<Value>, String> {
    let Some(first) = objects.first() else {
        return Ok(Vec::new());
    };
    let kind = review::kind(first);
    let version = review::version(&webhook.reviews)
        .ok_or_else(|| "no supported conversion review versions".to_string())?;
    let uid = towpath_stdx::id::uuid(&*core.random);
    let question = review::question(version, &uid, wanted, objects);
    let body = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    let failed = |why: String| format!("conversion webhook for {kind} failed: {why}");
    let asked = async {
        let state = core.store.snapshot();
        let place = outbound::place(&state, &webhook.client, TIMEOUT)?;
        let config = outbound::tls(&webhook.client["caBundle"], None)?;
        outbound::post(&place, config, AGENT, body, ANSWER_BYTES).await
    };
    let bytes = match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(failed)?,
        Err(_) => return Err(failed("context deadline exceeded".into())),
    };
    let converted = review::answer(version, &uid, &bytes).map_err(failed)?;
    if converted.len() != objects.len() {
        return Err(format!(
            "conversion webhook for {kind} returned {} objects, expected {}",
            converted.len(),
            objects.len()
        ));
    }
    let many = objects.len() > 1;
    let mut all = Vec::with_capacity(converted.len());
    for (index, (original, mut object)) in objects.iter().zip(converted).enumerate() {
        let at = format!("at index {index}");
        let (word, of) = match many {
            true => (
                format!("converted object {at}"),
                format!("metadata in object {at}"),
            ),
            false => ("object".to_string(), "metadata".to_string()),
        };
        review::typed(original, &object, wanted).map_err(|why| {
            let word = if many { &word } else { "object at index 0" };
            format!("conversion webhook for {kind} returned invalid {word}: {why}")
        })?;
        review::same(original, &object).map_err(|why| {
            format!("conversion webhook for {kind} returned invalid {word}: {why}")
        })?;
        review::restore(original, &mut object)
            .map_err(|why| format!("conversion webhook for {kind} returned invalid {of}: {why}"))?;
        all.push(object);
    }
    Ok(all)
}
