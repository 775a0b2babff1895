//! The default roles and bindings, from the files beside the RBAC authorizer, as one JSON list.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

const FILES: [&str; 6] = [
    "cluster-roles.yaml",
    "cluster-role-bindings.yaml",
    "controller-roles.yaml",
    "controller-role-bindings.yaml",
    "namespace-roles.yaml",
    "namespace-role-bindings.yaml",
];

pub(super) fn table(module: &Path) -> Result<String> {
    let dir = module.join("plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata");
    let mut lines = Vec::new();
    for file in FILES {
        let path = dir.join(file);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let list: Value = serde_saphyr::from_str(&text).with_context(|| format!("parse {file}"))?;
        for mut item in list["items"].as_array().context("items")?.clone() {
            if let Some(metadata) = item["metadata"].as_object_mut() {
                metadata.remove("creationTimestamp");
            }
            lines.push(serde_json::to_string(&item)?);
        }
    }
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}
