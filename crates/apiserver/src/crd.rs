//! Definitions of custom resources: checked when written, served from the same moment on.

use crate::admission::Change;
use crate::core::Core;
use crate::kinds::{Custom, Kinds, Resource, Subresource, table, version_rank};
use crate::metrics;
use crate::record;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};
use towpath_api::cel;
use towpath_api::field::FieldError;
use towpath_api::scale;
use towpath_api::schema::Schema;
use towpath_api::status::{self, Failure};
use towpath_store::{Expect, Op, Rec, Snapshot, Table};

const TABLE: &str = "apiextensions.k8s.io/customresourcedefinitions";
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

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
    let errors = check(new);
    let name = text(&new["metadata"], "name").to_string();
    if !errors.is_empty() {
        return Err(status::invalid(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            &name,
            &errors,
        ));
    }
    let taken = change.call.core.kinds.load();
    let group = text(&new["spec"], "group").to_string();
    let names = new["spec"]["names"].clone();
    let clash = taken.resources.iter().find(|r| {
        r.group == group
            && (format!("{}.{}", r.plural, r.group) != name)
            && (r.kind == kind
                || r.plural == text(&names, "plural")
                || r.singular == text(&names, "singular"))
    });
    let now = change.call.core.clock.rfc3339();
    let accepted = match clash {
        Some(_) => (
            "False",
            "KindConflict",
            format!("{kind:?} is already in use"),
        ),
        None => ("True", "NoConflicts", "no conflicts found".to_string()),
    };
    let established = match clash {
        Some(_) => (
            "False",
            "NotAccepted",
            "not all names are accepted".to_string(),
        ),
        None => (
            "True",
            "InitialNamesAccepted",
            "the initial names have been accepted".to_string(),
        ),
    };
    let old = change
        .old
        .map(|old| old["status"].clone())
        .unwrap_or_default();
    let condition = |kind: &str, (status, reason, message): (&str, &str, String)| {
        let before = old["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| c["type"] == kind && c["status"] == status);
        let since = before.map_or_else(|| now.clone().into(), |c| c["lastTransitionTime"].clone());
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
    };
    let mut stored = texts(&old["storedVersions"]);
    let versions = new["spec"]["versions"].as_array().into_iter().flatten();
    for version in versions.filter(|v| v["storage"] == true) {
        let version = text(version, "name").to_string();
        if !stored.contains(&version) {
            stored.push(version);
        }
    }
    new["status"] = json!({
        "acceptedNames": names,
        "conditions": [condition("NamesAccepted", accepted), condition("Established", established)],
        "storedVersions": stored,
    });
    Ok(())
}

fn check(new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    for (path, value) in [
        ("spec.group", text(spec, "group")),
        ("spec.names.plural", text(&spec["names"], "plural")),
        ("spec.names.kind", text(&spec["names"], "kind")),
    ] {
        if value.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
    }
    let wanted = format!("{}.{}", text(&spec["names"], "plural"), text(spec, "group"));
    let name = text(&new["metadata"], "name");
    if name != wanted {
        errors.push(FieldError::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if !matches!(text(spec, "scope"), "Namespaced" | "Cluster") {
        errors.push(FieldError::unsupported(
            "spec.scope",
            text(spec, "scope"),
            &["Cluster", "Namespaced"],
        ));
    }
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            Value::Null,
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let Some(path) = cel::schema_path(versions, index) else {
            continue;
        };
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            errors.push(FieldError::required(path, "schemas are required"));
        } else if let Err(found) = Schema::from_crd(schema) {
            errors.extend(found.into_iter().map(|error| error.beneath(&path)));
        }
    }
    if text(&spec["conversion"], "strategy") == "Webhook" {
        errors.push(FieldError::forbidden(
            "spec.conversion.strategy",
            "conversion by webhook is not supported by this server",
        ));
    }
    errors
}

/// Resources of one definition, where its names are accepted.
fn resources(definition: &Value) -> Vec<Arc<Resource>> {
    let conditions = definition["status"]["conditions"].as_array();
    let established = conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    if !established {
        return Vec::new();
    }
    let spec = &definition["spec"];
    let (group, names) = (text(spec, "group"), &spec["names"]);
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let storage = versions
        .iter()
        .find(|v| v["storage"] == true)
        .map(|v| text(v, "name"))
        .unwrap_or_default();
    let mut served: Vec<&Value> = versions.iter().filter(|v| v["served"] == true).collect();
    served.sort_by_key(|version| Reverse(version_rank(text(version, "name"))));
    served
        .into_iter()
        .filter_map(|version| resource(group, names, spec, version, storage))
        .map(Arc::new)
        .collect()
}

fn resource(
    group: &str,
    names: &Value,
    spec: &Value,
    version: &Value,
    storage: &str,
) -> Option<Resource> {
    let source = version["schema"]["openAPIV3Schema"].clone();
    let schema = Schema::from_crd(&source).ok()?;
    let version_name = text(version, "name");
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
    let selectable = version["selectableFields"].as_array().into_iter().flatten();
    let custom = Custom {
        schema,
        source,
        rules: OnceLock::new(),
        columns: version["additionalPrinterColumns"].clone(),
        status,
        scale,
        selectable: selectable
            .filter_map(|f| f["jsonPath"].as_str().map(str::to_string))
            .collect(),
    };
    Some(Resource {
        group: group.into(),
        version: version_name.into(),
        kind: text(names, "kind").into(),
        list_kind: text(names, "listKind").into(),
        plural: text(names, "plural").into(),
        singular: text(names, "singular").into(),
        namespaced: text(spec, "scope") == "Namespaced",
        verbs: VERBS.map(str::to_string).to_vec(),
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
}

/// Keeps the served resources in step with the definitions.
pub(crate) fn after(core: &Core, resource: &Resource) {
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        catch_up(core);
    }
}

/// Objects that go with their definition.
pub(crate) fn instances(state: &Snapshot, definition: &Value) -> Vec<Op> {
    let table = table(
        text(&definition["spec"], "group"),
        text(&definition["spec"]["names"], "plural"),
    );
    let found = state.range(&table, "", None);
    found
        .map(|rec| Op::Delete {
            resource: table.clone(),
            key: rec.key.clone(),
            expect: Expect::any(),
            last: None,
        })
        .collect()
}
