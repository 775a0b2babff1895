//! OpenAPI documents made from the schema tables: v3 per group and version, v2 as one.
//!
//! They carry shapes, types, merge rules and defaults, and for each resource the operations and
//! parameters that clients look for (`kubectl` reads them for `explain`, for the patch it computes
//! on the client side, and to learn that dry run and field validation are supported). Descriptions
//! exist only for custom resources, whose authors wrote them.

mod components;
pub mod gnostic;
mod paths;
mod words;

use crate::facts::{api_version, catalog};
use crate::schema::definitions_of;
use components::{Components, Form};
use serde_json::{Map, Value, json};

/// A custom resource in one served version.
#[derive(Debug, Clone)]
pub struct Custom<'a> {
    /// API group.
    pub group: &'a str,
    /// Served version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Kind of a list.
    pub list_kind: &'a str,
    /// Plural name.
    pub plural: &'a str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// `openAPIV3Schema` of the version, or `null`.
    pub schema: &'a Value,
    /// Whether there is a `status` path.
    pub status: bool,
    /// Whether there is a `scale` path.
    pub scale: bool,
}

/// The v3 document of one group and version, with the built-in resources and the custom ones that
/// belong to it.
pub fn v3(group: &str, version: &str, custom: &[Custom<'_>]) -> Value {
    let mut components = Components::new(Form::V3);
    let mut paths = Map::new();
    add(group, version, custom, &mut components, &mut paths);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": crate::facts::KUBERNETES_VERSION},
        "paths": paths,
        "components": {
            "schemas": components.finish(),
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        },
    })
}

/// The v2 document of everything.
pub fn v2(custom: &[Custom<'_>]) -> Value {
    let mut components = Components::new(Form::V2);
    let mut paths = Map::new();
    for group in &catalog().groups {
        for version in &group.versions {
            add(group.name, version, &[], &mut components, &mut paths);
        }
    }
    let mut extra: Vec<(&str, &str)> = custom.iter().map(|c| (c.group, c.version)).collect();
    extra.sort_unstable();
    extra.dedup();
    for (group, version) in extra {
        add(group, version, custom, &mut components, &mut paths);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": crate::facts::KUBERNETES_VERSION},
        "paths": paths,
        "definitions": components.finish(),
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    })
}

fn add(
    group: &str,
    version: &str,
    custom: &[Custom<'_>],
    components: &mut Components,
    paths: &mut Map<String, Value>,
) {
    let root = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    for (name, _) in definitions_of(group, version) {
        components.builtin(name);
    }
    for resource in catalog().of(group, version) {
        let schema = crate::schema::builtin(group, version, resource.kind);
        let Some(definition) = schema.map(|schema| format!("io.k8s.{}", schema.name)) else {
            continue;
        };
        if resource.has_verb("list") {
            components.list(&definition, group, version, &resource.list_kind);
        }
        let gvk = json!({"group": group, "version": version, "kind": resource.kind});
        let entry = paths::Entry {
            root: &root,
            plural: resource.plural,
            namespaced: resource.namespaced,
            definition: &definition,
            list: format!("{definition}List"),
            gvk: &gvk,
            verbs: &resource.verbs,
            strategic: true,
        };
        paths::resource(&entry, components, paths);
        for sub in &resource.subresources {
            let kind = json!({"group": sub.group, "version": sub.version, "kind": sub.kind});
            let known = crate::schema::builtin(sub.group, sub.version, sub.kind);
            let definition = known.map(|schema| format!("io.k8s.{}", schema.name));
            if let Some(definition) = &definition {
                components.builtin(definition.trim_start_matches("io.k8s."));
            }
            paths::subresource(
                &entry,
                sub.name,
                &kind,
                definition.as_deref(),
                &sub.verbs,
                components,
                paths,
            );
        }
    }
    for resource in custom
        .iter()
        .filter(|c| c.group == group && c.version == version)
    {
        add_custom(&root, resource, components, paths);
    }
}

fn add_custom(
    root: &str,
    resource: &Custom<'_>,
    components: &mut Components,
    paths: &mut Map<String, Value>,
) {
    let definition = components.custom(resource);
    components.list(
        &definition,
        resource.group,
        resource.version,
        resource.list_kind,
    );
    let gvk = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let entry = paths::Entry {
        root,
        plural: resource.plural,
        namespaced: resource.namespaced,
        definition: &definition,
        list: format!("{definition}List"),
        gvk: &gvk,
        verbs: &crate::facts::VERBS,
        strategic: false,
    };
    paths::resource(&entry, components, paths);
    let verbs = ["get", "patch", "update"];
    if resource.status {
        paths::subresource(
            &entry,
            "status",
            &gvk,
            Some(&definition),
            &verbs,
            components,
            paths,
        );
    }
    if resource.scale {
        components.builtin("api.autoscaling.v1.Scale");
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        let definition = Some("io.k8s.api.autoscaling.v1.Scale");
        paths::subresource(
            &entry, "scale", &scale, definition, &verbs, components, paths,
        );
    }
}

/// Paths of the index of v3 documents for the built-in groups: `api/v1`, `apis/apps/v1`, ...
pub fn v3_index() -> Vec<(String, &'static str, &'static str)> {
    let versions = |group: &'static crate::facts::Group| {
        group.versions.iter().map(|version| (group.name, *version))
    };
    catalog()
        .groups
        .iter()
        .flat_map(versions)
        .map(|(group, version)| {
            let prefix = if group.is_empty() { "api/" } else { "apis/" };
            (
                format!("{prefix}{}", api_version(group, version)),
                group,
                version,
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_string));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_document_is_closed() {
        for (path, group, version) in v3_index() {
            let document = v3(group, version, &[]);
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty(), "{path}");
            for reference in found {
                let name = reference.strip_prefix("#/components/schemas/").unwrap();
                assert!(
                    document["components"]["schemas"].get(name).is_some(),
                    "{path}: {name}"
                );
            }
        }
    }

    #[test]
    fn has_what_kubectl_looks_for() {
        let document = v3("apps", "v1", &[]);
        let patch =
            &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"]["kind"],
            "Deployment"
        );
        assert!(
            patch["requestBody"]["content"]
                .get("application/strategic-merge-patch+json")
                .is_some()
        );
        let names: Vec<&Value> = patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| &p["name"])
            .collect();
        assert!(names.contains(&&json!("dryRun")) && names.contains(&&json!("fieldValidation")));
        let deployment = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(
            deployment["x-kubernetes-group-version-kind"][0]["kind"],
            "Deployment"
        );
        let spec = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(
            (&spec["x-kubernetes-patch-merge-key"], &spec["type"]),
            (&json!("name"), &json!("array"))
        );
    }

    #[test]
    fn custom_resources_are_published() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "description": "what",
            "properties": {"n": {"type": "integer", "minimum": 1}}}}});
        let custom = Custom {
            group: "towpath.dev",
            version: "v1",
            kind: "Run",
            list_kind: "RunList",
            plural: "runs",
            namespaced: true,
            schema: &schema,
            status: true,
            scale: false,
        };
        let document = v3("towpath.dev", "v1", std::slice::from_ref(&custom));
        let run = &document["components"]["schemas"]["dev.towpath.v1.Run"];
        assert_eq!(run["properties"]["spec"]["description"], "what");
        assert!(run["properties"]["metadata"]["allOf"][0]["$ref"].is_string());
        assert!(
            document["paths"]
                .get("/apis/towpath.dev/v1/namespaces/{namespace}/runs/{name}/status")
                .is_some()
        );
        let whole = v2(&[custom]);
        assert!(whole["definitions"].get("dev.towpath.v1.Run").is_some());
        assert!(whole["definitions"].get("io.k8s.api.core.v1.Pod").is_some());
    }
}
