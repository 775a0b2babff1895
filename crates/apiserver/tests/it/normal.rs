//! Makes answers of two servers comparable: what no two runs agree on (UIDs, revisions, times,
//! chosen names, addresses and ports) becomes a placeholder that keeps order and equality.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Stands for a message in the words of Go's parsers, which nobody else can speak.
pub(crate) const GO: &str = "<in Go's words>";
const GOS: &[&str] = &[
    "strconv.",
    "json: ",
    "yaml: ",
    "Go value",
    "Go struct",
    "invalid character",
    "unmarshal",
    "v1.ObjectMeta",
    "StorageError",
    "[]string",
    "map[",
    "converting (",
    "in scheme",
    "&{",
    "does not recognize this encoded version",
    "unescaped character",
    "pod updates may not change",
    "DefaultInfo",
    "couldn't get version/kind",
    "(*core.",
    "patch: Invalid value",
    "Invalid value: \"{",
    "\n@@ -",
    "\"InitContainers\":null",
    "{\"Devices\":{\"Requests\":",
];

/// Remembers across the answers of one script.
pub(crate) struct Normal {
    script: String,
    kept: Vec<(String, String)>,
    uids: BTreeMap<String, usize>,
    revisions: BTreeMap<String, usize>,
}

impl Normal {
    pub(crate) fn new(script: &str) -> Self {
        Self {
            script: script.into(),
            kept: Vec::new(),
            uids: BTreeMap::new(),
            revisions: BTreeMap::new(),
        }
    }

    /// A value that a script keeps is told by its name from then on, where it is long enough to
    /// be no coincidence.
    pub(crate) fn keep(&mut self, name: &str, value: &str) {
        if value.len() > 7 {
            self.kept.push((format!("${{{name}}}"), value.into()));
        }
    }

    pub(crate) fn value(&mut self, mut value: Value) -> Value {
        match &mut value {
            Value::Array(events) => events
                .iter_mut()
                .for_each(|event| table(&mut event["object"])),
            answer => table(answer),
        }
        causes(&mut value);
        self.walk("", &mut value);
        value
    }

    fn walk(&mut self, key: &str, value: &mut Value) {
        match value {
            Value::Object(map) => self.object(map),
            Value::Array(list) => list.iter_mut().for_each(|item| self.walk(key, item)),
            Value::String(text) => *text = self.text(text),
            Value::Number(number) => {
                let chosen = matches!(key, "nodePort" | "healthCheckNodePort");
                if chosen && !self.script.contains(&number.to_string()) {
                    *value = "<port>".into();
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, map: &mut Map<String, Value>) {
        if let Some(Value::String(message)) = map.get_mut("message")
            && GOS.iter().any(|word| message.contains(word))
        {
            *message = GO.into();
        }
        // Which is found first depends on the reader.
        if let Some(Value::String(message)) = map.get_mut("message")
            && let Some((before, found)) = message.split_once("strict decoding error: ")
        {
            let mut found: Vec<&str> = found.split(", ").collect();
            found.sort_unstable();
            *message = format!("{before}strict decoding error: {}", found.join(", "));
        }
        // Items of our lists say what they are, as they do when they are read alone.
        if let Some(Value::Array(items)) = map.get_mut("items") {
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                if item.contains_key("metadata") {
                    item.shift_remove("kind");
                    item.shift_remove("apiVersion");
                }
            }
        }
        if let Some(fields) = map.get_mut("managedFields").and_then(Value::as_array_mut) {
            for entry in fields.iter_mut().filter_map(Value::as_object_mut) {
                entry.shift_remove("time");
            }
            fields.sort_by_key(|entry| {
                ["manager", "operation", "subresource", "apiVersion"]
                    .map(|key| entry[key].to_string())
            });
        }
        if let Some(Value::String(prefix)) = map.get("generateName").cloned()
            && let Some(Value::String(name)) = map.get_mut("name")
            && name.starts_with(&prefix)
            && name.len() == prefix.len() + 5
        {
            *name = format!("{prefix}<random>");
        }
        // A list's revision depends on what else goes on.
        let of_object = map.contains_key("uid");
        if let Some(Value::String(revision)) = map.get_mut("resourceVersion") {
            *revision = match of_object {
                true => self.revision(revision),
                false if revision.is_empty() => String::new(),
                false => "<revision>".into(),
            };
        }
        let named = map.keys().any(|key| key.starts_with("k:{"));
        if named {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(key, value)| (self.text(&key), value))
                .collect();
        }
        for (key, value) in map.iter_mut() {
            match (key.as_str(), &*value) {
                ("resourceVersion", Value::String(text)) if text.starts_with('<') => {}
                ("continue", Value::String(text)) if !text.is_empty() => *value = "<token>".into(),
                ("remainingItemCount", _) => {}
                _ => self.walk(key, value),
            }
        }
    }

    fn revision(&mut self, text: &str) -> String {
        if self.script.contains(&format!("\"{text}\"")) {
            return text.into();
        }
        let next = self.revisions.len() + 1;
        let number = self.revisions.entry(text.into()).or_insert(next);
        format!("<revision {number}>")
    }

    pub(crate) fn text(&mut self, text: &str) -> String {
        let mut text = text.to_string();
        for (name, value) in &self.kept {
            text = text.replace(value, name);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        let mut begin = true;
        while !rest.is_empty() {
            let token = begin.then(|| self.token(rest)).flatten();
            if let Some((length, with)) = token {
                out.push_str(&with);
                rest = &rest[length..];
                begin = false;
                continue;
            }
            let Some(next) = rest.chars().next() else {
                break;
            };
            begin = !next.is_ascii_alphanumeric();
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
        out
    }

    /// A token at the beginning of `text` that differs from run to run: its length and what
    /// stands for it.
    fn token(&mut self, text: &str) -> Option<(usize, String)> {
        let bytes = text.as_bytes();
        if shaped(bytes, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
            let uid = &text[..36];
            if self.script.contains(uid) {
                return Some((36, uid.into()));
            }
            let next = self.uids.len() + 1;
            let number = self.uids.entry(uid.into()).or_insert(next);
            return Some((36, format!("<uid {number}>")));
        }
        if shaped(bytes, "dddd-dd-ddTdd:dd:dd") {
            let length = text.find('Z').map_or(19, |at| at + 1);
            let time = &text[..length];
            return (!self.script.contains(time)).then(|| (length, "<time>".into()));
        }
        if let Some(after) = text.strip_prefix("10.96.") {
            let tail = after.find(|c: char| !c.is_ascii_digit() && c != '.');
            let length = 6 + tail.unwrap_or(after.len());
            let address = &text[..length];
            return (!self.script.contains(address) && address != "10.96.0.0")
                .then(|| (length, "<address>".into()));
        }
        let account = "kube-api-access-";
        if text.starts_with(account) && bytes.len() >= account.len() + 5 {
            return Some((account.len() + 5, format!("{account}<random>")));
        }
        None
    }
}

fn shaped(bytes: &[u8], shape: &str) -> bool {
    bytes.len() >= shape.len()
        && shape.bytes().zip(bytes).all(|(shape, byte)| match shape {
            b'x' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            other => other == *byte,
        })
}

/// Ages differ from run to run, descriptions are prose.
fn table(table: &mut Value) {
    if table["kind"] != "Table" {
        return;
    }
    let mut ages = Vec::new();
    for (at, column) in table["columnDefinitions"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .enumerate()
    {
        if let Some(column) = column.as_object_mut() {
            column.shift_remove("description");
        }
        let name = column["name"].as_str().unwrap_or_default();
        if ["Age", "Last Seen", "First Seen", "Created At"].contains(&name) {
            ages.push(at);
        }
    }
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        for at in &ages {
            row["cells"][*at] = "<age>".into();
        }
        // A later event of a watch comes without columns.
        for cell in row["cells"].as_array_mut().into_iter().flatten() {
            let young = |text: &str| {
                text.len() < 4 && text.ends_with('s') && text.as_bytes()[0].is_ascii_digit()
            };
            if cell.as_str().is_some_and(young) {
                *cell = "<age>".into();
            }
        }
    }
}

/// The order of findings follows Go's maps, so it says nothing; nor does a repeated one.
fn causes(body: &mut Value) {
    let invalid = body["reason"] == "Invalid";
    let Some(Value::Array(causes)) = body.pointer_mut("/details/causes") else {
        return;
    };
    causes.sort_by_key(Value::to_string);
    causes.dedup();
    if causes.len() > 1 && invalid {
        body["message"] = "<of all causes>".into();
    }
}
