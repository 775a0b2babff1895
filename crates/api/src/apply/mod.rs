//! Server-side apply and the tracking of who owns which field.
//!
//! [`apply`] merges a configuration into the live object for one manager: it takes what the
//! configuration names, gives up what it named last time and no longer does (removing it when
//! nobody else owns it), and refuses to change what others own unless forced. [`update`] does the
//! bookkeeping for every other write. Both are pure; the time is handed in.
//!
//! Sets recorded under another served version of the same kind are read as if they named the same
//! fields: the kinds served in two versions here keep their field names.

mod last_applied;
mod managed;
mod set;
mod typed;

#[cfg(test)]
mod tests;

pub use managed::{Entry, decode as entries};
pub use set::{Element, Scalar, Set};
pub use typed::{Comparison, Malformed, compare, merge, paths, zero};

use crate::schema::Schema;
use crate::status::{self, Failure};
use serde_json::{Value, json};

/// Owner of everything that was there before the first apply to an untracked object.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, through which path and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// Name of the field manager.
    pub manager: &'a str,
    /// `apiVersion` of the request.
    pub api_version: &'a str,
    /// Subresource, or empty for the main path.
    pub subresource: &'a str,
    /// Now, RFC 3339 in UTC with seconds.
    pub time: &'a str,
}

/// What a path does not write, so that its writers never own it.
#[derive(Debug, Clone, Default)]
pub struct Ignored(Set);

impl Ignored {
    /// For the main path of a kind; `status` = whether that has a path of its own.
    pub fn main(status: bool) -> Self {
        let mut set = Set::default();
        if status {
            set.insert_fields(&["status"]);
        }
        Ignored(set)
    }

    /// For the `status` path of a built-in kind.
    pub fn status() -> Self {
        let mut set = Set::default();
        set.insert_fields(&["spec"]);
        Ignored(set)
    }

    /// What writers of the status of a kind may not own either.
    fn at(&self, schema: &Schema, subresource: &str) -> Ignored {
        let mut all = self.clone();
        if subresource == "status" && schema.name == "api.apps.v1.Deployment" {
            all.0.insert_fields(&["metadata", "labels"]);
        }
        all
    }

    /// For the `status` path of a custom resource, which writes nothing but the status.
    pub fn custom_status(schema: &Schema) -> Self {
        let mut set = Set::default();
        for name in schema.fields.keys().filter(|name| &***name != "status") {
            set.insert_fields(&[name]);
        }
        Ignored(set)
    }
}

/// Records what a write other than apply changed: `new.metadata.managedFields` is set from those
/// of the live object (or of the request, where it changes them itself). `live` is `None` for a
/// create. A write that changes nothing keeps the live list with its times.
pub fn update(
    schema: &Schema,
    live: Option<&Value>,
    new: &mut Value,
    writer: Writer<'_>,
    ignored: &Ignored,
) {
    let ignored = &ignored.at(schema, writer.subresource);
    let empty;
    let before = match live {
        Some(live) => live,
        None => {
            empty = starting_point(schema, new);
            &empty
        }
    };
    let sent = &new["metadata"]["managedFields"];
    let reset = sent
        .as_array()
        .is_some_and(|list| list.is_empty() || *list == [json!({})]);
    let mut owners = if reset {
        Vec::new()
    } else {
        let requested = if writer.subresource.is_empty() {
            managed::decode(new)
        } else {
            Vec::new()
        };
        if requested.is_empty() {
            live.map(managed::decode).unwrap_or_default()
        } else {
            requested
        }
    };
    let known = live.map(managed::decode).unwrap_or_default();
    let untracked = live.is_some() && owners.is_empty();
    if untracked {
        managed::encode(new, Vec::new());
        return;
    }
    track(schema, before, new, &mut owners, writer, ignored);
    if let Some(live) = live
        && same_but_times(&owners, &known)
        && same_but_owners(live, new)
    {
        owners = known;
    }
    managed::encode(new, owners);
}

fn starting_point(schema: &Schema, new: &Value) -> Value {
    if schema.name.is_empty() {
        json!({"apiVersion": new["apiVersion"], "kind": new["kind"], "metadata": {}})
    } else {
        zero(schema)
    }
}

/// The core of an update: takes from others what changed, adds it to the writer.
fn track(
    schema: &Schema,
    before: &Value,
    after: &Value,
    owners: &mut Vec<Entry>,
    writer: Writer<'_>,
    ignored: &Ignored,
) {
    let comparison = compare(schema, before, after);
    let removed = comparison.removed.without(&ignored.0);
    let changed = comparison
        .modified
        .union(&comparison.added)
        .without(&ignored.0);
    for entry in owners.iter_mut() {
        entry.set = entry.set.difference(&changed).difference(&removed);
    }
    owners.retain(|entry| !entry.set.is_empty());
    let taken = changed.difference(&managed::strip());
    if taken.is_empty() {
        return;
    }
    let mine = Entry {
        manager: writer.manager.to_string(),
        applied: false,
        api_version: writer.api_version.to_string(),
        subresource: writer.subresource.to_string(),
        time: Some(writer.time.to_string()),
        set: taken,
    };
    match owners.iter_mut().find(|entry| entry.same_owner(&mine)) {
        Some(entry) => {
            entry.set = entry.set.union(&mine.set);
            entry.time = mine.time;
        }
        None => owners.push(mine),
    }
}

fn same_but_times(a: &[Entry], b: &[Entry]) -> bool {
    let timeless = |entries: &[Entry]| {
        let mut entries: Vec<Entry> = entries
            .iter()
            .map(|entry| Entry {
                time: None,
                ..entry.clone()
            })
            .collect();
        entries.sort_by(|a, b| {
            (a.applied, &a.manager, &a.api_version, &a.subresource).cmp(&(
                b.applied,
                &b.manager,
                &b.api_version,
                &b.subresource,
            ))
        });
        entries
    };
    a.len() == b.len() && timeless(a) == timeless(b)
}

/// Where `new` differs from `old` in nothing but times of its owners, they become `old`'s: what is
/// written in another form than it is kept in (`1000m`) only then shows to be no change.
pub fn keep_times(old: &Value, new: &mut Value) {
    if !same_but_owners(old, new) {
        return;
    }
    // An object without owners has no field to take over.
    if let Some(kept) = old["metadata"].get("managedFields")
        && same_but_times(&managed::decode(old), &managed::decode(new))
    {
        new["metadata"]["managedFields"] = kept.clone();
    }
}

/// Whether two objects are equal apart from their owners.
fn same_but_owners(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    a.len() == b.len()
        && a.iter()
            .all(|(key, value)| match (key.as_str(), b.get(key)) {
                (_, None) => false,
                ("metadata", Some(other)) => {
                    let fields = |metadata: &Value| {
                        metadata
                            .as_object()
                            .map(|map| map.len() - usize::from(map.contains_key("managedFields")))
                    };
                    fields(value) == fields(other)
                        && value.as_object().into_iter().flatten().all(|(key, value)| {
                            key == "managedFields" || other.get(key) == Some(value)
                        })
                }
                (_, Some(other)) => value == other,
            })
}

/// Applies `config` for `writer`. The answer is the new object with its owners, or `None` where
/// neither object nor owners change. `live` is `None` where the object does not exist yet.
/// The caller defaults, validates and stores the answer.
pub fn apply(
    schema: &Schema,
    live: Option<&Value>,
    config: &Value,
    writer: Writer<'_>,
    ignored: &Ignored,
    force: bool,
) -> Result<Option<Value>, Failure> {
    if config["metadata"]
        .get("managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(status::bad_request("metadata.managedFields must be nil"));
    }
    if writer.manager.is_empty() {
        return Err(status::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    check_known(schema, config)?;
    check_types(schema, config)?;
    let ignored = &ignored.at(schema, writer.subresource);
    let empty;
    let before = match live {
        Some(live) => live,
        None => {
            empty = starting_point(schema, config);
            &empty
        }
    };
    let mut owners = managed::decode(before);
    if owners.is_empty() && live.is_some() {
        let first = Writer {
            manager: BEFORE_FIRST_APPLY,
            subresource: "",
            ..writer
        };
        track(
            schema,
            &starting_point(schema, before),
            before,
            &mut owners,
            first,
            ignored,
        );
    }
    owners.retain(|entry| !entry.set.is_empty());
    let known = owners.clone();
    let set = paths(schema, config).without(&ignored.0);
    let mut mine = Entry {
        manager: writer.manager.to_string(),
        applied: true,
        api_version: writer.api_version.to_string(),
        subresource: writer.subresource.to_string(),
        time: Some(writer.time.to_string()),
        set,
    };
    let before_clean = without_owners(before);
    let merged =
        typed::merge(schema, &before_clean, config).map_err(|error| untypable(config, &error))?;
    let last = owners
        .iter()
        .position(|entry| entry.same_owner(&mine))
        .map(|at| owners.remove(at));
    let pruned = match &last {
        Some(last) if !last.set.is_empty() => {
            let others = owners
                .iter()
                .fold(mine.set.clone(), |all, entry| all.union(&entry.set));
            prune(schema, merged, &last.set, &others)
        }
        _ => merged,
    };
    let comparison = compare(schema, &before_clean, &pruned);
    let changed = comparison
        .modified
        .union(&comparison.added)
        .without(&ignored.0);
    let removed = comparison.removed.without(&ignored.0);
    let allowed = last_applied::allowed(schema, live, writer);
    conflicts(&mut owners, &changed, &allowed, force)?;
    for entry in &mut owners {
        entry.set = entry.set.difference(&removed);
    }
    mine.set = mine.set.difference(&managed::strip());
    let mut object = pruned;
    without_empty(&mut object, &before_clean);
    if before_clean == object && live.is_some() {
        // An owner's time tells when it last changed something; sharing a value changes nothing.
        mine.time = last.and_then(|last| last.time);
    }
    owners.push(mine);
    owners.retain(|entry| !entry.set.is_empty());
    if same_but_times(&owners, &known) && before_clean == object && live.is_some() {
        return Ok(None);
    }
    managed::encode(&mut object, owners);
    last_applied::follow(&mut object, config, writer);
    Ok(Some(object))
}

/// Takes away from `merged` what the manager named last time and nobody owns any more.
fn prune(schema: &Schema, merged: Value, last: &Set, owned: &Set) -> Value {
    let last = typed::with_named_parents(schema, last);
    let pruned = typed::remove(schema, &merged, &last);
    let all = typed::with_named_parents(schema, &paths(schema, &merged));
    let left = typed::with_named_parents(schema, &paths(schema, &pruned));
    let owned = typed::with_named_parents(schema, owned);
    let pruned = typed::remove(schema, &merged, &all.difference(&left.union(&owned)));
    // What goes only because its container went, but was never this manager's, stays.
    let left = typed::with_named_parents(schema, &paths(schema, &pruned));
    typed::remove(schema, &merged, &all.difference(&left).intersection(&last))
}

fn conflicts(
    owners: &mut [Entry],
    changed: &Set,
    allowed: &Set,
    force: bool,
) -> Result<(), Failure> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut taken = Vec::new();
    for (at, entry) in owners.iter().enumerate() {
        let shared = entry.set.intersection(changed);
        let refused = shared.difference(allowed);
        if !force && !refused.is_empty() {
            found.push((describe(entry), refused.paths()));
        }
        taken.push((at, shared));
    }
    if found.is_empty() {
        for (at, shared) in taken {
            owners[at].set = owners[at].set.difference(&shared);
        }
        return Ok(());
    }
    found.sort();
    let count: usize = found.iter().map(|(_, paths)| paths.len()).sum();
    let causes: Vec<(String, String)> = found
        .iter()
        .flat_map(|(who, paths)| {
            paths
                .iter()
                .map(move |path| (format!("conflict with {who}"), path.clone()))
        })
        .collect();
    let text = if let [(who, path)] = causes.as_slice() {
        format!("{who}: {path}")
    } else {
        let parts: Vec<String> = found
            .iter()
            .map(|(who, paths)| {
                let lines: Vec<String> = paths.iter().map(|path| format!("- {path}")).collect();
                format!("conflicts with {who}:\n{}", lines.join("\n"))
            })
            .collect();
        parts.join("\n")
    };
    let unit = if count == 1 { "conflict" } else { "conflicts" };
    Err(status::apply_conflict(
        format!("Apply failed with {count} {unit}: {text}"),
        &causes,
    ))
}

/// A manager in a conflict message.
fn describe(entry: &Entry) -> String {
    let mut text = crate::field::quote(&entry.manager);
    if !entry.subresource.is_empty() {
        text.push_str(&format!(
            " with subresource {}",
            crate::field::quote(&entry.subresource)
        ));
    }
    if !entry.applied {
        text.push_str(&format!(" using {}", entry.api_version));
    }
    text
}

/// Labels and annotations that are empty are not kept: one that was named for the first time
/// changes nothing.
fn without_empty(object: &mut Value, before: &Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for name in ["labels", "annotations"] {
        let empty = metadata.get(name).and_then(Value::as_object);
        if empty.is_some_and(serde_json::Map::is_empty) && before["metadata"].get(name).is_none() {
            metadata.remove(name);
        }
    }
}

fn without_owners(object: &Value) -> Value {
    let mut copy = object.clone();
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    copy
}

fn check_known(schema: &Schema, config: &Value) -> Result<(), Failure> {
    let unknown = crate::unknown::check(schema, config);
    if unknown.is_empty() {
        return Ok(());
    }
    let why: Vec<String> = unknown
        .iter()
        .map(|path| format!(".{path}: field not declared in schema"))
        .collect();
    let why = if let [one] = why.as_slice() {
        one.clone()
    } else {
        format!("errors:\n  {}", why.join("\n  "))
    };
    Err(status::untold(typed_patch(config, &why)))
}

/// A value of another type cannot be merged; upstream says so before it looks at anything else.
fn check_types(schema: &Schema, config: &Value) -> Result<(), Failure> {
    if schema.name.is_empty() {
        return Ok(());
    }
    let mut settled = config.clone();
    crate::schema::coerce(schema, &mut settled);
    match crate::schema::type_error(schema, &settled) {
        Some(why) => Err(status::untold(typed_patch(config, &why))),
        None => Ok(()),
    }
}

fn untypable(config: &Value, error: &Malformed) -> Failure {
    status::untold(typed_patch(config, &error.to_string()))
}

fn typed_patch(config: &Value, why: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    // Group and version, the group of the core being empty.
    let version = text(&config["apiVersion"]);
    let slash = if version.contains('/') { "" } else { "/" };
    format!(
        "failed to create typed patch object ({}/{}; {slash}{version}, Kind={}): {why}",
        text(&config["metadata"]["namespace"]),
        text(&config["metadata"]["name"]),
        text(&config["kind"])
    )
}
