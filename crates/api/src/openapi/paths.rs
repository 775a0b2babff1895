//! Paths, operations and parameters of a resource.

use super::components::{Components, Form};
use serde_json::{Map, Value, json};

/// What is common to all operations of one resource.
pub(super) struct Entry<'a> {
    pub(super) root: &'a str,
    pub(super) plural: &'a str,
    pub(super) namespaced: bool,
    pub(super) definition: &'a str,
    pub(super) list: String,
    pub(super) gvk: &'a Value,
    pub(super) verbs: &'a [&'static str],
    pub(super) strategic: bool,
}

impl Entry<'_> {
    fn collection(&self) -> String {
        let scope = if self.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        format!("{}{scope}/{}", self.root, self.plural)
    }

    fn has(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

/// Adds the collection and the item of a resource.
pub(super) fn resource(
    entry: &Entry<'_>,
    components: &mut Components,
    paths: &mut Map<String, Value>,
) {
    components.builtin("apimachinery.pkg.apis.meta.v1.Status");
    components.builtin("apimachinery.pkg.apis.meta.v1.Patch");
    components.builtin("apimachinery.pkg.apis.meta.v1.DeleteOptions");
    let make = Maker {
        components,
        gvk: entry.gvk,
        strategic: entry.strategic,
    };
    let (item, status) = (
        entry.definition,
        "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    );
    let mut collection = Map::new();
    if entry.has("list") {
        collection.insert("get".into(), make.operation("list", &entry.list, &LIST));
    }
    if entry.has("create") {
        collection.insert("post".into(), make.with_body("post", item, item, &WRITE));
    }
    if entry.has("deletecollection") {
        collection.insert(
            "delete".into(),
            make.operation("deletecollection", status, &DELETE_ALL),
        );
    }
    if !collection.is_empty() {
        collection.insert(
            "parameters".into(),
            path_parameters(components.form(), entry.namespaced, false),
        );
        paths.insert(entry.collection(), Value::Object(collection));
    }
    let make = Maker {
        components,
        gvk: entry.gvk,
        strategic: entry.strategic,
    };
    let mut single = item_operations(&make, item, entry.verbs);
    if entry.has("delete") {
        let options = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
        single.insert(
            "delete".into(),
            make.with_body("delete", options, status, &DELETE),
        );
    }
    if !single.is_empty() {
        single.insert(
            "parameters".into(),
            path_parameters(components.form(), entry.namespaced, true),
        );
        paths.insert(
            format!("{}/{{name}}", entry.collection()),
            Value::Object(single),
        );
    }
    if entry.namespaced && entry.has("list") {
        let make = Maker {
            components,
            gvk: entry.gvk,
            strategic: entry.strategic,
        };
        let all = json!({"get": make.operation("list", &entry.list, &LIST)});
        paths.insert(format!("{}/{}", entry.root, entry.plural), all);
    }
}

/// Adds a subresource of an item.
pub(super) fn subresource(
    entry: &Entry<'_>,
    name: &str,
    gvk: &Value,
    definition: Option<&str>,
    verbs: &[&'static str],
    components: &mut Components,
    paths: &mut Map<String, Value>,
) {
    let make = Maker {
        components,
        gvk,
        strategic: entry.strategic,
    };
    let mut operations = Map::new();
    match definition {
        Some(definition) if name != "log" => {
            operations = item_operations(&make, definition, verbs);
            if verbs.contains(&"create") {
                operations.insert(
                    "post".into(),
                    make.with_body("post", definition, definition, &WRITE),
                );
            }
        }
        _ => {
            let action = if name == "log" { "get" } else { "connect" };
            for (verb, method) in [("get", "get"), ("create", "post")] {
                if verbs.contains(&verb) {
                    operations.insert(
                        method.into(),
                        json!({"responses": {"200": {"description": "OK"}},
                        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk}),
                    );
                }
            }
        }
    }
    operations.insert(
        "parameters".into(),
        path_parameters(components.form(), entry.namespaced, true),
    );
    paths.insert(
        format!("{}/{{name}}/{name}", entry.collection()),
        Value::Object(operations),
    );
}

fn item_operations(
    make: &Maker<'_>,
    definition: &str,
    verbs: &[&'static str],
) -> Map<String, Value> {
    let mut operations = Map::new();
    if verbs.contains(&"get") {
        operations.insert("get".into(), make.operation("get", definition, &[]));
    }
    if verbs.contains(&"update") {
        operations.insert(
            "put".into(),
            make.with_body("put", definition, definition, &WRITE),
        );
    }
    if verbs.contains(&"patch") {
        operations.insert("patch".into(), make.patch(definition));
    }
    operations
}

type Parameters = [(&'static str, &'static str)];

const WRITE: [(&str, &str); 3] = [
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];
const PATCH: [(&str, &str); 4] = [
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];
const DELETE: [(&str, &str); 4] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LIST: [(&str, &str); 10] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const DELETE_ALL: [(&str, &str); 6] = [
    ("dryRun", "string"),
    ("fieldSelector", "string"),
    ("gracePeriodSeconds", "integer"),
    ("labelSelector", "string"),
    ("propagationPolicy", "string"),
    ("resourceVersion", "string"),
];

fn parameter(form: Form, name: &str, place: &str, kind: &str) -> Value {
    let mut parameter = json!({"name": name, "in": place});
    match form {
        Form::V3 => parameter["schema"] = json!({"type": kind, "uniqueItems": true}),
        Form::V2 => {
            parameter["type"] = kind.into();
            parameter["uniqueItems"] = true.into();
        }
    }
    if place == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

fn path_parameters(form: Form, namespaced: bool, named: bool) -> Value {
    let mut list = Vec::new();
    if named {
        list.push(parameter(form, "name", "path", "string"));
    }
    if namespaced {
        list.push(parameter(form, "namespace", "path", "string"));
    }
    list.push(parameter(form, "pretty", "query", "string"));
    Value::Array(list)
}

struct Maker<'a> {
    components: &'a Components,
    gvk: &'a Value,
    strategic: bool,
}

impl Maker<'_> {
    fn operation(&self, action: &str, answer: &str, parameters: &Parameters) -> Value {
        let form = self.components.form();
        let reference = self.components.reference(answer);
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|(name, kind)| parameter(form, name, "query", kind))
            .collect();
        let ok = match form {
            Form::V3 => {
                json!({"description": "OK", "content": {"application/json": {"schema": reference}}})
            }
            Form::V2 => json!({"description": "OK", "schema": reference}),
        };
        let mut operation = json!({
            "parameters": parameters,
            "responses": {"200": ok},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self.gvk,
        });
        if form == Form::V2 {
            operation["produces"] = json!(["application/json", "application/yaml"]);
        }
        operation
    }

    fn with_body(&self, action: &str, body: &str, answer: &str, parameters: &Parameters) -> Value {
        let mut operation = self.operation(action, answer, parameters);
        self.body(&mut operation, body, &["application/json"]);
        operation
    }

    fn patch(&self, answer: &str) -> Value {
        let mut operation = self.operation("patch", answer, &PATCH);
        let types = [
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ];
        let count = if self.strategic {
            types.len()
        } else {
            types.len() - 1
        };
        self.body(
            &mut operation,
            "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
            &types[..count],
        );
        operation
    }

    fn body(&self, operation: &mut Value, name: &str, types: &[&str]) {
        let reference = self.components.reference(name);
        match self.components.form() {
            Form::V3 => {
                let content: Map<String, Value> = types
                    .iter()
                    .map(|kind| (kind.to_string(), json!({"schema": reference})))
                    .collect();
                operation["requestBody"] = json!({"content": content, "required": true});
            }
            Form::V2 => {
                operation["consumes"] = types.iter().map(|kind| Value::from(*kind)).collect();
                if let Some(list) = operation["parameters"].as_array_mut() {
                    list.insert(0, json!({"in": "body", "name": "body", "required": true, "schema": reference}));
                }
            }
        }
    }
}
