//! `package-lock.json`, versions 1 to 3.

use super::LIMIT_PACKAGES;
use crate::Package;
use serde_json::Value;

pub(super) fn read(text: &str) -> Result<Vec<Package>, String> {
    let lock: Value = serde_json::from_str(text)
        .map_err(|e| format!("not JSON at line {} column {}", e.line(), e.column()))?;
    let mut packages = Vec::new();
    if let Some(entries) = lock.get("packages").and_then(Value::as_object) {
        for (path, entry) in entries {
            // Paths outside node_modules and links are the workspace's own packages.
            let Some((_, name)) = path.rsplit_once("node_modules/") else {
                continue;
            };
            if entry.get("link").and_then(Value::as_bool) == Some(true) {
                continue;
            }
            let name = entry.get("name").and_then(Value::as_str).unwrap_or(name);
            push(&mut packages, text, name, path, entry);
        }
    } else if let Some(entries) = lock.get("dependencies").and_then(Value::as_object) {
        nested(&mut packages, text, entries, 0)?;
    } else if lock.get("lockfileVersion").is_none() {
        return Err("neither \"packages\" nor \"dependencies\"".into());
    }
    Ok(packages)
}

fn nested(
    out: &mut Vec<Package>,
    text: &str,
    entries: &serde_json::Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    if depth > 100 || out.len() > LIMIT_PACKAGES {
        return Err("dependencies are nested too deep or too many".into());
    }
    for (name, entry) in entries {
        push(out, text, name, name, entry);
        if let Some(inner) = entry.get("dependencies").and_then(Value::as_object) {
            nested(out, text, inner, depth + 1)?;
        }
    }
    Ok(())
}

fn push(out: &mut Vec<Package>, text: &str, name: &str, key: &str, entry: &Value) {
    let version = entry
        .get("version")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // Not a version: a file, a link or a git address.
    if version.is_empty() || version.contains([':', '/']) {
        return;
    }
    let line = text
        .find(&format!("\"{key}\""))
        .map_or(0, |i| super::line_at(text, i));
    out.push(Package {
        ecosystem: "npm".into(),
        name: name.to_string(),
        version: version.to_string(),
        line,
        ..Package::default()
    });
}
