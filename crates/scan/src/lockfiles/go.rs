//! `go.mod` and `go.sum`.

use crate::Package;

fn package(name: &str, version: &str, line: u32) -> Package {
    Package {
        ecosystem: "Go".into(),
        name: name.to_string(),
        version: version.to_string(),
        line,
        ..Package::default()
    }
}

/// Requirements after replacements, and the language version as package `stdlib`.
pub(super) fn read_mod(text: &str) -> Result<Vec<Package>, String> {
    let mut required: Vec<Package> = Vec::new();
    let mut replaced: Vec<(String, Option<String>, String, String)> = Vec::new();
    let mut block = String::new();
    for (number, raw) in text.lines().enumerate() {
        let line = raw.split("//").next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if line == ")" {
            block.clear();
            continue;
        }
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words.last() == Some(&"(") {
            block = words[0].to_string();
            continue;
        }
        let verb = if block.is_empty() {
            words.remove(0).to_string()
        } else {
            block.clone()
        };
        let at = number as u32 + 1;
        match (verb.as_str(), words.as_slice()) {
            ("require", [name, version]) => {
                required.push(package(name.trim_matches('"'), version, at))
            }
            ("require", _) => {
                return Err(format!("line {at}: require needs a module and a version"));
            }
            ("go", [version]) => required.push(package("stdlib", version, at)),
            ("replace", [from, "=>", to, version]) => {
                replaced.push((from.to_string(), None, to.to_string(), version.to_string()));
            }
            ("replace", [from, old, "=>", to, version]) => {
                replaced.push((
                    from.to_string(),
                    Some(old.to_string()),
                    to.to_string(),
                    version.to_string(),
                ));
            }
            // Replaced by a directory: the user's own code.
            ("replace", [from, .., "=>", _]) => {
                replaced.push((from.to_string(), None, String::new(), String::new()));
            }
            _ => {}
        }
    }
    if !block.is_empty() {
        return Err(format!("block {block:?} is not closed"));
    }
    for (from, old, to, version) in replaced {
        for package in required
            .iter_mut()
            .filter(|p| p.name == from && old.as_ref().is_none_or(|o| *o == p.version))
        {
            package.name = to.clone();
            package.version = version.clone();
        }
    }
    required.retain(|p| !p.name.is_empty());
    Ok(required)
}

/// Modules whose source was fetched; lines that end in `/go.mod` only say that it was looked at.
pub(super) fn read_sum(text: &str) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [name, version, _] if !version.ends_with("/go.mod") => {
                packages.push(package(name, version, number as u32 + 1));
            }
            [_, _, _] => {}
            _ => {
                return Err(format!(
                    "line {}: a module, a version and a hash were expected",
                    number + 1
                ));
            }
        }
    }
    Ok(packages)
}
