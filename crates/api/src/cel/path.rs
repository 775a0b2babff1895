//! `fieldPath` of a rule: `.a.b['c']`, through the fields and maps of a schema.

use serde_json::Value;

/// The path as findings write it; none where it leads nowhere.
pub(super) fn normalized(path: &str, schema: &Value) -> Option<String> {
    let mut out = String::new();
    let mut schema = schema;
    let mut rest = path;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let name = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            rest = &after[end..];
            after[..end].to_string()
        } else {
            let after = rest.strip_prefix("['")?;
            let (name, length) = quoted(after)?;
            rest = after[length..].strip_prefix(']')?;
            name
        };
        if schema["properties"].is_object() {
            schema = schema["properties"].get(&name)?;
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&name);
        } else {
            schema = schema
                .get("additionalProperties")
                .filter(|s| s.is_object())?;
            out.push_str(&format!("[{name}]"));
        }
    }
    Some(out)
}

/// What stands before the closing quote, and the length with it.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((name, at + 1)),
            '\\' => name.push(match chars.next()?.1 {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                c @ ('\'' | '\\') => c,
                _ => return None,
            }),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let schema = json!({"properties": {"a": {"properties": {"b.c": {}}}, "m": {"additionalProperties": {"properties": {"x": {}}}}}});
        let cases = [
            (".a", Some("a")),
            (".a['b.c']", Some("a.b.c")),
            (".m['k'].x", Some("m[k].x")),
            (".m.k.x", Some("m[k].x")),
            ("a", None),
            (".z", None),
            (".a['b", None),
            (".a[0]", None),
        ];
        for (path, wanted) in cases {
            assert_eq!(normalized(path, &schema).as_deref(), wanted, "{path}");
        }
    }
}
