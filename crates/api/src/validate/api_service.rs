//! Rules of registrations of API groups.

use super::check::{Check, text};
use crate::field::FieldError;
use crate::names;
use serde_json::Value;

pub(super) fn api_service(new: &Value, check: &mut Check) {
    let spec = &new["spec"];
    let (group, version) = (text(&spec["group"]), text(&spec["version"]));
    let (name, wanted) = (text(&new["metadata"]["name"]), format!("{version}.{group}"));
    // The name of the core group ends with a dot, which no other name may.
    check.errors.retain(|error| error.field != "metadata.name");
    if name != wanted {
        let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        check.invalid("metadata.name", name, why);
    }
    if group.is_empty() && version != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        check.add(FieldError::required("spec.group", why));
    }
    if !group.is_empty() {
        check.names("spec.group", group, names::dns1123_subdomain(group));
    }
    check.names("spec.version", version, names::dns1035_label(version));
    for (key, most) in [("groupPriorityMinimum", 20000), ("versionPriority", 1000)] {
        let given = spec[key].as_i64().unwrap_or(0);
        if given <= 0 || given > most {
            let why = format!("must be positive and less than {most}");
            check.invalid(&format!("spec.{key}"), given, why);
        }
    }
    let bundle = text(&spec["caBundle"]);
    let unverified = spec["insecureSkipTLSVerify"] == true;
    let service = &spec["service"];
    if !service.is_object() {
        if !bundle.is_empty() {
            let bytes = format!("{} bytes", bundle.len() / 4 * 3);
            let why = "local APIServices may not have a caBundle";
            check.invalid("spec.caBundle", bytes, why);
        }
        if unverified {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            check.invalid("spec.insecureSkipTLSVerify", true, why);
        }
        return;
    }
    for key in ["namespace", "name"] {
        check.required(&format!("spec.service.{key}"), &service[key], "");
    }
    let port = service["port"].as_i64().unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        check.invalid("spec.service.port", port, why);
    }
    if unverified && !bundle.is_empty() {
        let why = "may not be true if caBundle is present";
        check.invalid("spec.insecureSkipTLSVerify", true, why);
    }
}
