//! Does the live object say what the source says?
//!
//! Three-way: every field of the source must be in the live object with the same meaning, and
//! what an earlier source had set and this one does not must be gone. Fields that only the live
//! object has (defaults, what controllers write) are not differences. Values that mean the same
//! are equal however they are written: quantities, a Secret's `stringData`, empty and absent.
//!
//! Where the server can be asked, [`predicted`] compares what it would make of the source with
//! what is there, which is exact for defaults and conversions.

use crate::kustomize::{Schema, merge_schema};
use crate::object::Id;
use base64::Engine;
use serde_json::{Map, Value as Json};

/// One field that differs, as an RFC 6901 pointer, with both values where they are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where.
    pub path: String,
    /// Source's value; `None` = the field should not be there.
    pub wanted: Option<Json>,
    /// Live value.
    pub found: Option<Json>,
}

/// Differences that do not count: pointers, prefixes of those given count too.
#[derive(Clone, Debug, Default)]
pub struct Ignores {
    /// RFC 6901 pointers.
    pub pointers: Vec<String>,
}

impl Ignores {
    fn covers(&self, path: &str) -> bool {
        self.pointers.iter().any(|p| {
            path == p
                || path
                    .strip_prefix(p.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

/// Compares source, what was applied last (where known) and live object.
pub fn three_way(
    wanted: &Json,
    last: Option<&Json>,
    live: &Json,
    ignores: &Ignores,
) -> Vec<Difference> {
    let id = Id::of(wanted);
    let schema = merge_schema(&id.group, &id.kind);
    let (wanted, live) = (normal(wanted), normal(live));
    let mut compare = Compare {
        found: Vec::new(),
        ignores,
    };
    compare.wanted(&wanted, &live, schema, String::new());
    if let Some(last) = last {
        compare.removed(&normal(last), &wanted, &live, schema, String::new());
    }
    compare.found
}

/// Compares what the server would make of the source (a dry run) with what is there.
pub fn predicted(predicted: &Json, live: &Json, ignores: &Ignores) -> Vec<Difference> {
    let (mut predicted, mut live) = (normal(predicted), normal(live));
    for object in [&mut predicted, &mut live] {
        if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
            for key in [
                "managedFields",
                "resourceVersion",
                "generation",
                "uid",
                "creationTimestamp",
                "selfLink",
            ] {
                metadata.remove(key);
            }
        }
        if let Some(map) = object.as_object_mut() {
            map.remove("status");
        }
    }
    let mut compare = Compare {
        found: Vec::new(),
        ignores,
    };
    compare.wanted(&predicted, &live, Schema::Plain, String::new());
    compare.removed(&live, &predicted, &live, Schema::Plain, String::new());
    compare.found
}

// The same object in the one spelling that is compared.
fn normal(object: &Json) -> Json {
    let mut object = object.clone();
    if object.get("kind").and_then(Json::as_str) == Some("Secret")
        && let Some(map) = object.as_object_mut()
    {
        if let Some(Json::Object(text)) = map.remove("stringData") {
            let data = map
                .entry("data")
                .or_insert_with(|| Json::Object(Map::new()));
            if let Some(data) = data.as_object_mut() {
                for (key, value) in text {
                    let raw = value.as_str().unwrap_or_default();
                    data.insert(
                        key,
                        base64::engine::general_purpose::STANDARD.encode(raw).into(),
                    );
                }
            }
        }
        // Breaks inside base64 text mean nothing.
        if let Some(data) = map.get_mut("data").and_then(Json::as_object_mut) {
            for value in data.values_mut() {
                if let Some(text) = value.as_str().filter(|t| t.contains('\n')) {
                    *value = text.replace('\n', "").into();
                }
            }
        }
    }
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    object
}

struct Compare<'a> {
    found: Vec<Difference>,
    ignores: &'a Ignores,
}

impl Compare<'_> {
    fn differ(&mut self, path: String, wanted: Option<&Json>, found: Option<&Json>) {
        if !self.ignores.covers(&path) {
            self.found.push(Difference {
                path,
                wanted: wanted.cloned(),
                found: found.cloned(),
            });
        }
    }

    fn wanted(&mut self, wanted: &Json, live: &Json, schema: Schema, path: String) {
        match (wanted, live) {
            (Json::Object(wanted), Json::Object(live)) => {
                for (key, value) in wanted {
                    let path = below(&path, key);
                    if path == "/metadata/creationTimestamp" {
                        continue;
                    }
                    let (schema, keys) = schema.field(key);
                    match live.get(key) {
                        None if empty(value) => {}
                        None => self.differ(path, Some(value), None),
                        Some(found) => match (value, found, keys) {
                            (Json::Array(wanted), Json::Array(found), Some(keys))
                                if !keys.is_empty() =>
                            {
                                self.keyed(wanted, found, keys, schema, path);
                            }
                            _ => self.wanted(value, found, schema, path),
                        },
                    }
                }
            }
            (Json::Array(wanted), Json::Array(live)) => {
                if wanted.len() != live.len() {
                    return self.differ(
                        path,
                        Some(&Json::Array(wanted.clone())),
                        Some(&Json::Array(live.clone())),
                    );
                }
                for (at, (wanted, live)) in wanted.iter().zip(live).enumerate() {
                    self.wanted(wanted, live, schema, below(&path, &at.to_string()));
                }
            }
            (wanted, live) => {
                if !equal(wanted, live) {
                    self.differ(path, Some(wanted), Some(live));
                }
            }
        }
    }

    fn keyed(
        &mut self,
        wanted: &[Json],
        live: &[Json],
        keys: &[&str],
        schema: Schema,
        path: String,
    ) {
        for (at, item) in wanted.iter().enumerate() {
            let path = below(&path, &at.to_string());
            match live.iter().find(|other| same_item(item, other, keys)) {
                Some(found) => self.wanted(item, found, schema, path),
                None => self.differ(path, Some(item), None),
            }
        }
    }

    // What was set by an earlier source and is no longer, but still lives.
    fn removed(&mut self, last: &Json, wanted: &Json, live: &Json, schema: Schema, path: String) {
        let (Json::Object(last), Json::Object(wanted), Json::Object(live)) = (last, wanted, live)
        else {
            return;
        };
        for (key, value) in last {
            let path = below(&path, key);
            let Some(found) = live.get(key) else { continue };
            let (schema, keys) = schema.field(key);
            match wanted.get(key) {
                None if empty(value) || empty(found) => {}
                None => self.differ(path, None, Some(found)),
                Some(Json::Array(wanted)) => {
                    if let (Some(keys), Json::Array(last), Json::Array(live)) =
                        (keys.filter(|k| !k.is_empty()), value, found)
                    {
                        for (at, item) in live.iter().enumerate() {
                            let was = last.iter().any(|other| same_item(item, other, keys));
                            let is = wanted.iter().any(|other| same_item(item, other, keys));
                            if was && !is {
                                self.differ(below(&path, &at.to_string()), None, Some(item));
                            }
                        }
                    }
                }
                Some(wanted) => self.removed(value, wanted, found, schema, path),
            }
        }
    }
}

fn below(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn same_item(one: &Json, other: &Json, keys: &[&str]) -> bool {
    keys.iter().all(|key| match (one.get(key), other.get(key)) {
        (Some(l), Some(r)) => equal(l, r),
        // A key that is left out means the default, which the other side spells out.
        _ => true,
    })
}

fn empty(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::String(text) => text.is_empty(),
        Json::Array(list) => list.is_empty(),
        Json::Object(map) => map.values().all(empty),
        Json::Number(_) | Json::Bool(true) => false,
    }
}

fn equal(l: &Json, r: &Json) -> bool {
    if l == r || (empty(l) && empty(r)) {
        return true;
    }
    let text = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match (text(l), text(r)) {
        (Some(l), Some(r)) => l == r || quantity(&l).is_some_and(|l| Some(l) == quantity(&r)),
        _ => false,
    }
}

/// Value of a Kubernetes quantity in billionths; `None` where it is none.
fn quantity(text: &str) -> Option<i128> {
    const UNITS: &[(&str, i128)] = &[
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
    ];
    const NANO: i128 = 1_000_000_000;
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let scale = match unit {
        "" => NANO,
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        unit => match unit.strip_prefix(['e', 'E']).filter(|e| !e.is_empty()) {
            Some(exponent) => NANO.checked_mul(10i128.checked_pow(exponent.parse().ok()?)?)?,
            None => NANO.checked_mul(UNITS.iter().find(|(name, _)| *name == unit)?.1)?,
        },
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let negative = whole.starts_with('-');
    let whole: i128 = if whole.is_empty() || whole == "-" {
        0
    } else {
        whole.parse().ok()?
    };
    if fraction.len() > 9 || digits.is_empty() {
        return None;
    }
    let part: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let part = part.checked_mul(scale)? / 10i128.pow(fraction.len() as u32);
    let value = whole.checked_mul(scale)?;
    Some(if negative { value - part } else { value + part })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(wanted: &Json, last: Option<&Json>, live: &Json) -> Vec<String> {
        three_way(wanted, last, live, &Ignores::default())
            .into_iter()
            .map(|d| d.path)
            .collect()
    }

    #[test]
    fn defaults_and_spellings_are_no_differences() {
        let wanted = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 2,
            "template": {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1000m", "memory": "0.5Gi"}}}]}}}});
        let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "uid": "u"},
            "spec": {"replicas": 2, "revisionHistoryLimit": 10, "template": {"spec": {"dnsPolicy": "ClusterFirst",
                "containers": [{"name": "sidecar"}, {"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1", "memory": "512Mi"}}}]}}}});
        assert_eq!(paths(&wanted, None, &live), Vec::<String>::new());
        let mut changed = live.clone();
        changed["spec"]["replicas"] = json!(5);
        assert_eq!(paths(&wanted, None, &changed), ["/spec/replicas"]);
        let ignores = Ignores {
            pointers: vec!["/spec/replicas".into()],
        };
        assert!(three_way(&wanted, None, &changed, &ignores).is_empty());
    }

    #[test]
    fn what_the_source_gave_up_must_go() {
        let last = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "1", "b": "2"}});
        let wanted = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "1"}});
        let live = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "1", "b": "2", "c": "3"}});
        assert_eq!(paths(&wanted, Some(&last), &live), ["/data/b"]);
    }

    #[test]
    fn string_data_is_data() {
        let wanted = json!({"kind": "Secret", "apiVersion": "v1", "stringData": {"a": "x"}});
        let live = json!({"kind": "Secret", "apiVersion": "v1", "data": {"a": "eA=="}});
        assert!(paths(&wanted, None, &live).is_empty());
    }

    #[test]
    fn quantities() {
        assert_eq!(quantity("1"), quantity("1000m"));
        assert_eq!(quantity("1.5Gi"), quantity("1536Mi"));
        assert_eq!(quantity("1e3"), quantity("1k"));
        assert_eq!(quantity("abc"), None);
        assert_ne!(quantity("1M"), quantity("1Mi"));
    }
}
