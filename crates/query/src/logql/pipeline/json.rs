//! Fields of JSON.

use serde_json::Value;

use super::LineLabels;

fn read(line: &str) -> Result<Value, String> {
    serde_json::from_str(line).map_err(|error| error.to_string())
}

/// A scalar as the text of a label; `None` for what has parts, and for null.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Every field becomes a label, the names of nested ones joined by `_`. Arrays are passed over.
pub(super) fn flatten(line: &str, labels: &mut LineLabels) -> Result<(), String> {
    let value = read(line)?;
    let Value::Object(_) = value else {
        return Err("the line is no JSON object".to_owned());
    };
    nested("", &value, labels);
    Ok(())
}

fn nested(prefix: &str, value: &Value, labels: &mut LineLabels) {
    let Value::Object(fields) = value else {
        if let Some(text) = scalar(value) {
            labels.extract(prefix, &text);
        }
        return;
    };
    for (name, value) in fields {
        if prefix.is_empty() {
            nested(name, value, labels);
        } else {
            nested(&format!("{prefix}_{name}"), value, labels);
        }
    }
}

/// One step of a path.
#[derive(Clone, Debug)]
enum Part {
    Field(String),
    Index(usize),
}

/// A path such as `request.headers["User-Agent"]` or `servers[0]`.
#[derive(Clone, Debug)]
pub(super) struct Path(Vec<Part>);

impl Path {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("cannot parse expression [{text}]");
        let mut parts = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                if let Some(quoted) = inner.strip_prefix('"') {
                    let mut end = 0;
                    let bytes = quoted.as_bytes();
                    while *bytes.get(end).ok_or_else(fault)? != b'"' {
                        end += if bytes[end] == b'\\' { 2 } else { 1 };
                    }
                    let literal = format!("\"{}\"", &quoted[..end]);
                    parts.push(Part::Field(
                        serde_json::from_str(&literal).map_err(|_| fault())?,
                    ));
                    rest = quoted[end + 1..].strip_prefix(']').ok_or_else(fault)?;
                } else {
                    let (index, after) = inner.split_once(']').ok_or_else(fault)?;
                    parts.push(Part::Index(index.trim().parse().map_err(|_| fault())?));
                    rest = after;
                }
                continue;
            }
            if !parts.is_empty() {
                rest = rest.strip_prefix('.').ok_or_else(fault)?;
            }
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let name = &rest[..end];
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ']' || c == '"')
            {
                return Err(fault());
            }
            parts.push(Part::Field(name.to_owned()));
            rest = &rest[end..];
        }
        if parts.is_empty() {
            return Err(fault());
        }
        Ok(Self(parts))
    }

    fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(value, |value, part| match part {
            Part::Field(name) => value.get(name),
            Part::Index(at) => value.get(at),
        })
    }
}

/// The fields at the given paths become labels, those with parts as JSON.
pub(super) fn pick(
    line: &str,
    fields: &[(String, Path)],
    labels: &mut LineLabels,
) -> Result<(), String> {
    let value = read(line)?;
    for (label, path) in fields {
        let Some(found) = path.find(&value) else {
            continue;
        };
        match found {
            Value::Null => {}
            Value::Array(_) | Value::Object(_) => labels.extract(label, &found.to_string()),
            _ => labels.extract(label, &scalar(found).unwrap_or_default()),
        }
    }
    Ok(())
}

/// The texts of a packed line become labels; what is under `_entry` is the line.
pub(super) fn unpack(line: &str, labels: &mut LineLabels) -> Result<Option<String>, String> {
    let Value::Object(fields) = read(line)? else {
        return Err("expecting json object".to_owned());
    };
    let mut entry = None;
    for (name, value) in fields {
        match value {
            Value::String(text) if name == "_entry" => entry = Some(text),
            Value::String(text) => labels.extract(&name, &text),
            _ => {}
        }
    }
    Ok(entry)
}
