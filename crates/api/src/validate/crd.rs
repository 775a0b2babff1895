//! Rules of custom resource definitions.

use super::check::{Check, list, text};
use crate::cel;
use crate::field::FieldError;
use crate::jsonpath::Path;
use crate::names;
use crate::schema::Schema;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Rules of a definition beyond its metadata.
pub fn definition(new: &Value) -> Vec<FieldError> {
    let mut errors = rules(new, &|_, _| false);
    let stored = |version: &Value| version["storage"] == true;
    if !list(&new["spec"]["versions"]).iter().any(stored) {
        let why = "must have at least one stored version";
        let path = "status.storedVersions";
        errors.push(FieldError::invalid(path, Value::Null, why));
    }
    errors
}

// `kept` tells whether a version had this schema already.
fn rules(new: &Value, kept: &dyn Fn(&Value, &Value) -> bool) -> Vec<FieldError> {
    let mut check = Check::default();
    let spec = &new["spec"];
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let wanted = format!("{plural}.{group}");
    let name = text(&new["metadata"]["name"]);
    if name != wanted {
        check.invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        );
    }
    if check.required("spec.group", &spec["group"], "") {
        check.names("spec.group", group, names::dns1123_subdomain(group));
        if !group.contains('.') {
            check.invalid(
                "spec.group",
                group,
                "should be a domain with at least one dot",
            );
        }
    }
    if !matches!(text(&spec["scope"]), "Namespaced" | "Cluster") {
        if text(&spec["scope"]).is_empty() {
            check.add(FieldError::required("spec.scope", ""));
        } else {
            check.one_of("spec.scope", &spec["scope"], &["Cluster", "Namespaced"]);
        }
    }
    accepted_names(&spec["names"], &mut check);
    versions(spec, &mut check, kept);
    conversion(&spec["conversion"], &mut check);
    if spec["preserveUnknownFields"] == true {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        check.invalid("spec.preserveUnknownFields", true, why);
    }
    check.errors
}

fn accepted_names(accepted: &Value, check: &mut Check) {
    for key in ["plural", "singular"] {
        let path = format!("spec.names.{key}");
        if check.required(&path, &accepted[key], "") {
            check.names(
                &path,
                text(&accepted[key]),
                names::dns1035_label(text(&accepted[key])),
            );
        }
    }
    for key in ["kind", "listKind"] {
        let path = format!("spec.names.{key}");
        if check.required(&path, &accepted[key], "") {
            let kind = text(&accepted[key]);
            let wrong = names::dns1035_label(&kind.to_lowercase());
            if !wrong.is_empty() {
                let why = format!(
                    "may have mixed case, but should otherwise match: {}",
                    wrong.join(",")
                );
                check.invalid(&path, kind, why);
            }
        }
    }
    if !text(&accepted["kind"]).is_empty() && accepted["kind"] == accepted["listKind"] {
        check.invalid(
            "spec.names.listKind",
            accepted["listKind"].clone(),
            "kind and listKind may not be the same",
        );
    }
    for (kind, path) in [
        ("shortNames", "spec.names.shortNames"),
        ("categories", "spec.names.categories"),
    ] {
        for (at, name) in list(&accepted[kind]).iter().enumerate() {
            check.names(
                &format!("{path}[{at}]"),
                text(name),
                names::dns1035_label(text(name)),
            );
        }
    }
}

fn versions(spec: &Value, check: &mut Check, kept: &dyn Fn(&Value, &Value) -> bool) {
    let versions = list(&spec["versions"]);
    if versions.is_empty() {
        check.add(FieldError::required(
            "spec.versions",
            "must have at least one version",
        ));
    }
    let stored = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count();
    if stored != 1 && !versions.is_empty() {
        check.invalid(
            "spec.versions",
            versions.iter().map(shown).collect::<Value>(),
            "must have exactly one version marked as storage version",
        );
    }
    let mut seen = HashSet::new();
    for (at, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{at}]");
        let name = text(&version["name"]);
        if !names::dns1035_label(name).is_empty() {
            check.names(&format!("{path}.name"), name, names::dns1035_label(name));
        }
        if !seen.insert(name) {
            check.invalid(
                "spec.versions",
                versions.iter().map(shown).collect::<Value>(),
                "must contain unique version names",
            );
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        if schema.is_null() {
            check.add(FieldError::required(
                format!("{path}.schema.openAPIV3Schema"),
                "",
            ));
        } else if let Some(prefix) = cel::schema_path(versions, at) {
            match Schema::from_crd(schema) {
                Err(found) => check
                    .errors
                    .extend(found.into_iter().map(|error| error.beneath(&prefix))),
                // What is there already stays as it is, so that limits can become stricter.
                Ok(_) if kept(&version["name"], schema) => {}
                Ok(_) => check.errors.extend(cel::check_definition(schema, &prefix)),
            }
        }
        columns(
            &version["additionalPrinterColumns"],
            &format!("{path}.additionalPrinterColumns"),
            check,
        );
        scale(
            &version["subresources"]["scale"],
            &format!("{path}.subresources.scale"),
            check,
        );
    }
}

fn conversion(conversion: &Value, check: &mut Check) {
    const CLIENT: &str = "spec.conversion.webhookClientConfig";
    const REVIEWS: &str = "spec.conversion.conversionReviewVersions";
    if conversion.is_null() {
        return;
    }
    check.one_of(
        "spec.conversion.strategy",
        &conversion["strategy"],
        &["None", "Webhook"],
    );
    let webhook = &conversion["webhook"];
    let (client, reviews) = (
        &webhook["clientConfig"],
        list(&webhook["conversionReviewVersions"]),
    );
    if conversion["strategy"] != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if !client.is_null() {
            check.add(FieldError::forbidden(CLIENT, why));
        }
        if !reviews.is_empty() {
            check.add(FieldError::forbidden(REVIEWS, why));
        }
        return;
    }
    if client.is_null() {
        check.add(FieldError::required(
            CLIENT,
            "required when strategy is set to Webhook",
        ));
    } else if client["url"].is_null() == client["service"].is_null() {
        check.add(FieldError::required(
            CLIENT,
            "exactly one of url or service is required",
        ));
    } else if let Some(url) = client["url"].as_str() {
        let scheme = url.split(':').next().unwrap_or_default();
        if scheme != "https" {
            let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            check.invalid(&format!("{CLIENT}.url"), scheme, why);
        }
    }
    if reviews.is_empty() {
        check.add(FieldError::required(REVIEWS, ""));
    } else if !reviews.iter().any(|v| matches!(text(v), "v1" | "v1beta1")) {
        check.invalid(
            REVIEWS,
            reviews.to_vec(),
            "must include at least one of v1, v1beta1",
        );
    }
}

/// A version as upstream prints it, without what versions share.
fn shown(version: &Value) -> Value {
    let flag = |key: &str| version[key].as_bool().unwrap_or(false);
    json!({
        "Name": version["name"],
        "Served": flag("served"),
        "Storage": flag("storage"),
        "Deprecated": flag("deprecated"),
        "DeprecationWarning": version["deprecationWarning"],
        "Schema": null,
        "Subresources": null,
        "AdditionalPrinterColumns": null,
        "SelectableFields": null,
    })
}

fn columns(columns: &Value, path: &str, check: &mut Check) {
    for (at, column) in list(columns).iter().enumerate() {
        let at = |name: &str| format!("{path}[{at}].{name}");
        check.required(&at("name"), &column["name"], "");
        if check.required(&at("type"), &column["type"], "") {
            let kinds = ["boolean", "date", "integer", "number", "string"];
            if !kinds.contains(&text(&column["type"])) {
                check.invalid(
                    &at("type"),
                    column["type"].clone(),
                    format!("must be one of {}", kinds.join(",")),
                );
            }
        }
        if check.required(&at("jsonPath"), &column["jsonPath"], "") {
            let given = text(&column["jsonPath"]);
            if !given.starts_with('.') || Path::parse(given).is_err() {
                check.invalid(
                    &at("jsonPath"),
                    given,
                    "must be a simple json path starting with .",
                );
            }
        }
    }
}

fn scale(scale: &Value, path: &str, check: &mut Check) {
    if scale.is_null() {
        return;
    }
    for (key, prefix) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let at = format!("{path}.{key}");
        if check.required(&at, &scale[key], "") && !text(&scale[key]).starts_with(prefix) {
            let why = format!(
                "should be a json path under {}",
                prefix.trim_end_matches('.')
            );
            check.invalid(&at, scale[key].clone(), why);
        }
    }
    let selector = text(&scale["labelSelectorPath"]);
    if !selector.is_empty() && !selector.starts_with(".spec.") && !selector.starts_with(".status.")
    {
        check.invalid(
            &format!("{path}.labelSelectorPath"),
            selector,
            "should be a json path under either .spec or .status",
        );
    }
}

/// Rules of an update of a definition.
pub fn definition_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check {
        errors: rules(new, &|name, schema| {
            list(&old["spec"]["versions"]).iter().any(|version| {
                version["name"] == *name && version["schema"]["openAPIV3Schema"] == *schema
            })
        }),
    };
    let established = list(&old["status"]["conditions"])
        .iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    // What names the resource is fixed at once, what its objects are once it is served.
    let kept: &[&str] = if established {
        &["group", "names.plural", "scope", "names.kind"]
    } else {
        &["group", "names.plural"]
    };
    for path in kept {
        let pointer = format!("/spec/{}", path.replace('.', "/"));
        let part = |object: &Value| object.pointer(&pointer).cloned().unwrap_or_default();
        check.immutable(&format!("spec.{path}"), &part(new), &part(old));
    }
    let served: Vec<&str> = list(&new["spec"]["versions"])
        .iter()
        .map(|version| text(&version["name"]))
        .collect();
    for (at, stored) in list(&new["status"]["storedVersions"]).iter().enumerate() {
        if !served.contains(&text(stored)) {
            let path = format!("status.storedVersions[{at}]");
            check.invalid(&path, stored.clone(), format!("missing from spec.versions; {0} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {0} and removes {0} from status.storedVersions", text(stored)));
        }
    }
    check.errors
}
