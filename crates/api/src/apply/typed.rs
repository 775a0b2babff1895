//! Walks over values by their schema: which paths a value sets, what differs between two values,
//! merging, and removal of paths.
//!
//! The behaviour is that of upstream's structured merge: objects and identified lists are walked
//! item by item, atomic ones are a single leaf, and what has no schema is walked by its JSON type
//! with lists as leaves.

use super::set::{Element, Scalar, Set};
use crate::schema::{Kind, ListType, Schema};
use serde_json::{Map, Value};

/// What differs between an old and a new value.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Paths only the old one has.
    pub removed: Set,
    /// Leaves whose value differs.
    pub modified: Set,
    /// Paths only the new one has.
    pub added: Set,
}

/// How a node is walked.
enum Shape<'s> {
    Map {
        schema: Option<&'s Schema>,
        atomic: bool,
    },
    List {
        schema: Option<&'s Schema>,
        kind: &'s ListType,
    },
    Scalar,
}

static ATOMIC: ListType = ListType::Atomic;

fn shape<'s>(schema: Option<&'s Schema>, value: &Value) -> Shape<'s> {
    let known = schema.filter(|schema| schema.kind != Kind::Any || !schema.fields.is_empty());
    let kind = match known.map(|schema| schema.kind) {
        None | Some(Kind::Any) => match value {
            Value::Object(_) => Kind::Object,
            Value::Array(_) => Kind::Array,
            _ => Kind::Any,
        },
        Some(kind) => kind,
    };
    match kind {
        Kind::Object => Shape::Map {
            schema: known,
            atomic: schema.is_some_and(is_atomic),
        },
        Kind::Array => Shape::List {
            schema: known,
            kind: known.map_or(&ATOMIC, |schema| &schema.list),
        },
        _ => Shape::Scalar,
    }
}

/// Free objects inside built-in kinds are opaque; those of custom resources are walked.
fn is_atomic(schema: &Schema) -> bool {
    schema.atomic_map || (!schema.name.is_empty() && schema.is_open())
}

fn field<'s>(schema: Option<&'s Schema>, name: &str) -> Option<&'s Schema> {
    Some(schema?.field(name)?.schema())
}

fn items(schema: Option<&Schema>) -> Option<&Schema> {
    Some(schema?.items.as_ref()?.schema())
}

fn elements(value: Option<&Value>) -> &[Value] {
    value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn is_known_field(schema: Option<&Schema>, name: &str) -> bool {
    schema.is_some_and(|schema| schema.fields.contains_key(name))
}

/// Position of a list item in the terms of its list; `None` where it has no keys (or no scalar).
fn element(schema: Option<&Schema>, kind: &ListType, item: &Value) -> Option<Element> {
    match kind {
        ListType::Atomic => None,
        ListType::Set => {
            let scalar = !(item.is_object() || item.is_array() || item.is_null());
            scalar.then(|| Element::Value(Scalar::new(item.clone())))
        }
        ListType::Map(keys) => {
            let item = item.as_object()?;
            let inner = items(schema);
            let mut fields: Vec<(Box<str>, Scalar)> = Vec::with_capacity(keys.len());
            for key in keys {
                let value = item
                    .get(&**key)
                    .cloned()
                    .or_else(|| key_default(inner, key));
                if let Some(value) = value {
                    fields.push((key.clone(), Scalar::new(value)));
                }
            }
            fields.sort();
            (!fields.is_empty()).then_some(Element::Key(fields))
        }
    }
}

/// A missing key counts as its default; a required one without default as Go's zero value.
fn key_default(items: Option<&Schema>, key: &str) -> Option<Value> {
    let items = items?;
    let slot = items.fields.get(key)?;
    if slot.default.is_some() {
        return slot.default.clone();
    }
    if items.name.is_empty() || !items.required.iter().any(|name| &**name == key) {
        return None;
    }
    match slot.schema().kind {
        Kind::String => Some("".into()),
        Kind::Integer => Some(0.into()),
        _ => None,
    }
}

/// Every path that `value` sets: leaves, list items and free map entries.
pub fn paths(schema: &Schema, value: &Value) -> Set {
    let mut set = Set::default();
    collect(Some(schema), value, &mut Vec::new(), &mut set);
    set
}

fn collect(schema: Option<&Schema>, value: &Value, path: &mut Vec<Element>, set: &mut Set) {
    match shape(schema, value) {
        Shape::Scalar => set.insert(path),
        Shape::Map { atomic: true, .. } => set.insert(path),
        Shape::Map { schema, .. } => {
            let Some(map) = value.as_object() else { return };
            for (name, value) in map {
                path.push(Element::Field(name.as_str().into()));
                collect(field(schema, name), value, path, set);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !is_known_field(schema, name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Shape::List {
            kind: ListType::Atomic,
            ..
        } => set.insert(path),
        Shape::List { schema, kind } => {
            for item in value.as_array().map(Vec::as_slice).unwrap_or_default() {
                let Some(step) = element(schema, kind, item) else {
                    continue;
                };
                path.push(step);
                collect(items(schema), item, path, set);
                set.insert(path);
                path.pop();
            }
        }
    }
}

/// What differs between `old` and `new`.
pub fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    let mut out = Comparison::default();
    diff(
        Some(schema),
        Some(old),
        Some(new),
        &mut Vec::new(),
        &mut out,
    );
    out
}

fn diff(
    schema: Option<&Schema>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
    out: &mut Comparison,
) {
    let Some(sample) = new.filter(|value| !value.is_null()).or(old).or(new) else {
        return;
    };
    if old == new {
        return;
    }
    let mut leaf = || match (old, new) {
        (None, _) => out.added.insert(path),
        (_, None) => out.removed.insert(path),
        _ => out.modified.insert(path),
    };
    match shape(schema, sample) {
        Shape::Scalar
        | Shape::Map { atomic: true, .. }
        | Shape::List {
            kind: ListType::Atomic,
            ..
        } => {
            return leaf();
        }
        Shape::Map { schema, .. } => {
            let (before, after) = (
                old.and_then(Value::as_object),
                new.and_then(Value::as_object),
            );
            if before.is_none_or(Map::is_empty) && after.is_none_or(Map::is_empty) {
                return leaf();
            }
            diff_map(schema, before, after, path, out);
        }
        Shape::List { schema, kind } => {
            let (before, after) = (elements(old), elements(new));
            if before.is_empty() && after.is_empty() {
                return leaf();
            }
            diff_list(schema, kind, before, after, path, out);
        }
    }
    if old.is_none() {
        out.added.insert(path);
    } else if new.is_none() {
        out.removed.insert(path);
    }
}

fn diff_map(
    schema: Option<&Schema>,
    before: Option<&Map<String, Value>>,
    after: Option<&Map<String, Value>>,
    path: &mut Vec<Element>,
    out: &mut Comparison,
) {
    for (name, value) in before.into_iter().flatten() {
        path.push(Element::Field(name.as_str().into()));
        diff(
            field(schema, name),
            Some(value),
            after.and_then(|map| map.get(name)),
            path,
            out,
        );
        path.pop();
    }
    for (name, value) in after.into_iter().flatten() {
        if !before.is_some_and(|map| map.contains_key(name)) {
            path.push(Element::Field(name.as_str().into()));
            diff(field(schema, name), None, Some(value), path, out);
            path.pop();
        }
    }
}

fn diff_list(
    schema: Option<&Schema>,
    kind: &ListType,
    before: &[Value],
    after: &[Value],
    path: &mut Vec<Element>,
    out: &mut Comparison,
) {
    let index = |list: &[Value]| {
        let mut steps: std::collections::BTreeMap<Element, Vec<usize>> =
            std::collections::BTreeMap::new();
        for (at, item) in list.iter().enumerate() {
            if let Some(step) = element(schema, kind, item) {
                steps.entry(step).or_default().push(at);
            }
        }
        steps
    };
    let (old, new) = (index(before), index(after));
    let all: std::collections::BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
    let none: Vec<usize> = Vec::new();
    for step in all {
        let (a, b) = (
            old.get(step).unwrap_or(&none),
            new.get(step).unwrap_or(&none),
        );
        path.push(step.clone());
        // Items that share a key cannot be told apart: they count as one leaf.
        if a.len() > 1 && b.len() > 1 {
            let same = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| before[*a] == after[*b]);
            if !same {
                out.modified.insert(path);
            }
        } else if a.len() > 1 {
            let one = b.first().map(|at| &after[*at]);
            diff(items(schema), None, one, path, out);
            out.removed.insert(path);
        } else if b.len() > 1 {
            let one = a.first().map(|at| &before[*at]);
            diff(items(schema), one, None, path, out);
            out.added.insert(path);
        } else {
            let (a, b) = (
                a.first().map(|at| &before[*at]),
                b.first().map(|at| &after[*at]),
            );
            diff(items(schema), a, b, path, out);
        }
        path.pop();
    }
}

/// A list of a configuration that names one item twice or leaves out its keys.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{path}: {why}")]
pub struct Malformed {
    /// Path of the list.
    pub path: String,
    /// What is wrong.
    pub why: String,
}

/// `new` over `old`: nothing is removed, leaves of `new` win, lists follow `new`'s order where it
/// names items.
pub fn merge(schema: &Schema, old: &Value, new: &Value) -> Result<Value, Malformed> {
    let merged = merge_node(Some(schema), Some(old), Some(new)).map_err(|mut error| {
        if error.path.is_empty() {
            error.path = ".".into();
        }
        error
    })?;
    Ok(merged.unwrap_or(Value::Null))
}

fn merge_node(
    schema: Option<&Schema>,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Result<Option<Value>, Malformed> {
    let Some(sample) = new.filter(|value| !value.is_null()).or(old).or(new) else {
        return Ok(None);
    };
    match shape(schema, sample) {
        Shape::Scalar
        | Shape::Map { atomic: true, .. }
        | Shape::List {
            kind: ListType::Atomic,
            ..
        } => Ok(new.or(old).cloned()),
        Shape::Map { schema, .. } => {
            let (before, after) = (
                old.and_then(Value::as_object),
                new.and_then(Value::as_object),
            );
            if before.is_none_or(Map::is_empty) && after.is_none_or(Map::is_empty) {
                return Ok(new.or(old).cloned());
            }
            let mut out = Map::new();
            for (name, value) in before.into_iter().flatten() {
                let other = after.and_then(|map| map.get(name));
                if other.is_none() {
                    out.insert(name.clone(), value.clone());
                } else if let Some(merged) = merge_node(field(schema, name), Some(value), other)
                    .map_err(|e| within(e, name))?
                {
                    out.insert(name.clone(), merged);
                }
            }
            for (name, value) in after.into_iter().flatten() {
                if !before.is_some_and(|map| map.contains_key(name))
                    && let Some(merged) = merge_node(field(schema, name), None, Some(value))
                        .map_err(|e| within(e, name))?
                {
                    out.insert(name.clone(), merged);
                }
            }
            Ok(Some(Value::Object(out)))
        }
        Shape::List { schema, kind } => {
            let (before, after) = (elements(old), elements(new));
            if before.is_empty() && after.is_empty() {
                return Ok(new.or(old).cloned());
            }
            merge_list(schema, kind, before, after).map(|items| Some(Value::Array(items)))
        }
    }
}

fn within(mut error: Malformed, name: &str) -> Malformed {
    error.path = format!(".{name}{}", error.path);
    error
}

fn merge_list(
    schema: Option<&Schema>,
    kind: &ListType,
    before: &[Value],
    after: &[Value],
) -> Result<Vec<Value>, Malformed> {
    let mut right: Vec<(Element, &Value)> = Vec::with_capacity(after.len());
    for (at, item) in after.iter().enumerate() {
        let Some(step) = element(schema, kind, item) else {
            let why = format!("element {at}: {}", keyless(kind));
            return Err(Malformed {
                path: String::new(),
                why,
            });
        };
        if right.iter().any(|(known, _)| *known == step) {
            return Err(Malformed {
                path: String::new(),
                why: format!("duplicate entries for key {step}"),
            });
        }
        right.push((step, item));
    }
    let left: Vec<(Element, &Value)> = before
        .iter()
        .filter_map(|item| Some((element(schema, kind, item)?, item)))
        .collect();
    // An item that occurs twice on the left cannot be merged into.
    let left_item = |step: &Element| {
        let mut found = left.iter().filter(|(known, _)| known == step);
        match (found.next(), found.next()) {
            (Some((_, item)), None) => Some(*item),
            _ => None,
        }
    };
    let in_left = |step: &Element| left.iter().any(|(known, _)| known == step);
    let in_right = |step: &Element| right.iter().any(|(known, _)| known == step);
    let mut shared = right
        .iter()
        .map(|(step, _)| step)
        .filter(|step| in_left(step))
        .peekable();
    let mut done: Vec<&Element> = Vec::new();
    let mut out = Vec::with_capacity(before.len().max(after.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some((a, _)), Some((b, other))) = (left.get(l), right.get(r)) {
            if a == b {
                done.push(a);
                out.extend(merge_node(items(schema), left_item(a), Some(other))?);
                l += 1;
                r += 1;
                shared.next();
                continue;
            }
            if in_right(a) && shared.peek().is_some_and(|next| *next != a) {
                l += 1;
                continue;
            }
        }
        if let Some((a, item)) = left.get(l) {
            if !in_right(a) {
                out.push((*item).clone());
                l += 1;
                continue;
            } else if done.contains(&a) {
                l += 1;
            }
        }
        if let Some((b, other)) = right.get(r) {
            done.push(b);
            out.extend(merge_node(items(schema), left_item(b), Some(other))?);
            r += 1;
            if shared.peek().is_some_and(|next| *next == b) {
                shared.next();
            }
        }
    }
    Ok(out)
}

fn keyless(kind: &ListType) -> String {
    match kind {
        ListType::Map(keys) => {
            let keys: Vec<String> = keys.iter().map(|key| crate::field::quote(key)).collect();
            format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                keys.join(" ")
            )
        }
        _ => "associative list without keys has an element that's not a scalar".into(),
    }
}

/// `value` without the members of `set`; of containers that lose everything null is left, which
/// tells them from those that were removed themselves.
pub(super) fn remove(schema: &Schema, value: &Value, set: &Set) -> Value {
    remove_node(Some(schema), value, set)
}

fn remove_node(schema: Option<&Schema>, value: &Value, set: &Set) -> Value {
    match (shape(schema, value), value) {
        (Shape::Scalar, _) => value.clone(),
        (
            Shape::Map {
                atomic: false,
                schema,
            },
            Value::Object(map),
        ) => {
            let mut out = Map::new();
            for (name, value) in map {
                let step = Element::Field(name.as_str().into());
                if set.has(&step) {
                    continue;
                }
                let kept = match set.beneath(&step) {
                    Some(inner) => remove_node(field(schema, name), value, inner),
                    None => value.clone(),
                };
                out.insert(name.clone(), kept);
            }
            match out.is_empty() {
                true => Value::Null,
                false => Value::Object(out),
            }
        }
        (Shape::List { schema, kind }, Value::Array(list)) if *kind != ListType::Atomic => {
            let mut out = Vec::new();
            for item in list {
                let step = element(schema, kind, item);
                if step.as_ref().is_some_and(|step| set.has(step)) {
                    continue;
                }
                match step.and_then(|step| set.beneath(&step)) {
                    Some(inner) => out.push(remove_node(items(schema), item, inner)),
                    None => out.push(item.clone()),
                }
            }
            match out.is_empty() {
                true => Value::Null,
                false => Value::Array(out),
            }
        }
        _ => Value::Null,
    }
}

/// The set with every named field on the way to a member made a member, free map keys not.
pub(super) fn with_named_parents(schema: &Schema, set: &Set) -> Set {
    let mut out = set.clone();
    name_parents(Some(schema), &mut out);
    out
}

fn name_parents(schema: Option<&Schema>, set: &mut Set) {
    set.for_each_child(|step, member, children| {
        let inner = match step {
            Element::Field(name) => {
                if !children.is_empty() && is_known_field(schema, name) {
                    *member = true;
                }
                field(schema, name)
            }
            _ => items(schema),
        };
        name_parents(inner, children);
    });
}

/// What Go's empty value of a built-in kind looks like as JSON: structures that are always there,
/// and zero values or nulls of required fields.
pub fn zero(schema: &Schema) -> Value {
    let mut map = Map::new();
    for (name, slot) in &schema.fields {
        if slot.always {
            map.insert(name.to_string(), zero(slot.schema()));
        } else if slot.emit_zero {
            map.insert(name.to_string(), slot.zero());
        }
    }
    Value::Object(map)
}
