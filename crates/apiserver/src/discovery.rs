//! What is served, for clients to find out: the legacy lists and the aggregated document.

use crate::accept;
use crate::aggregation;
use crate::body::{self, Answer};
use crate::core::Call;
use crate::kinds::{Group, Kinds, Resource};
use crate::openapi::tagged;
use http::header::ACCEPT;
use serde_json::{Value, json};
use towpath_api::facts::{api_version, catalog};
use towpath_api::status;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

pub(crate) fn serve(call: &Call, parts: &[String]) -> Answer {
    accept::discovery(call.header(ACCEPT))?;
    let kinds = call.core.kinds.load();
    let wants_aggregated = call.header(ACCEPT).contains("APIGroupDiscoveryList")
        && call.header(ACCEPT).contains("v=v2");
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api"] if wants_aggregated => aggregated(call, &kinds, true),
        ["apis"] if wants_aggregated => aggregated(call, &kinds, false),
        ["api"] => Ok(body::json(
            200,
            &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        )),
        ["apis"] => {
            let groups = aggregation::groups(&call.core, &kinds);
            let groups: Vec<Value> = groups
                .iter()
                .filter(|g| !g.name.is_empty())
                .map(group)
                .collect();
            Ok(body::json(
                200,
                &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
            ))
        }
        ["api", version] => resources(call, &kinds, "", version),
        ["apis", name] => match aggregation::groups(&call.core, &kinds)
            .iter()
            .find(|group| group.name == *name)
        {
            Some(found) => {
                let mut value = group(found);
                value["kind"] = "APIGroup".into();
                value["apiVersion"] = "v1".into();
                Ok(body::json(200, &value))
            }
            None => nothing(call),
        },
        ["apis", group, version] => resources(call, &kinds, group, version),
        _ => nothing(call),
    }
}

/// Nothing is there: told as a Status where a built-in group is asked for, else in plain text.
pub(crate) fn nothing(call: &Call) -> Answer {
    let mut parts = call.path.split('/').skip(1);
    let own = match (parts.next(), parts.next()) {
        (Some("api"), Some(_)) => true,
        (Some("apis"), Some(name)) => catalog().groups.iter().any(|group| group.name == name),
        _ => false,
    };
    match own {
        true => Err(status::no_such_resource()),
        false => Ok(body::text(404, "404 page not found\n")),
    }
}

fn group(group: &Group) -> Value {
    let version = |v: &String| json!({"groupVersion": api_version(&group.name, v), "version": v});
    json!({
        "name": group.name,
        "versions": group.versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": group.versions.first().map(version),
    })
}

fn resources(call: &Call, kinds: &Kinds, group: &str, version: &str) -> Answer {
    if !kinds
        .group(group)
        .is_some_and(|g| g.versions.iter().any(|v| v == version))
    {
        return nothing(call);
    }
    let mut list = Vec::new();
    for resource in kinds.of(group, version) {
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs(resource),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = resource.short_names.clone().into();
        }
        if !resource.categories.is_empty() {
            entry["categories"] = resource.categories.clone().into();
        }
        if !resource.storage_hash.is_empty() {
            entry["storageVersionHash"] = resource.storage_hash.clone().into();
        }
        list.push(entry);
        for sub in &resource.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, sub.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": sub.kind,
                "verbs": sub.verbs,
            });
            if sub.foreign {
                entry["group"] = sub.group.clone().into();
                entry["version"] = sub.version.clone().into();
            }
            list.push(entry);
        }
    }
    let value = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version), "resources": list});
    Ok(body::json(200, &value))
}

fn aggregated(call: &Call, kinds: &Kinds, core: bool) -> Answer {
    let mut items = Vec::new();
    let groups = aggregation::groups(&call.core, kinds);
    for group in groups.iter().filter(|g| g.name.is_empty() == core) {
        let versions: Vec<Value> = group
            .versions
            .iter()
            .map(|version| {
                if let Some(theirs) = aggregation::aggregated(&call.core, &group.name, version) {
                    return theirs;
                }
                let resources: Vec<Value> = kinds
                    .of(&group.name, version)
                    .map(|r| aggregated_resource(r))
                    .collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            })
            .collect();
        let metadata = if core {
            json!({"creationTimestamp": null})
        } else {
            json!({"name": group.name, "creationTimestamp": null})
        };
        items.push(json!({"metadata": metadata, "versions": versions}));
    }
    let value = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    tagged(
        call,
        AGGREGATED,
        serde_json::to_vec(&value).unwrap_or_default(),
    )
}

// A definition that is being deleted takes nothing new.
fn verbs(resource: &Resource) -> Vec<&str> {
    let ending = resource.custom.as_ref().is_some_and(|custom| custom.ending);
    let verbs = resource.verbs.iter().map(String::as_str);
    verbs
        .filter(|verb| !ending || !matches!(*verb, "create" | "update" | "patch"))
        .collect()
}

fn aggregated_resource(resource: &Resource) -> Value {
    let scope = if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": scope,
        "singularResource": resource.singular,
        "verbs": verbs(resource),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    if !resource.subresources.is_empty() {
        let subs = resource.subresources.iter().map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sub.verbs,
            })
        });
        entry["subresources"] = subs.collect::<Vec<_>>().into();
    }
    entry
}
