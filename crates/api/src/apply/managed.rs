//! `metadata.managedFields`: reading, writing, and the bookkeeping of owners.

use super::set::Set;
use serde_json::{Map, Value, json};

/// Update managers kept before the oldest are folded into one.
const MAX_UPDATE_MANAGERS: usize = 10;
/// Name of the folded ones.
const ANCIENT: &str = "ancient-changes";

/// One owner.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Name of the manager.
    pub manager: String,
    /// `Apply` rather than `Update`.
    pub applied: bool,
    /// Version whose fields the set names.
    pub api_version: String,
    /// Subresource it wrote through, or empty.
    pub subresource: String,
    /// When it last changed something.
    pub time: Option<String>,
    /// What it owns.
    pub set: Set,
}

impl Entry {
    /// Whether both stand for the same owner: appliers are the same in every version.
    pub fn same_owner(&self, other: &Entry) -> bool {
        self.manager == other.manager
            && self.applied == other.applied
            && self.subresource == other.subresource
            && (self.applied || self.api_version == other.api_version)
    }

    fn encode(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager,
            "operation": if self.applied { "Apply" } else { "Update" },
            "apiVersion": self.api_version,
        });
        if let Some(time) = &self.time {
            entry["time"] = time.as_str().into();
        }
        entry["fieldsType"] = "FieldsV1".into();
        entry["fieldsV1"] = self.set.encode();
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.as_str().into();
        }
        entry
    }

    fn decode(value: &Value) -> Option<Entry> {
        let text = |key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_string()
        };
        let applied = match text("operation").as_str() {
            "Apply" => true,
            "Update" => false,
            _ => return None,
        };
        if text("fieldsType") != "FieldsV1" || text("apiVersion").is_empty() {
            return None;
        }
        let set = match value.get("fieldsV1") {
            None | Some(Value::Null) => Set::default(),
            Some(fields) => Set::decode(fields)?,
        };
        Some(Entry {
            manager: text("manager"),
            applied,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value
                .get("time")
                .and_then(Value::as_str)
                .map(str::to_string),
            set,
        })
    }
}

/// Reads the owners of an object; a list that cannot be read counts as none.
pub fn decode(object: &Value) -> Vec<Entry> {
    let list = object["metadata"]["managedFields"].as_array();
    let entries: Option<Vec<Entry>> = list
        .map(|list| list.iter().map(Entry::decode).collect())
        .unwrap_or_default();
    entries.unwrap_or_default()
}

/// Writes the owners into an object, in upstream's order; no owners, no field.
pub(super) fn encode(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    cap(&mut entries);
    entries.sort_by(|a, b| {
        let seconds = |entry: &Entry| {
            entry
                .time
                .as_deref()
                .and_then(crate::time::parse_rfc3339)
                .unwrap_or(i64::MIN)
        };
        b.applied
            .cmp(&a.applied)
            .then_with(|| seconds(a).cmp(&seconds(b)))
            .then_with(|| a.manager.cmp(&b.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
    let Some(metadata) = metadata(object) else {
        return;
    };
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        let list = entries.iter().map(Entry::encode).collect();
        metadata.insert("managedFields".into(), Value::Array(list));
    }
}

fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let object = object.as_object_mut()?;
    object
        .entry("metadata")
        .or_insert_with(|| json!({}))
        .as_object_mut()
}

/// Folds the oldest update managers into one, so that the list stays bounded.
fn cap(entries: &mut Vec<Entry>) {
    let is_plain = |entry: &Entry| !entry.applied && entry.subresource.is_empty();
    let count = entries.iter().filter(|entry| is_plain(entry)).count();
    if count <= MAX_UPDATE_MANAGERS {
        return;
    }
    let mut plain: Vec<Entry> = Vec::new();
    entries.retain(|entry| {
        let fold = is_plain(entry);
        if fold {
            plain.push(entry.clone());
        }
        !fold
    });
    plain.sort_by(|a, b| a.time.cmp(&b.time));
    let newest = plain.split_off(count - MAX_UPDATE_MANAGERS + 1);
    for old in plain {
        let known = entries.iter_mut().find(|entry| {
            is_plain(entry) && entry.manager == ANCIENT && entry.api_version == old.api_version
        });
        match known {
            Some(entry) => {
                entry.set = entry.set.union(&old.set);
                entry.time = entry.time.clone().max(old.time);
            }
            None => entries.push(Entry {
                manager: ANCIENT.into(),
                ..old
            }),
        }
    }
    entries.extend(newest);
}

/// Paths nobody owns: identity and what the server itself writes.
pub(super) fn strip() -> Set {
    let mut set = Set::default();
    for path in [
        &["apiVersion"][..],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ] {
        set.insert_fields(path);
    }
    set
}
