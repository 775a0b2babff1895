//! ConfigMaps and Secrets from literals, files and env files.

use super::load::Source;
use super::resource::{Behavior, Resource};
use super::spec::{Generator, Path};
use crate::Finding;
use crate::yaml::{Map, Node, Value};
use base64::Engine;
use std::collections::BTreeMap;

/// Makes the object.
pub(super) fn make(generator: &Generator, source: &Source<'_>) -> Result<Resource, Finding> {
    let pairs = pairs(generator, source)?;
    let mut root = Map::new();
    root.insert("apiVersion".into(), Node::string("v1"));
    root.insert(
        "kind".into(),
        Node::string(if generator.secret {
            "Secret"
        } else {
            "ConfigMap"
        }),
    );
    let mut metadata = Map::new();
    metadata.insert("name".into(), Node::string(generator.name.clone()));
    if !generator.namespace.is_empty() {
        metadata.insert(
            "namespace".into(),
            Node::string(generator.namespace.clone()),
        );
    }
    for (field, values) in [
        ("labels", &generator.options.labels),
        ("annotations", &generator.options.annotations),
    ] {
        if !values.is_empty() {
            metadata.insert(field.into(), string_map(values.iter().cloned()));
        }
    }
    root.insert("metadata".into(), Value::Map(metadata).into());
    if generator.secret {
        let type_ = if generator.type_.is_empty() {
            "Opaque"
        } else {
            &generator.type_
        };
        root.insert("type".into(), Node::string(type_));
        let data = pairs
            .into_iter()
            .map(|(key, value)| (key, base64_lines(&value)));
        root.insert("data".into(), string_map(data));
    } else {
        let (text, binary): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .partition(|(_, value)| std::str::from_utf8(value).is_ok());
        if !text.is_empty() {
            let data = text
                .into_iter()
                .map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned()));
            root.insert("data".into(), string_map(data));
        }
        if !binary.is_empty() {
            let data = binary
                .into_iter()
                .map(|(key, value)| (key, base64_lines(&value)));
            root.insert("binaryData".into(), string_map(data));
        }
    }
    if generator.options.immutable {
        root.insert("immutable".into(), Node::bool(true));
    }
    let mut resource = Resource::new(Value::Map(root).into(), "");
    resource.hashed = !generator.options.disable_hash;
    resource.behavior = generator.behavior;
    Ok(resource)
}

fn string_map(pairs: impl Iterator<Item = (String, String)>) -> Node {
    Value::Map(
        pairs
            .map(|(key, value)| (key, Node::string(value)))
            .collect(),
    )
    .into()
}

// Long values are broken into lines, which is part of the content that names the object.
fn base64_lines(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    if text.len() < 70 {
        return text;
    }
    let mut out = String::with_capacity(text.len() + text.len() / 70 + 1);
    for chunk in text.as_bytes().chunks(70) {
        out.push_str(std::str::from_utf8(chunk).unwrap_or_default());
        out.push('\n');
    }
    out
}

fn pairs(generator: &Generator, source: &Source<'_>) -> Result<BTreeMap<String, Vec<u8>>, Finding> {
    let mut pairs = BTreeMap::new();
    let mut add = |path: &Path, key: &str, value: Vec<u8>| {
        let legal = !key.is_empty()
            && key.len() <= 253
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !legal {
            let hint = "letters, digits, '-', '_' and '.'";
            return Err(source
                .fault(path, "kustomize/key", format!("{key:?} is not a key"))
                .hint(hint));
        }
        if pairs.insert(key.to_string(), value).is_some() {
            return Err(source.fault(path, "kustomize/key", format!("key {key:?} is given twice")));
        }
        Ok(())
    };
    for path in &generator.envs {
        let content = source.read(path)?;
        let text = std::str::from_utf8(content).map_err(|_| {
            source.fault(
                path,
                "kustomize/encoding",
                format!("{} is not UTF-8", path.text),
            )
        })?;
        for (number, line) in text
            .strip_prefix('\u{feff}')
            .unwrap_or(text)
            .split('\n')
            .enumerate()
        {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let named = key.bytes().enumerate().all(|(i, b)| {
                b.is_ascii_alphabetic()
                    || matches!(b, b'_' | b'.' | b'-')
                    || (i > 0 && b.is_ascii_digit())
            });
            if key.is_empty() || !named {
                let message = format!(
                    "{}:{}: {key:?} is not a variable name",
                    path.text,
                    number + 1
                );
                return Err(source.fault(path, "kustomize/env", message));
            }
            add(path, key, value.as_bytes().to_vec())?;
        }
    }
    for path in &generator.literals {
        let Some((key, value)) = path.text.split_once('=').filter(|(key, _)| !key.is_empty())
        else {
            return Err(source.fault(
                path,
                "kustomize/literal",
                format!("{:?} is not key=value", path.text),
            ));
        };
        add(path, key, unquote(value).as_bytes().to_vec())?;
    }
    for path in &generator.files {
        let (key, file) = match path.text.split_once('=') {
            None => (
                path.text.rsplit('/').next().unwrap_or_default(),
                path.text.as_str(),
            ),
            Some((key, file)) if !key.is_empty() && !file.is_empty() && !file.contains('=') => {
                (key, file)
            }
            Some(_) => {
                return Err(source.fault(
                    path,
                    "kustomize/file",
                    format!("{:?} is not [key=]path", path.text),
                ));
            }
        };
        let content = source.read(&Path {
            text: file.into(),
            ..path.clone()
        })?;
        add(path, key, content.to_vec())?;
    }
    Ok(pairs)
}

fn unquote(text: &str) -> &str {
    let bytes = text.as_bytes();
    match bytes {
        [b'"', .., b'"'] | [b'\'', .., b'\''] if bytes.len() >= 2 => &text[1..text.len() - 1],
        _ => text,
    }
}

/// Adds a generated object to those that exist, by its behaviour.
pub(super) fn absorb(resources: &mut Vec<Resource>, mut made: Resource) -> Result<(), Finding> {
    let key = made.key();
    let matches: Vec<usize> = (0..resources.len())
        .filter(|&at| resources[at].keys().contains(&key))
        .collect();
    let fault = |message: String| Err(Finding::error("kustomize/generator", message));
    match (matches.as_slice(), made.behavior) {
        ([], Behavior::Create) => {
            resources.push(made);
            Ok(())
        }
        ([], _) => fault(format!(
            "{} does not exist, so nothing can be merged or replaced",
            made.describe()
        )),
        ([at], Behavior::Merge | Behavior::Replace) => {
            let old = &resources[*at];
            if made.behavior == Behavior::Merge {
                for field in ["data", "binaryData"] {
                    merge_below(&mut made.node, &old.node, &[field]);
                }
            }
            merge_below(&mut made.node, &old.node, &["metadata", "labels"]);
            merge_below(&mut made.node, &old.node, &["metadata", "annotations"]);
            made.drop_empty("labels");
            made.drop_empty("annotations");
            made.set_name(old.name());
            made.set_namespace(old.namespace());
            made.hashed &= old.hashed;
            made.behavior = old.behavior;
            made.previous = old.previous.clone();
            made.prefixes = old.prefixes.clone();
            made.suffixes = old.suffixes.clone();
            resources[*at] = made;
            Ok(())
        }
        ([_], Behavior::Create) => fault(format!(
            "{} exists already; say behavior: merge or replace",
            made.describe()
        )),
        _ => fault(format!(
            "{} could be merged with several objects",
            made.describe()
        )),
    }
}

// Old entries stay unless the new object has them too.
fn merge_below(new: &mut Node, old: &Node, path: &[&str]) {
    let Some(entries) = old
        .at_path(path)
        .and_then(Node::as_map)
        .filter(|m| !m.is_empty())
    else {
        return;
    };
    let mut node = new;
    for key in path {
        let Some(map) = node.as_map_mut() else { return };
        node = map.entry((*key).to_string()).or_insert_with(Node::map);
    }
    if let Some(map) = node.as_map_mut() {
        for (key, value) in entries {
            if !map.contains_key(key) {
                map.insert(key.clone(), value.clone());
            }
        }
    }
}
