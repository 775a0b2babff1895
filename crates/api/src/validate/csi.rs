//! Rules of volume drivers and of what they say about nodes, capacity and attachments.

use super::check::{Check, IMMUTABLE, entries, list, missing, text};
use crate::field::FieldError;
use crate::names;
use crate::quantity::Quantity;
use serde_json::Value;
use std::collections::HashSet;

pub(super) fn driver(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    if !missing(&spec["fsGroupPolicy"]) && !policies.contains(&text(&spec["fsGroupPolicy"])) {
        check.one_of("spec.fsGroupPolicy", &spec["fsGroupPolicy"], &policies);
    }
    let modes = ["Persistent", "Ephemeral"];
    for mode in list(&spec["volumeLifecycleModes"]) {
        if !modes.contains(&text(mode)) {
            check.one_of("spec.volumeLifecycleModes", mode, &modes);
        }
    }
    let mut seen = HashSet::new();
    for (index, request) in list(&spec["tokenRequests"]).iter().enumerate() {
        let path = format!("spec.tokenRequests[{index}]");
        let audience = text(&request["audience"]);
        if !seen.insert(audience) {
            let at = format!("{path}.audience");
            check.add(FieldError::duplicate(at, audience));
            continue;
        }
        let Some(seconds) = request["expirationSeconds"].as_i64() else {
            continue;
        };
        let at = format!("{path}.expirationSeconds");
        if seconds < 600 {
            check.invalid(
                &at,
                seconds,
                "may not specify a duration less than 10 minutes",
            );
        } else if seconds > 1 << 32 {
            check.invalid(
                &at,
                seconds,
                "may not specify a duration larger than 2^32 seconds",
            );
        }
    }
    if let Some(seconds) = spec["nodeAllocatableUpdatePeriodSeconds"]
        .as_i64()
        .filter(|seconds| *seconds < 10)
    {
        check.invalid(
            "spec.nodeAllocatableUpdatePeriodSeconds",
            seconds,
            "must be greater than or equal to 10 seconds",
        );
    }
    let Some(old) = old else { return };
    // Upstream names the first one so.
    for (key, path) in [
        ("attachRequired", "spec.attachedRequired"),
        ("volumeLifecycleModes", "spec.volumeLifecycleModes"),
    ] {
        check.immutable(path, &spec[key], &old["spec"][key]);
    }
}

pub(super) fn node(new: &Value, old: Option<&Value>, check: &mut Check) {
    let mut seen = HashSet::new();
    let before = |name: &str| {
        let mut all = list(old.map_or(&Value::Null, |old| &old["spec"]["drivers"])).iter();
        all.find(|driver| driver["name"] == name)
    };
    for (index, driver) in list(&new["spec"]["drivers"]).iter().enumerate() {
        let path = format!("spec.drivers[{index}]");
        let name = text(&driver["name"]);
        let at = format!("{path}.name");
        if check.required(&at, &driver["name"], "") {
            check.names(&at, name, names::dns1123_subdomain(&name.to_lowercase()));
        }
        if !seen.insert(name) {
            check.add(FieldError::duplicate(at, name));
        }
        let at = format!("{path}.nodeID");
        if check.required(&at, &driver["nodeID"], "") && text(&driver["nodeID"]).len() > 256 {
            let why = "must be 256 characters or less";
            check.invalid(&at, driver["nodeID"].clone(), why);
        }
        if let Some(count) = driver["allocatable"]["count"].as_i64().filter(|n| *n < 0) {
            let why = "must be greater than or equal to 0";
            check.invalid(&format!("{path}.allocatable.count"), count, why);
        }
        let mut keys = HashSet::new();
        for key in list(&driver["topologyKeys"]).iter().map(text) {
            let at = format!("{path}.topologyKeys");
            if !keys.insert(key) {
                check.add(FieldError::duplicate(at.clone(), key));
            }
            check.names(&at, key, names::qualified_name(key));
        }
        if let Some(old) = before(name)
            && (old["nodeID"] != driver["nodeID"] || old["topologyKeys"] != driver["topologyKeys"])
        {
            check.invalid(&path, shown(driver), IMMUTABLE);
        }
    }
}

fn shown(driver: &Value) -> Value {
    serde_json::json!({
        "Name": driver["name"],
        "NodeID": driver["nodeID"],
        "TopologyKeys": driver["topologyKeys"],
        "Allocatable": driver["allocatable"],
    })
}

pub(super) fn capacity(new: &Value, old: Option<&Value>, check: &mut Check) {
    let class = text(&new["storageClassName"]);
    check.names("storageClassName", class, names::dns1123_subdomain(class));
    for key in ["capacity", "maximumVolumeSize"] {
        let amount = new[key]
            .as_str()
            .and_then(|text| Quantity::parse(text).ok());
        if amount.is_some_and(|amount| amount.sign() < 0) {
            let why = "must be greater than or equal to 0";
            check.invalid(key, new[key].clone(), why);
        }
    }
    if !new["nodeTopology"].is_null() {
        check.selector("nodeTopology", &new["nodeTopology"]);
    }
    if let Some(old) = old {
        for key in ["nodeTopology", "storageClassName"] {
            check.immutable(key, &new[key], &old[key]);
        }
    }
}

pub(super) fn attachment(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    if check.required("spec.attacher", &spec["attacher"], "") {
        let name = text(&spec["attacher"]);
        let lower = name.to_lowercase();
        check.names("spec.attacher", name, names::dns1123_subdomain(&lower));
    }
    let node = text(&spec["nodeName"]);
    check.names("spec.nodeName", node, names::dns1123_subdomain(node));
    let source = &spec["source"];
    let (inline, named) = (&source["inlineVolumeSpec"], &source["persistentVolumeName"]);
    match (inline.is_null(), missing(named)) {
        (true, true) => {
            let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            check.add(FieldError::required("spec.source", why));
        }
        (false, false) => {
            let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            check.add(FieldError::forbidden("spec.source", why));
        }
        _ => {}
    }
    if let Some(old) = old
        && *spec != old["spec"]
    {
        let shown = serde_json::json!({
            "Attacher": spec["attacher"],
            "Source": {"PersistentVolumeName": named, "InlineVolumeSpec": inline},
            "NodeName": spec["nodeName"],
        });
        check.invalid("spec", shown, IMMUTABLE);
    }
}

pub(super) fn attributes_class(new: &Value, old: Option<&Value>, check: &mut Check) {
    if check.required("driverName", &new["driverName"], "") {
        let name = text(&new["driverName"]);
        let lower = name.to_lowercase();
        check.names("driverName", name, names::dns1123_subdomain(&lower));
    }
    if entries(&new["parameters"]).next().is_none() {
        let why = "must contain at least one key/value pair";
        check.add(FieldError::required("parameters", why));
    }
    parameters(new, check);
    if let Some(old) = old {
        for key in ["driverName", "parameters"] {
            if new[key] != old[key] {
                let why = format!("updates to {key} are forbidden.");
                check.add(FieldError::forbidden(key, why));
            }
        }
    }
}

pub(super) fn parameters(new: &Value, check: &mut Check) {
    for (key, _) in entries(&new["parameters"]) {
        if key.is_empty() {
            check.invalid("parameters", "", "field can not be empty.");
        }
    }
}
