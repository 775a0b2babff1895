//! `requirements.txt`, `poetry.lock`, `uv.lock`.

use super::line_at;
use crate::Package;

fn package(name: &str, version: &str, line: u32) -> Package {
    Package {
        ecosystem: "PyPI".into(),
        name: name.to_string(),
        version: version.to_string(),
        line,
        ..Package::default()
    }
}

/// Only pinned requirements (`==`) name a version that can be looked up.
pub(super) fn requirements(text: &str) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line
            .split(" #")
            .next()
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        if line.is_empty() || line.starts_with(['#', '-']) {
            continue;
        }
        let Some((name, version)) = line.split_once("==") else {
            continue;
        };
        let name = name
            .split('[')
            .next()
            .unwrap_or_default()
            .trim()
            .trim_end_matches('=');
        let version = version
            .trim()
            .split([' ', ',', '\\'])
            .next()
            .unwrap_or_default();
        let plain = |t: &str| {
            !t.is_empty()
                && t.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.+!*".contains(&b))
        };
        if plain(name) && plain(version) && !version.contains('*') {
            packages.push(package(name, version, number as u32 + 1));
        }
    }
    Ok(packages)
}

#[derive(serde::Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    name: toml::Spanned<String>,
    #[serde(default)]
    version: String,
    source: Option<toml::Value>,
}

/// Packages from a registry; local ones (`editable`, `virtual`, `directory`) are the user's own.
pub(super) fn toml_lock(text: &str) -> Result<Vec<Package>, String> {
    let lock: Lock =
        toml::from_str(text).map_err(|e| format!("not a lock file: {}", e.message()))?;
    let local = |source: &Option<toml::Value>| {
        let Some(toml::Value::Table(table)) = source else {
            return false;
        };
        ["editable", "virtual", "directory", "path"]
            .iter()
            .any(|k| table.contains_key(*k))
            || table.get("type").and_then(toml::Value::as_str) == Some("directory")
    };
    Ok(lock
        .package
        .into_iter()
        .filter(|p| !local(&p.source) && !p.version.is_empty())
        .map(|p| {
            let line = line_at(text, p.name.span().start);
            package(&p.name.into_inner(), &p.version, line)
        })
        .collect())
}
