//! Volumes of a pod: each has a name of its own and one source, and where containers mount them.

use crate::field::FieldError;
use crate::names;
use crate::validate::check::{Check, entries, list, text};
use serde_json::Value;
use std::collections::HashSet;

pub(super) fn volumes(volumes: &Value, path: &str, check: &mut Check) -> HashSet<String> {
    let mut names = HashSet::new();
    for (index, volume) in list(volumes).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = text(&volume["name"]);
        let at = format!("{path}.name");
        if name.is_empty() {
            check.add(FieldError::required(at, ""));
        } else {
            check.names(&at, name, names::dns1123_label(name));
            if !names.insert(name.to_string()) {
                check.add(FieldError::duplicate(at, name));
            }
        }
        let sources = sources(volume);
        match sources.as_slice() {
            [] => check.add(FieldError::required(
                path.clone(),
                "must specify a volume type",
            )),
            [_] => {}
            [_, rest @ ..] => {
                for source in rest {
                    check.add(FieldError::forbidden(
                        format!("{path}.{source}"),
                        "may not specify more than 1 volume type",
                    ));
                }
            }
        }
        source(volume, &path, check);
    }
    names
}

/// Volume fields that are sources; exactly one is given.
fn sources(volume: &Value) -> Vec<&String> {
    entries(volume)
        .filter(|(key, value)| *key != "name" && !value.is_null())
        .map(|(key, _)| key)
        .collect()
}

/// Fields a source cannot do without, and file modes.
fn source(volume: &Value, path: &str, check: &mut Check) {
    for (source, field) in [
        ("secret", "secretName"),
        ("configMap", "name"),
        ("persistentVolumeClaim", "claimName"),
        ("hostPath", "path"),
        ("nfs", "server"),
        ("nfs", "path"),
        ("csi", "driver"),
        ("image", "reference"),
    ] {
        if !volume[source].is_null() {
            check.required(
                &format!("{path}.{source}.{field}"),
                &volume[source][field],
                "",
            );
        }
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        let at = format!("{path}.{source}");
        mode(
            &volume[source]["defaultMode"],
            &format!("{at}.defaultMode"),
            check,
        );
        for (index, item) in list(&volume[source]["items"]).iter().enumerate() {
            let at = format!("{at}.items[{index}]");
            if source != "downwardAPI" {
                check.required(&format!("{at}.key"), &item["key"], "");
            }
            if check.required(&format!("{at}.path"), &item["path"], "") {
                relative(text(&item["path"]), &format!("{at}.path"), check);
            }
            mode(&item["mode"], &format!("{at}.mode"), check);
        }
    }
    let share = text(&volume["nfs"]["path"]);
    if !volume["nfs"].is_null() && !share.starts_with('/') {
        check.invalid(
            &format!("{path}.nfs.path"),
            share,
            "must be an absolute path",
        );
    }
    let host = text(&volume["hostPath"]["path"]);
    if host.split('/').any(|part| part == "..") {
        check.invalid(
            &format!("{path}.hostPath.path"),
            host,
            "must not contain '..'",
        );
    }
}

fn mode(value: &Value, path: &str, check: &mut Check) {
    if let Some(mode) = value.as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        check.invalid(
            path,
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}

fn relative(value: &str, path: &str, check: &mut Check) {
    if value.starts_with('/') {
        check.invalid(path, value, "must be a relative path");
    }
    if value.split('/').any(|part| part == "..") {
        check.invalid(path, value, "must not contain '..'");
    }
}

pub(super) fn mounts(mounts: &Value, path: &str, volumes: &HashSet<String>, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, mount) in list(mounts).iter().enumerate() {
        let at = |name: &str| format!("{path}[{index}].{name}");
        let (name, place) = (text(&mount["name"]), text(&mount["mountPath"]));
        check.required(&at("name"), &mount["name"], "");
        if !volumes.contains(name) {
            check.add(FieldError::not_found(at("name"), name));
        }
        check.required(&at("mountPath"), &mount["mountPath"], "");
        if !seen.insert(place) {
            check.invalid(&at("mountPath"), place, "must be unique");
        }
        for key in ["subPath", "subPathExpr"] {
            let value = text(&mount[key]);
            if !value.is_empty() {
                relative(value, &format!("{path}.{key}"), check);
            }
        }
        if !text(&mount["subPath"]).is_empty() && !text(&mount["subPathExpr"]).is_empty() {
            let value = text(&mount["subPathExpr"]);
            check.invalid(
                &at("subPathExpr"),
                value,
                "subPathExpr and subPath are mutually exclusive",
            );
        }
    }
}
