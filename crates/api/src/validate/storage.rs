//! Rules of volumes, claims and classes.

use super::check::{Check, entries, list, missing, text};
use crate::field::FieldError;
use crate::quantity::Quantity;
use serde_json::Value;

const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const SPEC_FIELDS: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn access_modes(modes: &Value, path: &str, check: &mut Check) {
    if list(modes).is_empty() {
        let why = if path.starts_with("spec.volume") || path == "spec.accessModes" {
            "at least 1 access mode is required"
        } else {
            ""
        };
        check.add(FieldError::required(path, why));
    }
    for mode in list(modes) {
        if !MODES.contains(&text(mode)) {
            check.one_of(path, mode, &MODES);
        }
    }
    let once = list(modes).iter().any(|mode| mode == "ReadWriteOncePod");
    if once && list(modes).len() > 1 {
        check.add(FieldError::forbidden(
            path,
            "may not use ReadWriteOncePod with other access modes",
        ));
    }
}

pub(super) fn claim_spec(spec: &Value, path: &str, check: &mut Check) {
    access_modes(&spec["accessModes"], &format!("{path}.accessModes"), check);
    if !spec["selector"].is_null() {
        check.selector(&format!("{path}.selector"), &spec["selector"]);
    }
    let at = format!("{path}.resources[storage]");
    match spec["resources"]["requests"]["storage"]
        .as_str()
        .and_then(|text| Quantity::parse(text).ok())
    {
        None => check.add(FieldError::required(at, "")),
        Some(amount) if amount.sign() <= 0 => {
            check.invalid(
                &at,
                spec["resources"]["requests"]["storage"].clone(),
                "must be greater than zero",
            );
        }
        Some(_) => {}
    }
    let class = text(&spec["storageClassName"]);
    if !class.is_empty() {
        check.names(
            &format!("{path}.storageClassName"),
            class,
            crate::names::dns1123_subdomain(class),
        );
    }
}

pub(super) fn claim(new: &Value, old: Option<&Value>, check: &mut Check) {
    claim_spec(&new["spec"], "spec", check);
    let (source, reference) = (&new["spec"]["dataSource"], &new["spec"]["dataSourceRef"]);
    let same = ["apiGroup", "kind", "name"]
        .iter()
        .all(|key| text(&source[*key]) == text(&reference[*key]));
    let elsewhere = !text(&reference["namespace"]).is_empty();
    if old.is_none() && !source.is_null() && !reference.is_null() && !same && !elsewhere {
        check.invalid(
            "spec",
            Value::Object(Default::default()),
            "must match dataSourceRef",
        );
    }
    let Some(old) = old else { return };
    let bound = new["status"]["phase"] == "Bound";
    let (mut spec, mut before) = (new["spec"].clone(), old["spec"].clone());
    let mut ignore = |key: &str| {
        for spec in [&mut spec, &mut before] {
            if let Some(spec) = spec.as_object_mut() {
                spec.shift_remove(key);
            }
        }
    };
    if missing(&old["spec"]["volumeName"]) {
        ignore("volumeName");
    }
    if missing(&old["spec"]["storageClassName"]) && old["spec"]["storageClassName"].is_null() {
        // A class may be filled in later, when a default one appears.
        ignore("storageClassName");
    }
    if bound {
        ignore("volumeAttributesClassName");
        for spec in [&mut spec, &mut before] {
            spec["resources"]["requests"]["storage"] = Value::Null;
        }
    }
    if spec != before {
        check.add(FieldError::forbidden("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"));
    }
    let amount = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
    let size = |object: &Value| amount(&object["spec"]["resources"]["requests"]["storage"]);
    if let (Some(wanted), Some(before)) = (size(new), size(old))
        && wanted < before
        && amount(&old["status"]["capacity"]["storage"]).is_some_and(|present| wanted <= present)
    {
        check.add(FieldError::forbidden(
            "spec.resources.requests.storage",
            "field can not be less than status.capacity",
        ));
    }
}

pub(super) fn volume(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    if list(&spec["accessModes"]).is_empty() {
        check.add(FieldError::required("spec.accessModes", ""));
    } else {
        access_modes(&spec["accessModes"], "spec.accessModes", check);
    }
    if entries(&spec["capacity"]).next().is_none() {
        check.add(FieldError::required("spec.capacity", ""));
    }
    let others = entries(&spec["capacity"]).count();
    if spec["capacity"].get("storage").is_none() || others > 1 {
        let shown = super::jobs::sorted(&spec["capacity"]);
        check.add(FieldError::unsupported(
            "spec.capacity",
            shown,
            &["storage"],
        ));
    }
    for (name, value) in entries(&spec["capacity"]) {
        let amount = value.as_str().and_then(|text| Quantity::parse(text).ok());
        let Some(amount) = amount else { continue };
        let path = format!("spec.capacity[{name}]");
        if amount.sign() < 0 {
            let shown: Value = serde_json::from_str(text(value)).unwrap_or(value.clone());
            check.invalid(&path, shown, "must be a valid resource quantity");
        }
        if name == "storage" && amount.sign() <= 0 {
            check.invalid(&path, value.clone(), "must be greater than zero");
        }
    }
    let class = text(&spec["storageClassName"]);
    if !class.is_empty() {
        let wrong = crate::names::dns1123_subdomain(class);
        check.names("spec.storageClassName", class, wrong);
    }
    if !spec["csi"].is_null() {
        for key in ["driver", "volumeHandle"] {
            check.required(&format!("spec.csi.{key}"), &spec["csi"][key], "");
        }
    }
    let sources: Vec<&String> = entries(spec)
        .filter(|(key, value)| !SPEC_FIELDS.contains(&key.as_str()) && !value.is_null())
        .map(|(key, _)| key)
        .collect();
    match sources.as_slice() {
        [] => check.add(FieldError::required("spec", "must specify a volume type")),
        [_] => {}
        [_, rest @ ..] => {
            for source in rest {
                check.add(FieldError::forbidden(
                    format!("spec.{source}"),
                    "may not specify more than 1 volume type",
                ));
            }
        }
    }
    if !spec["hostPath"].is_null() {
        let host = text(&spec["hostPath"]["path"]);
        check.required("spec.hostPath.path", &spec["hostPath"]["path"], "");
        if host.split('/').any(|part| part == "..") {
            check.invalid("spec.hostPath.path", host, "must not contain '..'");
        }
    }
    if !spec["local"].is_null() {
        check.required("spec.local.path", &spec["local"]["path"], "");
        if spec["nodeAffinity"].is_null() {
            check.add(FieldError::required(
                "spec.nodeAffinity",
                "Local volume requires node affinity",
            ));
        }
    }
    let Some(old) = old else { return };
    if sources
        .iter()
        .any(|source| spec[source.as_str()] != old["spec"][source.as_str()])
    {
        check.add(FieldError::forbidden(
            "spec.persistentvolumesource",
            "spec.persistentvolumesource is immutable after creation",
        ));
    }
    check.immutable(
        "volumeMode",
        &spec["volumeMode"],
        &old["spec"]["volumeMode"],
    );
    if !old["spec"]["nodeAffinity"].is_null() {
        check.immutable(
            "spec.nodeAffinity",
            &spec["nodeAffinity"],
            &old["spec"]["nodeAffinity"],
        );
    }
}

pub(super) fn class(new: &Value, old: Option<&Value>, check: &mut Check) {
    if check.required("provisioner", &new["provisioner"], "") {
        let name = text(&new["provisioner"]);
        check.names(
            "provisioner",
            name,
            crate::names::qualified_name(&name.to_lowercase()),
        );
    }
    super::csi::parameters(new, check);
    let policies = ["Delete", "Retain"];
    if !missing(&new["reclaimPolicy"]) && !policies.contains(&text(&new["reclaimPolicy"])) {
        check.one_of("reclaimPolicy", &new["reclaimPolicy"], &policies);
    }
    topologies(&new["allowedTopologies"], check);
    let Some(old) = old else { return };
    let empty =
        |value: &Value| value.is_null() || value.as_object().is_some_and(|map| map.is_empty());
    if !(empty(&new["parameters"]) && empty(&old["parameters"])) {
        check.immutable("parameters", &new["parameters"], &old["parameters"]);
    }
    check.immutable("provisioner", &new["provisioner"], &old["provisioner"]);
    check.immutable(
        "reclaimPolicy",
        &new["reclaimPolicy"],
        &old["reclaimPolicy"],
    );
    check.immutable(
        "volumeBindingMode",
        &new["volumeBindingMode"],
        &old["volumeBindingMode"],
    );
}

fn topologies(topologies: &Value, check: &mut Check) {
    let mut terms: Vec<&Value> = Vec::new();
    for (index, term) in list(topologies).iter().enumerate() {
        let path = format!("allowedTopologies[{index}].matchLabelExpressions");
        let mut keys: Vec<&str> = Vec::new();
        for (at, expression) in list(&term["matchLabelExpressions"]).iter().enumerate() {
            let path = format!("{path}[{at}]");
            let key = text(&expression["key"]);
            if list(&expression["values"]).is_empty() {
                check.add(FieldError::required(format!("{path}.values"), ""));
            }
            let values: Vec<&str> = list(&expression["values"]).iter().map(text).collect();
            for (at, value) in values.iter().enumerate() {
                if values[..at].contains(value) {
                    let path = format!("{path}.values[{at}]");
                    check.add(FieldError::duplicate(path, *value));
                }
            }
            let path = format!("{path}.key");
            check.names(&path, key, crate::names::qualified_name(key));
            if keys.contains(&key) {
                check.add(FieldError::duplicate(path, key));
            }
            keys.push(key);
        }
        // Nothing is said twice by an empty term too.
        if terms.contains(&term) || keys.is_empty() {
            check.add(FieldError::duplicate(path, ""));
        }
        terms.push(term);
    }
}
