//! Definitions of custom resources: checked when written, served from the same moment on.

mod names;
mod terminate;

use crate::admission::Change;
use crate::conversion::Conversion;
use crate::core::Core;
use crate::kinds::{Custom, Kinds, Resource, Subresource, table, version_rank};
use crate::metrics;
use crate::record;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};
pub(crate) use terminate::{mark, run};
use towpath_api::field::FieldError;
use towpath_api::scale;
use towpath_api::status::{self, Failure};
use towpath_store::{Rec, Snapshot, Table};

const TABLE: &str = "apiextensions.k8s.io/customresourcedefinitions";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_string))
        .collect()
}

/// Completes and checks a definition; it is established at once.
pub(crate) fn admit(change: &Change<'_>, new: &mut Value) -> Result<(), Failure> {
    if !new["spec"]["names"].is_object() {
        let error = FieldError::required("spec.names", "");
        let name = text(&new["metadata"], "name");
        return Err(status::invalid(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            name,
            &[error],
        ));
    }
    let spec = &mut new["spec"];
    let kind = text(&spec["names"], "kind").to_string();
    if text(&spec["names"], "singular").is_empty() {
        spec["names"]["singular"] = kind.to_lowercase().into();
    }
    if text(&spec["names"], "listKind").is_empty() {
        spec["names"]["listKind"] = format!("{kind}List").into();
    }
    if spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
    // Of its status only the list of stored versions follows from what a client writes.
    let old = change.old.map(|old| old["status"].clone());
    new["status"] = old.filter(Value::is_object).unwrap_or_else(|| json!({}));
    let mut stored = texts(&new["status"]["storedVersions"]);
    let versions = new["spec"]["versions"].as_array().into_iter().flatten();
    for version in versions.filter(|v| v["storage"] == true) {
        let version = text(version, "name").to_string();
        if !stored.contains(&version) {
            stored.push(version);
        }
    }
    new["status"]["storedVersions"] = stored.into();
    settle_names(change.state, new, &change.call.core.clock.rfc3339());
    Ok(())
}

/// Gives a definition the names that no other of its group holds.
fn settle_names(state: &Snapshot, definition: &mut Value, now: &str) {
    let mut taken = names::Taken::default();
    for rec in state.table(TABLE).values() {
        let other = record::decode(rec);
        let is_own = other["metadata"]["name"] == definition["metadata"]["name"];
        if !is_own && other["spec"]["group"] == definition["spec"]["group"] {
            taken.add(&other);
        }
    }
    let bundle = &definition["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"];
    let served = bundle.is_null() || crate::outbound::tls(bundle, None).is_ok();
    names::settle(definition, &taken, served, now);
}

/// Table of a definition's objects.
fn table_of(definition: &Value) -> Arc<str> {
    let spec = &definition["spec"];
    table(text(spec, "group"), text(&spec["names"], "plural"))
}

/// Resources of one definition, where its names are accepted.
fn resources(definition: &Value) -> Vec<Arc<Resource>> {
    let conversion = Arc::new(Conversion::of(definition));
    if !names::is(definition, "Established") {
        return Vec::new();
    }
    let spec = &definition["spec"];
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut indexed: Vec<String> = versions.iter().flat_map(selectable).collect();
    indexed.sort();
    indexed.dedup();
    let indexed: Arc<[String]> = indexed.into();
    let storage = versions
        .iter()
        .find(|v| v["storage"] == true)
        .map(|v| text(v, "name"))
        .unwrap_or_default();
    let mut served: Vec<&Value> = versions.iter().filter(|v| v["served"] == true).collect();
    served.sort_by_key(|version| Reverse(version_rank(text(version, "name"))));
    served
        .into_iter()
        .filter_map(|version| resource(definition, version, storage, (&conversion, &indexed)))
        .map(Arc::new)
        .collect()
}

fn selectable(version: &Value) -> Vec<String> {
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    fields
        .filter_map(|field| field["jsonPath"].as_str().map(str::to_string))
        .collect()
}

fn resource(
    definition: &Value,
    version: &Value,
    storage: &str,
    (conversion, indexed): (&Arc<Conversion>, &Arc<[String]>),
) -> Option<Resource> {
    let spec = &definition["spec"];
    let (group, names) = (text(spec, "group"), &definition["status"]["acceptedNames"]);
    let source = version["schema"]["openAPIV3Schema"].clone();
    let version_name = text(version, "name");
    let schema = conversion.schemas.get(version_name)?.clone();
    // As long as the definition is the first, all objects were written by it.
    let first = definition["metadata"]["generation"] == 1;
    let revision = text(&definition["metadata"], "resourceVersion");
    let since = match first {
        true => 0,
        false => revision.parse().unwrap_or(u64::MAX),
    };
    let sub = |name: &str, foreign: Option<(&str, &str, &str)>| {
        let (group, version, kind) = foreign.unwrap_or((group, version_name, text(names, "kind")));
        Subresource {
            name: name.into(),
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            foreign: foreign.is_some(),
            verbs: ["get", "patch", "update"].map(str::to_string).to_vec(),
        }
    };
    let status = version["subresources"]["status"].is_object();
    let scale = scale::custom(&version["subresources"]["scale"]);
    let mut subresources = Vec::new();
    if scale.is_some() {
        subresources.push(sub("scale", Some(("autoscaling", "v1", "Scale"))));
    }
    if status {
        subresources.push(sub("status", None));
    }
    let custom = Custom {
        schema,
        conversion: conversion.clone(),
        ending: names::is(definition, "Terminating"),
        since,
        generation: definition["metadata"]["generation"].as_i64().unwrap_or(0),
        source,
        rules: OnceLock::new(),
        columns: version["additionalPrinterColumns"].clone(),
        status,
        scale,
        selectable: selectable(version),
        indexed: indexed.clone(),
    };
    Some(Resource {
        group: group.into(),
        version: version_name.into(),
        kind: text(names, "kind").into(),
        list_kind: text(names, "listKind").into(),
        plural: text(names, "plural").into(),
        singular: text(names, "singular").into(),
        namespaced: text(spec, "scope") == "Namespaced",
        verbs: towpath_api::facts::VERBS.map(str::to_string).to_vec(),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        storage_hash: String::new(),
        subresources,
        table: table(group, text(names, "plural")),
        stored_as: (group.into(), storage.into()),
        custom: Some(Arc::new(custom)),
    })
}

/// Serves what the stored definitions say now; tells whether that was not so already.
pub(crate) fn catch_up(core: &Core) -> bool {
    let mut known = core.definitions.lock();
    let state = core.store.snapshot();
    let now = state.table(TABLE);
    if known.ptr_eq(&now) || known.is_empty() && now.is_empty() {
        return false;
    }
    *known = now;
    serve(core, &known);
    true
}

/// Serves the same again, because something beside the definitions has changed.
pub(crate) fn rebuild(core: &Core) {
    let known = core.definitions.lock();
    serve(core, &known);
}

fn serve(core: &Core, definitions: &Table) {
    let read = |rec: &Arc<Rec>| (rec.name().to_string(), resources(&record::decode(rec)));
    let custom = definitions.values().map(read).collect();
    let further = match *core.figures.read() {
        Some(_) => metrics::resources(),
        None => Vec::new(),
    };
    core.kinds.store(Arc::new(Kinds::with(&custom, &further)));
    core.served.send_replace(());
}

/// Keeps the served resources in step with the definitions.
pub(crate) fn after(core: &Core, resource: &Resource) {
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        catch_up(core);
    }
}
