//! Rules of configuration, access and coordination objects.

use super::check::{Check, entries, list, missing, text};
use crate::field::FieldError;
use crate::names;
use crate::quantity::Quantity;
use base64::Engine;
use serde_json::Value;

const DATA_MAX_BYTES: usize = 1 << 20;
const SEALED: &str = "field is immutable when `immutable` is set";
const RBAC: &str = "rbac.authorization.k8s.io";

fn decoded_bytes(value: &Value) -> usize {
    let text = text(value);
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_or(text.len(), |bytes| bytes.len())
}

/// What was sealed stays sealed, with its content.
fn sealed(new: &Value, old: Option<&Value>, parts: &[&str], check: &mut Check) {
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    if new["immutable"] != true {
        check.add(FieldError::forbidden("immutable", SEALED));
    }
    for part in parts {
        let empty =
            |value: &Value| value.is_null() || value.as_object().is_some_and(|map| map.is_empty());
        if new[*part] != old[*part] && !(empty(&new[*part]) && empty(&old[*part])) {
            check.add(FieldError::forbidden(*part, SEALED));
        }
    }
}

pub(super) fn config_map(new: &Value, old: Option<&Value>, check: &mut Check) {
    sealed(new, old, &["data", "binaryData"], check);
    let mut bytes = 0;
    for (key, value) in entries(&new["data"]) {
        let path = format!("data[{key}]");
        check.names(&path, key, names::config_key(key));
        if new["binaryData"].get(key).is_some() {
            check.invalid(
                &path,
                key.as_str(),
                "duplicate of key present in binaryData",
            );
        }
        bytes += text(value).len();
    }
    for (key, value) in entries(&new["binaryData"]) {
        check.names(&format!("binaryData[{key}]"), key, names::config_key(key));
        bytes += decoded_bytes(value);
    }
    if bytes > DATA_MAX_BYTES {
        check.add(FieldError::too_long("", DATA_MAX_BYTES));
    }
}

pub(super) fn secret(new: &Value, old: Option<&Value>, check: &mut Check) {
    if let Some(old) = old {
        check.immutable("type", &new["type"], &old["type"]);
    }
    sealed(new, old, &["data"], check);
    let data = &new["data"];
    let mut bytes = 0;
    for (key, value) in entries(data) {
        check.names(&format!("data[{key}]"), key, names::config_key(key));
        bytes += decoded_bytes(value);
    }
    if bytes > DATA_MAX_BYTES {
        check.add(FieldError::too_long("data", DATA_MAX_BYTES));
    }
    let mut need = |keys: &[&str]| {
        for key in keys.iter().filter(|key| data.get(**key).is_none()) {
            check.add(FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match text(&new["type"]) {
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        "kubernetes.io/ssh-auth" => need(&["ssh-privatekey"]),
        "kubernetes.io/basic-auth" if data.get("username").or(data.get("password")).is_none() => {
            need(&["username", "password"]);
        }
        "kubernetes.io/dockerconfigjson" => docker_config(data, ".dockerconfigjson", check),
        "kubernetes.io/dockercfg" => docker_config(data, ".dockercfg", check),
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if missing(&new["metadata"]["annotations"][name]) {
                check.add(FieldError::required(
                    format!("metadata.annotations[{name}]"),
                    "",
                ));
            }
        }
        _ => {}
    }
}

fn docker_config(data: &Value, key: &str, check: &mut Check) {
    let path = format!("data[{key}]");
    let Some(value) = data.get(key) else {
        check.add(FieldError::required(path, ""));
        return;
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text(value))
        .unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        check.invalid(&path, "<secret contents redacted>", error.to_string());
    }
}

/// An event lies beside what it is about; cluster-wide ones in `default`.
pub(super) fn event(new: &Value, check: &mut Check) {
    let about = if new.get("regarding").is_some() {
        "regarding"
    } else {
        "involvedObject"
    };
    let wanted = text(&new[about]["namespace"]);
    let namespace = text(&new["metadata"]["namespace"]);
    let fits = wanted == namespace
        || (wanted.is_empty() && matches!(namespace, "default" | "kube-system"));
    if !fits {
        check.invalid(
            "involvedObject.namespace",
            wanted,
            "does not match event.namespace",
        );
    }
}

pub(super) fn role(kind: &str, new: &Value, check: &mut Check) {
    if !new["aggregationRule"].is_null() {
        let selectors = list(&new["aggregationRule"]["clusterRoleSelectors"]);
        if selectors.is_empty() {
            check.add(FieldError::required(
                "aggregationRule.clusterRoleSelectors",
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            ));
        }
        for (at, selector) in selectors.iter().enumerate() {
            check.selector(
                &format!("aggregationRule.clusterRoleSelectors[{at}]"),
                selector,
            );
        }
    }
    for (at, rule) in list(&new["rules"]).iter().enumerate() {
        let path = |name: &str| format!("rules[{at}].{name}");
        let empty = |name: &str| list(&rule[name]).is_empty();
        if empty("verbs") {
            check.add(FieldError::required(
                path("verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !empty("nonResourceURLs") {
            if kind == "Role" {
                check.invalid(
                    &path("nonResourceURLs"),
                    rule["nonResourceURLs"].clone(),
                    "namespaced rules cannot apply to non-resource URLs",
                );
            }
            if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                check.invalid(
                    &path("nonResourceURLs"),
                    rule["nonResourceURLs"].clone(),
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        if empty("apiGroups") {
            check.add(FieldError::required(
                path("apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if empty("resources") {
            check.add(FieldError::required(
                path("resources"),
                "resource rules must supply at least one resource",
            ));
        }
    }
}

pub(super) fn binding(kind: &str, new: &Value, old: Option<&Value>, check: &mut Check) {
    let role = &new["roleRef"];
    if text(&role["apiGroup"]) != RBAC {
        check.one_of("roleRef.apiGroup", &role["apiGroup"], &[RBAC]);
    }
    let kinds: &[&str] = if kind == "RoleBinding" {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&text(&role["kind"])) {
        check.one_of("roleRef.kind", &role["kind"], kinds);
    }
    if check.required("roleRef.name", &role["name"], "") {
        let name = text(&role["name"]);
        check.names("roleRef.name", name, names::path_segment(name));
    }
    for (at, subject) in list(&new["subjects"]).iter().enumerate() {
        let path = |name: &str| format!("subjects[{at}].{name}");
        check.required(&path("name"), &subject["name"], "");
        let group = text(&subject["apiGroup"]);
        match text(&subject["kind"]) {
            "ServiceAccount" => {
                if !group.is_empty() {
                    check.add(FieldError::unsupported(path("apiGroup"), group, &[""]));
                }
                // In a namespace's binding it is the binding's.
                if kind == "ClusterRoleBinding" {
                    check.required(&path("namespace"), &subject["namespace"], "");
                }
            }
            "User" | "Group" => {
                if group != RBAC {
                    check.add(FieldError::unsupported(path("apiGroup"), group, &[RBAC]));
                }
            }
            other => check.add(FieldError::unsupported(
                path("kind"),
                other,
                &["ServiceAccount", "User", "Group"],
            )),
        }
    }
    if let Some(old) = old
        && role != &old["roleRef"]
    {
        let shown = serde_json::json!({"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]});
        check.invalid("roleRef", shown, "cannot change roleRef");
    }
}

pub(super) fn lease(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    check.positive("spec.leaseDurationSeconds", &spec["leaseDurationSeconds"]);
    check.not_negative("spec.leaseTransitions", &spec["leaseTransitions"]);
}

pub(super) fn priority_class(new: &Value, old: Option<&Value>, check: &mut Check) {
    const HIGHEST: i64 = 1_000_000_000;
    let name = text(&new["metadata"]["name"]);
    let value = new["value"].as_i64().unwrap_or(0);
    if name.starts_with("system-") {
        let known = matches!(
            (name, value),
            ("system-node-critical", 2_000_001_000) | ("system-cluster-critical", 2_000_000_000)
        );
        if !known {
            check.add(FieldError::forbidden("metadata.name", "priority class names with 'system-' prefix are reserved for system use only. error: name is not a known system priority class"));
        }
    } else if value > HIGHEST {
        check.add(FieldError::forbidden(
            "value",
            format!("maximum allowed value of a user defined priority is {HIGHEST}"),
        ));
    }
    if let Some(old) = old {
        if new["value"] != old["value"] {
            check.add(FieldError::forbidden(
                "value",
                "may not be changed in an update.",
            ));
        }
        check.immutable(
            "preemptionPolicy",
            &new["preemptionPolicy"],
            &old["preemptionPolicy"],
        );
    }
}

pub(super) fn quota(new: &Value, check: &mut Check) {
    for (name, amount) in entries(&new["spec"]["hard"]) {
        let path = format!("spec.hard[{name}]");
        check.names(&path, name, names::qualified_name(name));
        let negative = amount
            .as_str()
            .and_then(|text| Quantity::parse(text).ok())
            .is_some_and(|q| q.sign() < 0);
        if negative {
            check.invalid(&path, amount.clone(), "must be greater than or equal to 0");
        }
    }
}

pub(super) fn runtime_class(new: &Value, old: Option<&Value>, check: &mut Check) {
    if check.required("handler", &new["handler"], "") {
        let handler = text(&new["handler"]);
        check.names("handler", handler, names::dns1123_label(handler));
    }
    if let Some(old) = old {
        check.immutable("handler", &new["handler"], &old["handler"]);
    }
}

pub(super) fn webhooks(new: &Value, check: &mut Check) {
    for (at, webhook) in list(&new["webhooks"]).iter().enumerate() {
        let path = |name: &str| format!("webhooks[{at}].{name}");
        let name = text(&webhook["name"]);
        if name.is_empty() {
            check.add(FieldError::required(path("name"), ""));
        } else if name.split('.').filter(|label| !label.is_empty()).count() < 3 {
            check.invalid(
                &path("name"),
                name,
                "should be a domain with at least three segments separated by dots",
            );
        } else {
            check.names(&path("name"), name, names::dns1123_subdomain(name));
        }
        let client = &webhook["clientConfig"];
        if client["url"].is_null() == client["service"].is_null() {
            check.add(FieldError::required(
                path("clientConfig"),
                "exactly one of url or service is required",
            ));
        }
        let effects = text(&webhook["sideEffects"]);
        if effects.is_empty() {
            check.add(FieldError::required(
                path("sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        } else if !matches!(effects, "None" | "NoneOnDryRun") {
            check.one_of(
                &path("sideEffects"),
                &webhook["sideEffects"],
                &["None", "NoneOnDryRun"],
            );
        }
        if list(&webhook["admissionReviewVersions"]).is_empty() {
            check.add(FieldError::required(
                path("admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            ));
        }
        if let Some(seconds) = webhook["timeoutSeconds"]
            .as_i64()
            .filter(|seconds| !(1..=30).contains(seconds))
        {
            check.invalid(
                &path("timeoutSeconds"),
                seconds,
                "the timeout value must be between 1 and 30 seconds",
            );
        }
    }
}
