//! What other servers serve, in our lists: groups, resources and documents.

use super::{Service, register, remotes};
use crate::core::Core;
use crate::kinds::{Group, Kinds, version_rank};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_api::facts::api_version;

/// The versions of a group in which other servers answer, the preferred first.
fn versions(core: &Core) -> BTreeMap<String, Vec<Arc<Service>>> {
    let mut groups: BTreeMap<String, Vec<Arc<Service>>> = BTreeMap::new();
    for service in remotes(core).values() {
        let group = groups.entry(service.group.clone()).or_default();
        group.push(service.clone());
    }
    for services in groups.values_mut() {
        services.sort_by_key(|s| {
            (
                Reverse(s.version_priority),
                Reverse(version_rank(&s.version)),
            )
        });
    }
    groups
}

/// All groups, ours and those of others, in the order of their priorities. Of a group that both
/// have, versions of others come first.
pub(crate) fn groups(core: &Core, kinds: &Kinds) -> Vec<Group> {
    let mut all = kinds.groups.clone();
    for (name, services) in versions(core) {
        let mut versions: Vec<String> = services.iter().map(|s| s.version.clone()).collect();
        if let Some(own) = all.iter_mut().find(|group| group.name == name) {
            let further = own.versions.iter().filter(|v| !versions.contains(v));
            let further: Vec<String> = further.cloned().collect();
            versions.extend(further);
            own.versions = versions;
            continue;
        }
        let priority = services.iter().map(|s| s.group_priority).max().unwrap_or(0);
        let later = |group: &Group| {
            let version = group.versions.first().map_or("", String::as_str);
            register::priority(&group.name, version).0 < priority
        };
        let at = all.iter().position(later).unwrap_or(all.len());
        all.insert(at, Group { name, versions });
    }
    all
}

/// The resource list of another server, as it told it last.
fn resources(core: &Core, service: &Service) -> Option<Arc<Value>> {
    core.aggregation.told.lock().get(&service.name).cloned()
}

/// One version of another server for the aggregated document.
pub(crate) fn aggregated(core: &Core, group: &str, version: &str) -> Option<Value> {
    let remotes = remotes(core);
    let service = remotes.get(&(group.to_string(), version.to_string()))?;
    let list = resources(core, service).unwrap_or_default();
    let freshness = if service.available {
        "Current"
    } else {
        "Stale"
    };
    let mut out: Vec<Value> = Vec::new();
    let entries = list["resources"].as_array().into_iter().flatten();
    for entry in entries {
        let name = entry["name"].as_str().unwrap_or_default();
        let text = |key: &str, other: &str| {
            let given = entry[key].as_str().filter(|given| !given.is_empty());
            given.unwrap_or(other).to_string()
        };
        let kind = json!({
            "group": text("group", group), "version": text("version", version), "kind": entry["kind"],
        });
        match name.split_once('/') {
            None => {
                let scope = if entry["namespaced"] == true {
                    "Namespaced"
                } else {
                    "Cluster"
                };
                let mut resource = json!({
                    "resource": name, "responseKind": kind, "scope": scope,
                    "singularResource": entry["singularName"], "verbs": entry["verbs"],
                });
                for key in ["shortNames", "categories"] {
                    if entry[key].is_array() {
                        resource[key] = entry[key].clone();
                    }
                }
                out.push(resource);
            }
            Some((parent, part)) => {
                let of = out.iter_mut().find(|r| r["resource"] == parent);
                if let Some(parent) = of {
                    let part =
                        json!({"subresource": part, "responseKind": kind, "verbs": entry["verbs"]});
                    match parent["subresources"].as_array_mut() {
                        Some(parts) => parts.push(part),
                        None => parent["subresources"] = json!([part]),
                    }
                }
            }
        }
    }
    Some(json!({"version": version, "resources": out, "freshness": freshness}))
}

/// Paths of documents of other servers that answer.
pub(crate) fn openapi_paths(core: &Core) -> Vec<String> {
    let remotes = remotes(core);
    let available = remotes.values().filter(|service| service.available);
    available
        .map(|service| format!("apis/{}", api_version(&service.group, &service.version)))
        .collect()
}
