//! The suffix that names generated objects after their content.

use super::resource::Resource;
use crate::yaml::{Node, Scalar, Value};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Renames every generated object that asks for it.
pub(super) fn add(resources: &mut [Resource]) {
    for resource in resources.iter_mut().filter(|r| r.hashed) {
        let name = format!("{}-{}", resource.name(), suffix(resource));
        resource.remember_id();
        resource.set_name(&name);
    }
}

// JSON of the parts that matter, keys sorted, in the encoding of Go's `json.Marshal`.
fn suffix(resource: &Resource) -> String {
    let node = &resource.node;
    let secret = resource.kind() == "Secret";
    let mut parts: Vec<(&str, String)> = vec![
        ("data", field(node.get("data"))),
        ("kind", quoted(resource.kind())),
        // Kustomize looks for a field called "metadata/name", which no object has; the name
        // is therefore not part of the hash, and must not become one here.
        ("name", quoted("")),
    ];
    let extra = if secret { "stringData" } else { "binaryData" };
    if let Some(map) = node.get(extra).filter(|n| n.as_map().is_some()) {
        parts.push((extra, field(Some(map))));
    }
    if secret {
        parts.push(("type", field(node.get("type"))));
    }
    parts.sort();
    let body: Vec<String> = parts
        .into_iter()
        .map(|(key, value)| format!("{}:{value}", quoted(key)))
        .collect();
    let digest = Sha256::digest(format!("{{{}}}", body.join(",")));
    let mut hex = String::new();
    for byte in &digest[..5] {
        let _ = write!(hex, "{byte:02x}");
    }
    // No vowels and no digits that read as one, so that no word appears.
    hex.chars()
        .map(|c| match c {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            c => c,
        })
        .collect()
}

fn field(node: Option<&Node>) -> String {
    node.map_or_else(|| "\"\"".into(), json)
}

fn json(node: &Node) -> String {
    match &node.value {
        Value::Scalar(Scalar::Str, text) => quoted(text),
        Value::Scalar(..) => node.to_json().to_string(),
        Value::List(list) => format!("[{}]", list.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Map(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let body: Vec<String> = keys
                .into_iter()
                .map(|k| format!("{}:{}", quoted(k), json(&map[k])))
                .collect();
            format!("{{{}}}", body.join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
