//! Rules of configuration, access and coordination objects.

use super::check::{Check, entries, list, missing, text};
use crate::field::FieldError;
use crate::names;
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
        // The object as a whole, in upstream's words.
        check.add(FieldError::too_long("[]", DATA_MAX_BYTES));
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

/// An event lies beside what it is about; cluster-wide ones in `default`. Those that say when they
/// happened say who tells them, too; the newer group checks more.
pub(super) fn event(group: &str, new: &Value, old: Option<&Value>, check: &mut Check) {
    let newer = group == "events.k8s.io";
    let (about, controller) = match newer {
        true => ("regarding", "reportingController"),
        false => ("involvedObject", "reportingComponent"),
    };
    let timed = !new["eventTime"].is_null();
    let wanted = text(&new[about]["namespace"]);
    let namespace = text(&new["metadata"]["namespace"]);
    let fits = match (timed, wanted.is_empty()) {
        (true, true) => matches!(namespace, "default" | "kube-system"),
        (true, false) => true,
        (false, true) => matches!(namespace, "" | "default"),
        (false, false) => wanted == namespace,
    };
    if !fits {
        check.invalid(
            "involvedObject.namespace",
            wanted,
            "does not match event.namespace",
        );
    }
    if timed {
        let reporter = text(&new[controller]);
        check.required(controller, &new[controller], "");
        check.names(controller, reporter, names::qualified_name(reporter));
        for name in ["reportingInstance", "action", "reason"] {
            check.required(name, &new[name], "");
            if text(&new[name]).len() > 128 {
                check.invalid(name, "", "can have at most 128 characters");
            }
        }
        let note = if newer { "note" } else { "message" };
        if text(&new[note]).len() > 1024 {
            check.invalid("message", "", "can have at most 1024 characters");
        }
    }
    if !newer {
        return;
    }
    let series = &new["series"];
    let changed = old.is_none_or(|old| old["series"] != *series);
    if !series.is_null() && changed {
        if series["count"].as_i64().unwrap_or(0) < 2 {
            check.invalid("series.count", "", "should be at least 2");
        }
        check.required("series.lastObservedTime", &series["lastObservedTime"], "");
    }
    let Some(old) = old else {
        if !timed {
            check.add(FieldError::required("eventTime", ""));
        }
        let kind = text(&new["type"]);
        if !matches!(kind, "Normal" | "Warning") {
            check.invalid("type", "", format!("has invalid value: {kind}"));
        }
        for key in [
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
            "deprecatedCount",
            "deprecatedSource",
        ] {
            let empty = |value: &Value| {
                value.is_null() || *value == 0 || value.as_object().is_some_and(|m| m.is_empty())
            };
            if !empty(&new[key]) {
                let name = key.trim_start_matches("deprecated");
                let (first, rest) = name.split_at(1);
                let name = format!("{}{rest}", first.to_lowercase());
                check.invalid(&name, "", "needs to be unset");
            }
        }
        return;
    };
    for (key, path) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        check.immutable(path, &new[key], &old[key]);
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
            let path = format!("aggregationRule.clusterRoleSelectors[{at}]");
            check.selector(&path, selector);
            // Upstream reads it again to use it.
            let mut probe = Check::default();
            probe.selector(&path, selector);
            if !probe.errors.is_empty() {
                check.invalid(&path, Value::Null, "invalid label selector.");
            }
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
            check.add(FieldError::forbidden("metadata.name", format!("priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class")));
        }
    } else if value > HIGHEST {
        check.add(FieldError::forbidden(
            "value",
            format!("maximum allowed value of a user defined priority is {HIGHEST}"),
        ));
    }
    let policies = ["PreemptLowerPriority", "Never"];
    if !policies.contains(&text(&new["preemptionPolicy"])) && !missing(&new["preemptionPolicy"]) {
        check.one_of("preemptionPolicy", &new["preemptionPolicy"], &policies);
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

pub(super) fn runtime_class(new: &Value, old: Option<&Value>, check: &mut Check) {
    if check.required("handler", &new["handler"], "") {
        let handler = text(&new["handler"]);
        check.names("handler", handler, names::dns1123_label(handler));
    }
    let mut costs = Check::default();
    costs.amounts("overhead.limits", &new["overhead"]["podFixed"]);
    check.errors.extend(costs.errors);
    let scheduling = &new["scheduling"];
    for (key, value) in entries(&scheduling["nodeSelector"]) {
        let path = "scheduling.nodeSelector";
        check.names(path, key, names::qualified_name(key));
        check.names(path, text(value), names::label_value(text(value)));
    }
    let path = "scheduling.tolerations";
    super::pod::tolerations(&scheduling["tolerations"], path, check);
    let all = list(&scheduling["tolerations"]);
    for (index, toleration) in all.iter().enumerate() {
        if all[..index].contains(toleration) {
            let shown = serde_json::json!({
                "Key": text(&toleration["key"]),
                "Operator": text(&toleration["operator"]),
                "Value": text(&toleration["value"]),
                "Effect": text(&toleration["effect"]),
                "TolerationSeconds": toleration["tolerationSeconds"],
            });
            check.add(FieldError::duplicate(format!("{path}[{index}]"), shown));
        }
    }
    if let Some(old) = old {
        check.immutable("handler", &new["handler"], &old["handler"]);
    }
}

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// A request for a certificate, beside what the request itself must be.
pub(super) fn signing_request(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    let pem = base64::engine::general_purpose::STANDARD
        .decode(text(&spec["request"]))
        .unwrap_or_default();
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE REQUEST-----") {
        let why = "PEM block type must be CERTIFICATE REQUEST";
        check.invalid("spec.request", spec["request"].clone(), why);
    }
    if list(&spec["usages"]).is_empty() {
        check.add(FieldError::required("spec.usages", ""));
    }
    for (index, usage) in list(&spec["usages"]).iter().enumerate() {
        if !USAGES.contains(&text(usage)) {
            check.one_of(&format!("spec.usages[{index}]"), usage, &USAGES);
        }
    }
    if check.required("spec.signerName", &spec["signerName"], "") {
        let name = text(&spec["signerName"]);
        let (domain, path) = name.split_once('/').unwrap_or((name, ""));
        if path.is_empty() {
            let why =
                "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            check.invalid("spec.signerName", name, why);
        } else {
            check.names("spec.signerName", name, names::dns1123_subdomain(domain));
        }
    }
    if let Some(seconds) = spec["expirationSeconds"].as_i64().filter(|s| *s < 600) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        check.invalid("spec.expirationSeconds", seconds, why);
    }
}
