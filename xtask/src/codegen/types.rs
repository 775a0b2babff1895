//! What only the Go types say: closed value lists (`// +enum`), which fields are left out when
//! zero, and which are written although nobody set them. The published OpenAPI documents do not
//! have these.

use anyhow::{Context, Result};
use regex::Regex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One field of a Go struct.
#[derive(Debug, Clone, Default)]
pub(super) struct Field {
    /// Allowed values, in source order.
    pub(super) allowed: Vec<String>,
    /// Behind a pointer: zero and missing are told apart.
    pub(super) pointer: bool,
    /// Left out when zero (for structures: only with `omitzero`).
    pub(super) omitted: bool,
    /// `omitzero`, which also works for structures.
    pub(super) omits_zero: bool,
}

/// `<definition without io.k8s.>` to its fields by JSON name.
pub(super) type Types = BTreeMap<String, BTreeMap<String, Field>>;

/// A Go package with API types.
struct Package {
    prefix: String,
    files: Vec<PathBuf>,
}

#[derive(Default)]
struct Struct {
    fields: BTreeMap<String, Field>,
    embedded: Vec<String>,
}

/// Reads the types of all modules.
pub(super) fn read(
    api: &Path,
    apimachinery: &Path,
    extensions: &Path,
    aggregator: &Path,
) -> Result<Types> {
    let mut packages = vec![
        Package {
            prefix: "apimachinery.pkg.apis.meta.v1".into(),
            files: vec![apimachinery.join("pkg/apis/meta/v1/types.go")],
        },
        Package {
            prefix: "apiextensions-apiserver.pkg.apis.apiextensions.v1".into(),
            files: vec![
                extensions.join("pkg/apis/apiextensions/v1/types.go"),
                extensions.join("pkg/apis/apiextensions/v1/types_jsonschema.go"),
            ],
        },
        Package {
            prefix: "kube-aggregator.pkg.apis.apiregistration.v1".into(),
            files: vec![aggregator.join("pkg/apis/apiregistration/v1/types.go")],
        },
    ];
    for group in directories(api)? {
        for version in directories(&group)? {
            let file = version.join("types.go");
            if file.exists() {
                let prefix = format!("api.{}.{}", last(&group), last(&version));
                packages.push(Package {
                    prefix,
                    files: vec![file],
                });
            }
        }
    }
    let mut structs: BTreeMap<String, Struct> = BTreeMap::new();
    for package in &packages {
        for file in &package.files {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            scan(&package.prefix, &text, &mut structs)
                .with_context(|| file.display().to_string())?;
        }
    }
    let names: Vec<String> = structs.keys().cloned().collect();
    Ok(names
        .into_iter()
        .map(|name| (name.clone(), flatten(&structs, &name, 0)))
        .collect())
}

/// Fields of embedded structs belong to the embedding one.
fn flatten(
    structs: &BTreeMap<String, Struct>,
    name: &str,
    depth: usize,
) -> BTreeMap<String, Field> {
    let Some(found) = structs.get(name).filter(|_| depth < 8) else {
        return BTreeMap::new();
    };
    let mut fields = BTreeMap::new();
    for embedded in &found.embedded {
        fields.extend(flatten(structs, embedded, depth + 1));
    }
    fields.extend(found.fields.clone());
    fields
}

fn scan(package: &str, text: &str, structs: &mut BTreeMap<String, Struct>) -> Result<()> {
    let values = enumerations(text)?;
    let opening = Regex::new(r"^type (\w+) struct \{")?;
    let field = Regex::new(r#"^\s+(?:\w+\s+)?(\*?)([\w.\[\]*]+)\s+`json:"([^"]*)""#)?;
    let mut owner: Option<String> = None;
    for line in text.lines() {
        if let Some(found) = opening.captures(line) {
            owner = Some(format!("{package}.{}", &found[1]));
            continue;
        } else if line == "}" {
            owner = None;
        }
        let (Some(owner), Some(found)) = (&owner, field.captures(line)) else {
            continue;
        };
        let entry = structs.entry(owner.clone()).or_default();
        let (pointer, kind, tag) = (&found[1] == "*", &found[2], &found[3]);
        let mut parts = tag.split(',');
        let name = parts.next().unwrap_or_default();
        let options: Vec<&str> = parts.collect();
        if name.is_empty() {
            entry.embedded.push(qualify(package, kind));
            continue;
        }
        let omits_zero = options.contains(&"omitzero");
        let field = Field {
            allowed: values.get(kind).cloned().unwrap_or_default(),
            pointer,
            omitted: omits_zero || options.contains(&"omitempty"),
            omits_zero,
        };
        entry.fields.insert(name.to_string(), field);
    }
    Ok(())
}

fn qualify(package: &str, kind: &str) -> String {
    match kind.split_once('.') {
        None => format!("{package}.{kind}"),
        Some(("metav1", name)) => format!("apimachinery.pkg.apis.meta.v1.{name}"),
        Some((_, name)) => format!("api.core.v1.{name}"),
    }
}

/// Constants of the string types marked as closed.
fn enumerations(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let declared = Regex::new(r"(?m)^// \+enum\s*\n(?:^//.*\n)*^type (\w+) string")?;
    let constant = Regex::new(r#"(?m)^\s*(?:const )?\w+\s+(\w+)\s*=\s*"([^"]*)""#)?;
    let types: Vec<&str> = declared
        .captures_iter(text)
        .filter_map(|c| c.get(1))
        .map(|m| m.as_str())
        .collect();
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for found in constant.captures_iter(text) {
        if types.contains(&&found[1]) {
            values
                .entry(found[1].to_string())
                .or_default()
                .push(found[2].to_string());
        }
    }
    Ok(values)
}

fn directories(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<_> = std::fs::read_dir(path)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    Ok(found)
}

fn last(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
