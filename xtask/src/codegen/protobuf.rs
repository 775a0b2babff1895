//! Numbers and types of protobuf fields, from the struct tags of the Go types: JSON name, tag,
//! and whether a zero was meant (a pointer). Inlined structs and lists with a name of their own
//! are marked.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const META: &str = "k8s.io/apimachinery/pkg/apis/meta/v1";
const EXTENSIONS: &str = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1";

/// What a named Go type stands for.
#[derive(Clone)]
enum Named {
    Struct(Vec<Field>),
    Other(String),
}

#[derive(Clone)]
struct Field {
    tag: u32,
    json: String,
    go: String,
}

/// One Go package.
struct Package {
    /// `apps/v1`; `/v1` for the core group, `meta/v1` for what all share.
    name: String,
    types: BTreeMap<String, Named>,
    imports: BTreeMap<String, String>,
}

/// Writes the table: a line per message, and one per field below it.
pub(super) fn table(
    api: &Path,
    apimachinery: &Path,
    extensions: &Path,
    aggregator: &Path,
) -> Result<String> {
    let mut packages: BTreeMap<String, Package> = BTreeMap::new();
    for group in directories(api)? {
        for version in directories(&group)? {
            let name = file_name(&version);
            let register = version.join("register.go");
            if !register.exists() {
                continue;
            }
            let text = std::fs::read_to_string(&register)?;
            let declared = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("const GroupName = "));
            let Some(declared) = declared else { continue };
            let path = format!("k8s.io/api/{}/{name}", file_name(&group));
            packages.insert(
                path,
                package(&version, format!("{}/{name}", declared.trim_matches('"')))?,
            );
        }
    }
    let meta = apimachinery.join("pkg/apis/meta");
    packages.insert(META.into(), package(&meta.join("v1"), "meta/v1".into())?);
    packages.insert(
        "k8s.io/apimachinery/pkg/apis/meta/v1beta1".into(),
        package(&meta.join("v1beta1"), "meta/v1beta1".into())?,
    );
    packages.insert(
        EXTENSIONS.into(),
        package(
            &extensions.join("pkg/apis/apiextensions/v1"),
            "apiextensions.k8s.io/v1".into(),
        )?,
    );
    packages.insert(
        "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1".into(),
        package(
            &aggregator.join("pkg/apis/apiregistration/v1"),
            "apiregistration.k8s.io/v1".into(),
        )?,
    );
    let mut out = String::new();
    for (path, package) in &packages {
        for (name, named) in &package.types {
            let Named::Struct(fields) = named else {
                continue;
            };
            if fields.is_empty() {
                continue;
            }
            out.push_str(&format!("message {}.{name}\n", package.name));
            let mut fields = fields.clone();
            fields.sort_by_key(|field| field.tag);
            for field in fields {
                let kind = kind(&packages, path, &field.go).with_context(|| {
                    format!("type {} of {path}.{name}.{}", field.go, field.json)
                })?;
                let json = if field.json.is_empty() {
                    "-"
                } else {
                    &field.json
                };
                out.push_str(&format!("{} {json} {kind}\n", field.tag));
            }
        }
    }
    Ok(out)
}

fn directories(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| format!("read {}", path.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn package(directory: &Path, name: String) -> Result<Package> {
    let mut package = Package {
        name,
        types: BTreeMap::new(),
        imports: BTreeMap::new(),
    };
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let file = file_name(&path);
        let generated = file.starts_with("zz_") || file.starts_with("generated");
        if file.ends_with(".go") && !file.ends_with("_test.go") && !generated {
            files.insert(path);
        }
    }
    for file in files {
        read(&std::fs::read_to_string(&file)?, &mut package);
    }
    Ok(package)
}

fn read(text: &str, package: &mut Package) {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["type", name, "struct", "{"] => {
                let fields = lines
                    .by_ref()
                    .take_while(|line| *line != "}")
                    .filter_map(field)
                    .collect();
                package
                    .types
                    .insert((*name).to_string(), Named::Struct(fields));
            }
            ["type", name, "struct{}"] | ["type", name, "struct", "{}"] => {
                package
                    .types
                    .insert((*name).to_string(), Named::Struct(Vec::new()));
            }
            ["type", name, other] | ["type", name, "=", other]
                if !other.starts_with("interface") =>
            {
                package
                    .types
                    .insert((*name).to_string(), Named::Other((*other).to_string()));
            }
            [path] | ["import", path] if path.starts_with("\"k8s.io/") => {
                let path = path.trim_matches('"');
                let alias = path.rsplit('/').next().unwrap_or_default();
                package.imports.insert(alias.into(), path.into());
            }
            [alias, path] | ["import", alias, path] if path.starts_with("\"k8s.io/") => {
                package
                    .imports
                    .insert((*alias).into(), path.trim_matches('"').into());
            }
            _ => {}
        }
    }
}

fn field(line: &str) -> Option<Field> {
    let (before, tags) = line
        .split_once('`')
        .filter(|_| !line.trim_start().starts_with("//"))?;
    let part = |key: &str| {
        let (_, rest) = tags.split_once(&format!("{key}:\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let tag = part("protobuf")?.split(',').nth(1)?.parse().ok()?;
    let json = part("json")?;
    let inline = json.split(',').skip(1).any(|option| option == "inline");
    let json = if inline {
        ""
    } else {
        json.split(',').next().unwrap_or_default()
    };
    Some(Field {
        tag,
        json: json.to_string(),
        go: before.split_whitespace().last()?.to_string(),
    })
}

// The kind of a Go type as the table says it.
fn kind(packages: &BTreeMap<String, Package>, at: &str, go: &str) -> Option<String> {
    if let Some(rest) = go.strip_prefix('*') {
        return Some(format!("*{}", kind(packages, at, rest)?));
    }
    if go == "[]byte" {
        return Some("bytes".into());
    }
    if let Some(rest) = go.strip_prefix("[]") {
        return Some(format!("[]{}", kind(packages, at, rest)?));
    }
    if let Some(rest) = go.strip_prefix("map[") {
        let (_, value) = rest.split_once(']')?;
        return Some(format!("{{}}{}", kind(packages, at, value)?));
    }
    match go {
        "string" => return Some("string".into()),
        "bool" => return Some("bool".into()),
        "int" | "int32" | "int64" | "uint32" | "uint64" | "uint8" => return Some("int".into()),
        "float64" => return Some("double".into()),
        _ => {}
    }
    let (path, name) = match go.split_once('.') {
        Some((alias, name)) => (packages.get(at)?.imports.get(alias)?.as_str(), name),
        None => (at, go),
    };
    match (path, name) {
        (META, "Time") => return Some("time".into()),
        (META, "MicroTime") => return Some("microtime".into()),
        (META, "Duration") => return Some("duration".into()),
        (META, "FieldsV1") => return Some("json".into()),
        ("k8s.io/apimachinery/pkg/runtime", "RawExtension") => return Some("json".into()),
        ("k8s.io/apimachinery/pkg/api/resource", "Quantity") => return Some("quantity".into()),
        ("k8s.io/apimachinery/pkg/util/intstr", "IntOrString") => {
            return Some("intorstring".into());
        }
        // What is one of two things in JSON has a message with a field for each.
        (EXTENSIONS, "JSON") => return Some("json".into()),
        (EXTENSIONS, "JSONSchemaPropsOrArray") => return Some("schemaorlist".into()),
        (EXTENSIONS, "JSONSchemaPropsOrBool") => return Some("schemaorbool".into()),
        (EXTENSIONS, "JSONSchemaPropsOrStringArray") => return Some("schemaorstrings".into()),
        ("k8s.io/apimachinery/pkg/types", _) => return Some("string".into()),
        _ => {}
    }
    let package = packages.get(path)?;
    match package.types.get(name)? {
        Named::Struct(_) => Some(format!("{}.{name}", package.name)),
        // A list with a name of its own is a message of its own.
        Named::Other(other) if other.starts_with("[]") && other != "[]byte" => {
            Some(format!("items:{}", kind(packages, path, other)?))
        }
        Named::Other(other) => kind(packages, path, other),
    }
}
