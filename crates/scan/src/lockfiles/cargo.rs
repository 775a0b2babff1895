//! `Cargo.lock`.

use super::line_at;
use crate::Package;

#[derive(serde::Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<toml::Spanned<Entry>>,
}

#[derive(serde::Deserialize)]
struct Entry {
    name: toml::Spanned<String>,
    version: String,
    source: Option<String>,
}

// Packages without a source are the workspace's own.
pub(super) fn read(text: &str) -> Result<Vec<Package>, String> {
    let lock: Lock =
        toml::from_str(text).map_err(|e| format!("not a Cargo.lock: {}", e.message()))?;
    let packages = lock
        .package
        .into_iter()
        .map(toml::Spanned::into_inner)
        .filter(|p| p.source.is_some());
    Ok(packages
        .map(|p| Package {
            ecosystem: "crates.io".into(),
            line: line_at(text, p.name.span().start),
            name: p.name.into_inner(),
            version: p.version,
            ..Package::default()
        })
        .collect())
}
