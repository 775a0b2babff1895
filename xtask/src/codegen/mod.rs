//! `cargo xtask codegen`: reads what the Kubernetes project publishes about its own API and
//! writes it as small fact tables under `crates/api/facts/`.
//!
//! The sources are files of Go modules, fetched by the Go tool itself. Only facts are kept (names,
//! types, tags, verbs, rules), never prose. The level of Kubernetes moves by changing the
//! versions below and reading the difference. `check` regenerates in memory and fails on drift.

mod modules;
mod protobuf;
mod resources;
mod roles;
mod schemas;
mod types;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Where the discovery documents, OpenAPI documents and bootstrap roles are.
const KUBERNETES: &str = "k8s.io/kubernetes@v1.36.3";
/// Where the Go types are: those of all groups, of metadata, of definitions and of aggregation.
const API: &str = "k8s.io/api@v0.36.3";
const APIMACHINERY: &str = "k8s.io/apimachinery@v0.36.3";
const EXTENSIONS: &str = "k8s.io/apiextensions-apiserver@v0.36.3";
const AGGREGATOR: &str = "k8s.io/kube-aggregator@v0.36.3";

/// Writes the tables.
pub fn run() -> Result<()> {
    for (path, text) in tables()? {
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Fails where a committed table differs from its sources.
pub fn check() -> Result<()> {
    let stale: Vec<String> = tables()?
        .into_iter()
        .filter(|(path, text)| std::fs::read_to_string(path).ok().as_ref() != Some(text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if !stale.is_empty() {
        bail!("stale, run `cargo xtask codegen`: {}", stale.join(", "));
    }
    Ok(())
}

fn tables() -> Result<Vec<(PathBuf, String)>> {
    let kubernetes = modules::directory(KUBERNETES)?;
    let api = modules::directory(API)?;
    let apimachinery = modules::directory(APIMACHINERY)?;
    let extensions = modules::directory(EXTENSIONS)?;
    let aggregator = modules::directory(AGGREGATOR)?;
    let types = types::read(&api, &apimachinery, &extensions, &aggregator)?;
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/facts");
    let resources = resources::table(&kubernetes)?;
    let schemas = schemas::table(&kubernetes, &types)?;
    let roles = roles::table(&kubernetes)?;
    let protobuf = protobuf::table(&api, &apimachinery, &extensions, &aggregator)?;
    Ok(vec![
        (out.join("resources.txt"), resources),
        (out.join("schemas.txt"), schemas),
        (out.join("roles.json"), roles),
        (out.join("protobuf.txt"), protobuf),
    ])
}

/// Stable versions are served; alpha and beta ones are off upstream by default too.
fn is_stable(version: &str) -> bool {
    version
        .strip_prefix('v')
        .is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
}

fn read_json(path: &Path) -> Result<serde_json::Value> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()))
}
