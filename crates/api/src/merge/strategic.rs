//! Strategic merge patch: a merge patch that knows which lists are merged by a key, with the
//! directives `$patch`, `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…`.

use super::Error;
use crate::schema::{PatchStrategy, Schema};
use serde_json::{Map, Value};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// `original` with `patch` merged into it.
pub fn strategic(schema: &Schema, original: &Value, patch: &Value) -> Result<Value, Error> {
    let (Some(original), Some(patch)) = (original.as_object(), patch.as_object()) else {
        return Err(malformed("a strategic merge patch must be an object"));
    };
    merge_map(Some(schema), original.clone(), patch.clone()).map(Value::Object)
}

fn malformed(why: impl Into<String>) -> Error {
    Error::Merge(why.into())
}

/// A value as Go prints it.
fn printed(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let entries: Vec<String> = keys
                .into_iter()
                .map(|key| format!("{key}:{}", printed(&map[key])))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(printed).collect::<Vec<_>>().join(" ")
        ),
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}

fn unknown_directive(directive: &Value, patch: &Map<String, Value>) -> Error {
    let mut whole = patch.clone();
    whole.insert(DIRECTIVE.into(), directive.clone());
    malformed(format!(
        "unknown patch type: {} in map: {}",
        printed(directive),
        printed(&Value::Object(whole))
    ))
}

fn merge_map(
    schema: Option<&Schema>,
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    if let Some(directive) = patch.shift_remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Map::new()),
            _ => Err(unknown_directive(&directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    ordered_lists(schema, &mut original, &mut patch)?;
    for (key, value) in patch {
        let (key, deletes) = match key.strip_prefix(DELETE_FROM) {
            Some(name) => (name.to_string(), true),
            None => (key, false),
        };
        if value.is_null() {
            original.shift_remove(&key);
            continue;
        }
        let Some(slot) = original.get_mut(&key) else {
            if !deletes && let Some(value) = plain(value) {
                original.insert(key, value);
            }
            continue;
        };
        let field = schema.and_then(|schema| schema.field(&key));
        let inner = field.map(|field| field.schema());
        let merged = match (slot.take(), value) {
            (Value::Object(old), Value::Object(new)) => {
                Some(Value::Object(merge_map(inner, old, new)?))
            }
            (Value::Array(old), Value::Array(new)) => {
                let strategy = field.map(|field| &field.patch);
                Some(Value::Array(merge_list(
                    inner, strategy, old, new, deletes,
                )?))
            }
            (old, _) if deletes => Some(old),
            (_, new) => plain(new),
        };
        match merged {
            Some(merged) => *slot = merged,
            None => {
                original.shift_remove(&key);
            }
        }
    }
    Ok(original)
}

fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_string)
}

fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), Error> {
    let Some(keys) = patch.shift_remove(RETAIN) else {
        return Ok(());
    };
    let bad = || Error::Malformed("invalid patch format of retainKeys".into());
    let keys = keys.as_array().ok_or_else(bad)?;
    let kept = |name: &str| keys.iter().any(|key| key == name);
    let named = |(key, value): (&String, &Value)| {
        value.is_null() || key.starts_with(DELETE_FROM) || key.starts_with(ORDER) || kept(key)
    };
    if !patch.iter().all(named) {
        return Err(bad());
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

/// Lists whose order the patch gives: merged here and taken out of the patch.
fn ordered_lists(
    schema: Option<&Schema>,
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), Error> {
    let orders: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(ORDER))
        .cloned()
        .collect();
    for directive in orders {
        let order = patch.shift_remove(&directive).unwrap_or_default();
        let key = directive
            .strip_prefix(ORDER)
            .unwrap_or_default()
            .to_string();
        let bad = || malformed(format!("expected a list for {directive}"));
        let order = order.as_array().ok_or_else(bad)?;
        let field = schema.and_then(|schema| schema.field(&key));
        let strategy = field.map(|field| field.patch.clone()).unwrap_or_default();
        let old = list(original.get(&key)).ok_or_else(bad)?;
        let new = match patch.get(&key) {
            Some(Value::Null) => continue,
            value => list(value).ok_or_else(bad)?,
        };
        check_order(&strategy, new.as_deref().unwrap_or_default(), order)?;
        let nothing = |items: &Option<Vec<Value>>| items.as_ref().is_none_or(Vec::is_empty);
        if (old.is_some() || new.is_some()) && nothing(&old) && nothing(&new) {
            return Err(malformed("no elements in any of the given slices"));
        }
        let merged = match (old.clone(), new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(plain).collect(),
            (Some(old), Some(new)) => merge_list(
                field.map(|field| field.schema()),
                Some(&strategy),
                old,
                new,
                false,
            )?,
        };
        let (named, others): (Vec<Value>, Vec<Value>) = merged
            .into_iter()
            .partition(|item| order.iter().any(|wanted| same(&strategy, item, wanted)));
        let merged = in_order(&strategy, named, others, order, &old.unwrap_or_default());
        original.insert(key.clone(), Value::Array(merged));
        patch.shift_remove(&key);
    }
    Ok(())
}

/// `Some(None)` where the value is missing, `None` where it is no list.
#[allow(clippy::option_option)] // missing and wrong are told apart
fn list(value: Option<&Value>) -> Option<Option<Vec<Value>>> {
    match value {
        None => Some(None),
        Some(Value::Array(items)) => Some(Some(items.clone())),
        Some(_) => None,
    }
}

/// Items the patch adds or changes must stand in its order list, in the same order.
fn check_order(strategy: &PatchStrategy, items: &[Value], order: &[Value]) -> Result<(), Error> {
    let mut rest = order.iter();
    let deleted = |item: &&Value| item.get(DIRECTIVE).is_some_and(|d| d == "delete");
    for item in items.iter().filter(|item| !deleted(item)) {
        if !rest.any(|wanted| same(strategy, item, wanted)) {
            return Err(malformed(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                printed(&Value::Array(items.to_vec())),
                printed(&Value::Array(order.to_vec()))
            )));
        }
    }
    Ok(())
}

fn same(strategy: &PatchStrategy, a: &Value, b: &Value) -> bool {
    match &strategy.key {
        Some(key) => a.get(&**key).is_some() && a.get(&**key) == b.get(&**key),
        None => a == b,
    }
}

/// Named items in the patch's order, the others woven in where the server had them.
fn in_order(
    strategy: &PatchStrategy,
    mut named: Vec<Value>,
    mut others: Vec<Value>,
    order: &[Value],
    server: &[Value],
) -> Vec<Value> {
    let place =
        |list: &[Value], item: &Value| list.iter().position(|known| same(strategy, known, item));
    named.sort_by_key(|item| place(order, item).unwrap_or(usize::MAX));
    others.sort_by_key(|item| place(server, item).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(left), Some(right)) = (others.peek(), named.peek()) {
        let first =
            matches!((place(server, left), place(server, right)), (Some(l), Some(r)) if l < r);
        out.extend(if first { others.next() } else { named.next() });
    }
    out.extend(others);
    out.extend(named);
    out
}

fn merge_list(
    schema: Option<&Schema>,
    strategy: Option<&PatchStrategy>,
    original: Vec<Value>,
    patch: Vec<Value>,
    deletes: bool,
) -> Result<Vec<Value>, Error> {
    let Some(strategy) = strategy.filter(|strategy| strategy.merge) else {
        return Ok(if deletes {
            original
        } else {
            patch.into_iter().filter_map(plain).collect()
        });
    };
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    let Some(key) = &strategy.key else {
        return Ok(merge_scalars(original, patch, deletes));
    };
    if deletes {
        return Err(malformed(
            "a list of objects cannot be changed by $deleteFromPrimitiveList",
        ));
    }
    let mut original = original;
    let mut replace = false;
    let mut wanted = Vec::new();
    for item in patch {
        let Value::Object(item) = item else {
            return Err(malformed(format!(
                "an item of a list merged by {key} is not an object"
            )));
        };
        match item.get(DIRECTIVE).map(shown).as_deref() {
            None => wanted.push(item),
            Some("replace") => replace = true,
            Some("delete") => {
                let found = item.get(&**key).ok_or_else(|| keyless(&item, key))?;
                original.retain(|old| old.get(&**key) != Some(found));
            }
            Some("merge") => {
                return Err(malformed(
                    "merging lists cannot yet be specified in the patch",
                ));
            }
            Some(_) => return Err(unknown_directive(&item[DIRECTIVE], &item)),
        }
    }
    if replace {
        return Ok(wanted.into_iter().map(Value::Object).map(bare).collect());
    }
    let items = schema
        .and_then(|schema| schema.items.as_ref())
        .map(|slot| slot.schema());
    let server = original.clone();
    let order: Vec<Value> = wanted.iter().cloned().map(Value::Object).collect();
    for item in wanted {
        let found = item.get(&**key).ok_or_else(|| keyless(&item, key))?;
        match original
            .iter()
            .position(|old| old.get(&**key) == Some(found))
        {
            Some(at) => {
                let Value::Object(old) = original[at].take() else {
                    continue;
                };
                original[at] = Value::Object(merge_map(items, old, item)?);
            }
            None => original.push(bare(Value::Object(item))),
        }
    }
    let (named, others): (Vec<Value>, Vec<Value>) = original
        .into_iter()
        .partition(|item| order.iter().any(|wanted| same(strategy, item, wanted)));
    Ok(in_order(strategy, named, others, &order, &server))
}

fn keyless(item: &Map<String, Value>, key: &str) -> Error {
    malformed(format!(
        "map: {} does not contain declared merge key: {key}",
        printed(&Value::Object(item.clone()))
    ))
}

fn merge_scalars(original: Vec<Value>, patch: Vec<Value>, deletes: bool) -> Vec<Value> {
    if deletes {
        return original
            .into_iter()
            .filter(|item| !patch.contains(item))
            .collect();
    }
    let mut all: Vec<Value> = Vec::new();
    for item in original.iter().chain(&patch) {
        if !all.contains(item) {
            all.push(item.clone());
        }
    }
    let (named, others): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|item| patch.contains(item));
    in_order(&PatchStrategy::default(), named, others, &patch, &original)
}

/// A value of the patch where there was none: no directives and no nulls. `None` where it has a
/// directive itself, whichever: upstream leaves it out with all that is in it.
fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let kept = map
                .into_iter()
                .filter(|(key, value)| !value.is_null() && !is_directive(key));
            Some(Value::Object(
                kept.filter_map(|(key, value)| Some((key, plain(value)?)))
                    .collect(),
            ))
        }
        Value::Array(items) => {
            let kept = items
                .into_iter()
                .filter(|item| item.get(DIRECTIVE).is_none());
            Some(Value::Array(kept.map(bare).collect()))
        }
        other => Some(other),
    }
}

/// A new item of a list: upstream takes the directives in it out without following them.
fn bare(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map
                .into_iter()
                .filter(|(key, value)| !value.is_null() && !is_directive(key));
            Value::Object(kept.map(|(key, value)| (key, bare(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(bare).collect()),
        other => other,
    }
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN || key.starts_with(DELETE_FROM) || key.starts_with(ORDER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(original: Value, patch: Value) -> Result<Value, Error> {
        strategic(
            crate::schema::builtin("", "v1", "Pod").unwrap(),
            &original,
            &patch,
        )
    }

    #[test]
    fn merges_lists_by_key() {
        let original = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}});
        let patch = json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}});
        assert_eq!(
            pod(original.clone(), patch).unwrap(),
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}]}})
        );
        let patch = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
        assert_eq!(
            pod(original.clone(), patch).unwrap(),
            json!({"spec": {"containers": [{"name": "b", "image": "1"}]}})
        );
        let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}});
        assert_eq!(
            pod(original.clone(), patch).unwrap(),
            json!({"spec": {"containers": [{"name": "z"}]}})
        );
        assert!(pod(original, json!({"spec": {"containers": [{"image": "2"}]}})).is_err());
    }

    #[test]
    fn keeps_the_order_asked_for() {
        let original =
            json!({"spec": {"containers": [{"name": "a"}, {"name": "s"}, {"name": "b"}]}});
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "x"}]}});
        assert_eq!(
            pod(original, patch).unwrap(),
            json!({"spec": {"containers": [{"name": "s"}, {"name": "b"}, {"name": "a", "image": "x"}]}})
        );
    }

    #[test]
    fn scalars_retained_keys_and_nulls() {
        let original =
            json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}});
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"x": null}}});
        assert_eq!(
            pod(original.clone(), patch).unwrap(),
            json!({"metadata": {"finalizers": ["b"], "labels": {"y": "2"}}})
        );
        let patch = json!({"metadata": {"finalizers": ["c"]}});
        assert_eq!(
            pod(original, patch).unwrap()["metadata"]["finalizers"],
            json!(["c", "a", "b"])
        );
        let original = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let patch = json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}});
        assert_eq!(
            pod(original, patch).unwrap(),
            json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}})
        );
    }

    #[test]
    fn map_directives_and_atomic_lists() {
        let original =
            json!({"metadata": {"labels": {"a": "1"}}, "spec": {"tolerations": [{"key": "a"}]}});
        let patch = json!({"metadata": {"labels": {"$patch": "replace", "b": "2"}}, "spec": {"tolerations": [{"key": "b"}]}});
        assert_eq!(
            pod(original, patch).unwrap(),
            json!({"metadata": {"labels": {"b": "2"}}, "spec": {"tolerations": [{"key": "b"}]}})
        );
    }
}
