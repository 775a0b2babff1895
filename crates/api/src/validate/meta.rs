//! Rules of `metadata`, the same for every kind.

use super::check::{Check, IMMUTABLE, entries, list, text};
use crate::field::{FieldError, quote};
use crate::names;
use serde_json::Value;

const ANNOTATIONS_MAX_BYTES: usize = 256 << 10;

/// A name grammar: what is wrong with a name.
pub type NameRule = fn(&str) -> Vec<String>;

/// The grammar of names of a built-in kind.
pub(super) fn name_rule(group: &str, kind: &str) -> NameRule {
    match (group, kind) {
        ("", "Namespace" | "Service") | ("apps", "StatefulSet") => names::dns1123_label,
        ("rbac.authorization.k8s.io", _) => names::path_segment,
        ("batch", "CronJob") => cron_job_name,
        ("networking.k8s.io", "IPAddress") => ip_address,
        _ => names::dns1123_subdomain,
    }
}

/// The name of an address is the address.
fn ip_address(name: &str) -> Vec<String> {
    match name.parse::<std::net::IpAddr>() {
        Err(_)
            if name.split('.').count() == 4
                && name.split('.').all(|part| part.parse::<u8>().is_ok()) =>
        {
            vec!["must not have leading 0s".into()]
        }
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
        Ok(std::net::IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".into()]
        }
        Ok(ip) if ip.to_string() != name => {
            vec![format!(
                "must be in canonical form ({})",
                quote(&ip.to_string())
            )]
        }
        Ok(_) => Vec::new(),
    }
}

/// Jobs add eleven characters to the name of their CronJob.
fn cron_job_name(name: &str) -> Vec<String> {
    let mut wrong = names::dns1123_subdomain(name);
    if name.len() > 52 {
        wrong.push("must be no more than 52 characters".into());
    }
    wrong
}

/// Validates `metadata`; `old` is the stored object of an update.
pub fn metadata(
    new: &Value,
    old: Option<&Value>,
    namespaced: bool,
    rule: NameRule,
) -> Vec<FieldError> {
    let mut check = Check::default();
    let meta = &new["metadata"];
    match old {
        None => create(meta, namespaced, rule, &mut check),
        Some(old) => update(meta, &old["metadata"], &mut check),
    }
    check.labels("metadata.labels", &meta["labels"]);
    annotations(&meta["annotations"], &mut check);
    owners(&meta["ownerReferences"], &mut check);
    for (at, finalizer) in list(&meta["finalizers"]).iter().enumerate() {
        let path = format!("metadata.finalizers[{at}]");
        self::finalizer(text(finalizer), &path, true, &mut check);
    }
    let names: Vec<&str> = list(&meta["finalizers"]).iter().map(text).collect();
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        check.invalid("metadata.finalizers", meta["finalizers"].clone(), why);
    }
    check.errors
}

/// Finalizers of a namespace's spec, which are not told by their number.
pub(super) fn finalizers(finalizers: &Value, path: &str, check: &mut Check) {
    for finalizer in list(finalizers) {
        self::finalizer(text(finalizer), path, false, check);
    }
}

fn finalizer(name: &str, path: &str, only_named: bool, check: &mut Check) {
    let wrong = names::qualified_name(name);
    let told = wrong.is_empty() || !only_named;
    check.names(path, name, wrong);
    let standard = ["orphan", "foregroundDeletion", "kubernetes"].contains(&name);
    if told && !name.contains('/') && !standard {
        check.invalid(
            path,
            name,
            "name is neither a standard finalizer name nor is it fully qualified",
        );
    }
}

fn create(meta: &Value, namespaced: bool, rule: NameRule, check: &mut Check) {
    let prefix = text(&meta["generateName"]);
    if !prefix.is_empty() {
        // A trailing dash is completed by the generated part.
        let masked = match prefix.strip_suffix('-') {
            Some(stem) if !stem.is_empty() => format!("{stem}a"),
            _ => prefix.to_string(),
        };
        check.names("metadata.generateName", prefix, rule(&masked));
    }
    let name = text(&meta["name"]);
    if name.is_empty() {
        check.add(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        check.names("metadata.name", name, rule(name));
    }
    let namespace = text(&meta["namespace"]);
    match (namespaced, namespace.is_empty()) {
        (true, true) => check.add(FieldError::required("metadata.namespace", "")),
        (true, false) => check.names(
            "metadata.namespace",
            namespace,
            names::dns1123_label(namespace),
        ),
        (false, false) => check.add(FieldError::forbidden(
            "metadata.namespace",
            "not allowed on this type",
        )),
        (false, true) => {}
    }
}

fn update(new: &Value, old: &Value, check: &mut Check) {
    if !old["deletionTimestamp"].is_null() {
        let extra: Vec<String> = list(&new["finalizers"])
            .iter()
            .filter(|finalizer| !list(&old["finalizers"]).contains(finalizer))
            .map(|finalizer| quote(text(finalizer)))
            .collect();
        if !extra.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                extra.join(", ")
            );
            check.add(FieldError::forbidden("metadata.finalizers", why));
        }
    }
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        if new[key] != old[key] {
            check.invalid(&format!("metadata.{key}"), new[key].clone(), IMMUTABLE);
        }
    }
}

fn annotations(annotations: &Value, check: &mut Check) {
    let mut bytes = 0;
    for (key, value) in entries(annotations) {
        check.names(
            "metadata.annotations",
            key,
            names::qualified_name(&key.to_lowercase()),
        );
        bytes += key.len() + text(value).len();
    }
    if bytes > ANNOTATIONS_MAX_BYTES {
        check.add(FieldError::too_long(
            "metadata.annotations",
            ANNOTATIONS_MAX_BYTES,
        ));
    }
}

fn owners(owners: &Value, check: &mut Check) {
    let path = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for owner in list(owners) {
        let (group, version) = crate::facts::split_api_version(text(&owner["apiVersion"]));
        if version.is_empty() {
            check.invalid(
                &format!("{path}.apiVersion"),
                owner["apiVersion"].clone(),
                "version must not be empty",
            );
        }
        for key in ["kind", "name", "uid"] {
            if text(&owner[key]).is_empty() {
                check.invalid(&format!("{path}.{key}"), "", "must not be empty");
            }
        }
        if group.is_empty() && text(&owner["kind"]) == "Event" {
            check.invalid(
                path,
                owner.clone(),
                "/v1, Kind=Event is disallowed from being an owner",
            );
        }
        if owner["controller"] == true {
            let this = format!("{}/{}", text(&owner["kind"]), text(&owner["name"]));
            match &controller {
                Some(first) => check.invalid(
                    path,
                    owners.clone(),
                    format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"),
                ),
                None => controller = Some(this),
            }
        }
    }
}
