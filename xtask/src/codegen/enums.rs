//! Enumerations of the Go types: `// +enum` string types, their constants, and the fields that
//! have such a type. The published OpenAPI documents leave them out.

use anyhow::{Context, Result};
use regex::Regex;
use std::collections::BTreeMap;
use std::path::Path;

/// `<go package>.<Struct>.<json field>` to the allowed values, in source order.
pub(super) type Enums = BTreeMap<String, Vec<String>>;

/// Reads every `<group>/<version>/types.go` of the module.
pub(super) fn read(module: &Path) -> Result<Enums> {
    let mut enums = Enums::new();
    for group in directories(module)? {
        for version in directories(&group)? {
            let source = version.join("types.go");
            if let Ok(text) = std::fs::read_to_string(&source) {
                let package = format!("{}.{}", last(&group), last(&version));
                scan(&package, &text, &mut enums).with_context(|| source.display().to_string())?;
            }
        }
    }
    Ok(enums)
}

fn scan(package: &str, text: &str, enums: &mut Enums) -> Result<()> {
    let declared = Regex::new(r"(?m)^// \+enum\s*\n(?:^//.*\n)*^type (\w+) string")?;
    let constant = Regex::new(r#"(?m)^\s*(?:const )?\w+\s+(\w+)\s*=\s*"([^"]*)""#)?;
    let types: Vec<&str> = declared.captures_iter(text).filter_map(|c| c.get(1)).map(|m| m.as_str()).collect();
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for found in constant.captures_iter(text) {
        let (Some(name), Some(value)) = (found.get(1), found.get(2)) else { continue };
        if types.contains(&name.as_str()) {
            values.entry(name.as_str()).or_default().push(value.as_str().to_string());
        }
    }
    let opening = Regex::new(r"^type (\w+) struct \{")?;
    let field = Regex::new(r#"^\s+\w+\s+\*?(\w+)\s+`json:"([^",]+)"#)?;
    let mut owner = None;
    for line in text.lines() {
        if let Some(found) = opening.captures(line) {
            owner = Some(found[1].to_string());
        } else if line == "}" {
            owner = None;
        } else if let (Some(owner), Some(found)) = (&owner, field.captures(line))
            && let Some(values) = values.get(&found[1])
        {
            enums.insert(format!("{package}.{owner}.{}", &found[2]), values.clone());
        }
    }
    Ok(())
}

fn directories(path: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found: Vec<_> = std::fs::read_dir(path)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    Ok(found)
}

fn last(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
