//! Strategic merge, as Kustomize does it.
//!
//! Null deletes. Maps merge field by field. Lists that merge by key take the patch's elements
//! first, in the patch's order, then what was there; other lists are replaced. `$patch: delete`
//! and `$patch: replace` work on maps, list elements and, as an element of its own, lists.

use super::schema::Schema;
use crate::Finding;
use crate::yaml::{Map, Node, Scalar, Value};
use std::collections::HashMap;

/// Merges a patch over an object; `None` = the object is deleted.
pub(super) fn merge(target: Node, patch: Node, schema: Schema) -> Result<Option<Node>, Finding> {
    merge_value(target, patch, schema, None)
}

#[derive(PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

type Keys = Option<&'static [&'static str]>;

fn merge_value(
    target: Node,
    patch: Node,
    schema: Schema,
    keys: Keys,
) -> Result<Option<Node>, Finding> {
    if patch.is_null() {
        return Ok(None);
    }
    if target.is_null() {
        return clean(patch, schema, keys);
    }
    let at = patch.at;
    match (target.value, patch.value) {
        (Value::Map(into), Value::Map(mut from)) => match directive(&mut from, at)? {
            Directive::Delete => Ok(None),
            Directive::Replace => clean_map(from, schema).map(Some),
            Directive::Merge => merge_maps(into, from, schema).map(|map| {
                Some(Node {
                    value: Value::Map(map),
                    at: target.at,
                })
            }),
        },
        (Value::List(into), Value::List(from)) => match keys {
            None => Ok(Some(Node {
                value: Value::List(from),
                at,
            })),
            Some(keys) => Ok(merge_lists(into, from, keys, schema)?.map(|list| Node {
                value: Value::List(list),
                at: target.at,
            })),
        },
        (Value::Scalar(..), value @ Value::Scalar(..)) => Ok(Some(Node { value, at })),
        _ => Err(Finding::error(
            "kustomize/patch",
            "the patch has another type here than the object",
        )
        .at(at.line, at.column)),
    }
}

fn merge_maps(into: Map, mut from: Map, schema: Schema) -> Result<Map, Finding> {
    let mut out = Map::with_capacity(into.len() + from.len());
    for (key, value) in into {
        let (below, keys) = schema.field(&key);
        let merged = match from.swap_remove(&key) {
            Some(patch) => merge_value(value, patch, below, keys)?,
            None => prune(value, below, keys),
        };
        if let Some(node) = merged {
            out.insert(key, node);
        }
    }
    for (key, value) in from {
        let (below, keys) = schema.field(&key);
        if let Some(node) = clean(value, below, keys)? {
            out.insert(key, node);
        }
    }
    Ok(out)
}

// What a patch adds: directives done, nulls gone.
fn clean(patch: Node, schema: Schema, keys: Keys) -> Result<Option<Node>, Finding> {
    let at = patch.at;
    match patch.value {
        Value::Scalar(Scalar::Null, _) => Ok(None),
        value @ Value::Scalar(..) => Ok(Some(Node { value, at })),
        Value::Map(mut map) => match directive(&mut map, at)? {
            Directive::Delete => Ok(None),
            _ => clean_map(map, schema).map(Some),
        },
        Value::List(list) => match keys {
            None => Ok(Some(Node {
                value: Value::List(list),
                at,
            })),
            Some(keys) => Ok(
                merge_lists(Vec::new(), list, keys, schema)?.map(|list| Node {
                    value: Value::List(list),
                    at,
                }),
            ),
        },
    }
}

fn clean_map(map: Map, schema: Schema) -> Result<Node, Finding> {
    let mut out = Map::with_capacity(map.len());
    for (key, value) in map {
        let (below, keys) = schema.field(&key);
        if let Some(node) = clean(value, below, keys)? {
            out.insert(key, node);
        }
    }
    Ok(Value::Map(out).into())
}

// What a patch leaves alone: a key without any value disappears, an explicit null stays.
fn prune(node: Node, schema: Schema, keys: Keys) -> Option<Node> {
    let at = node.at;
    match node.value {
        Value::Scalar(Scalar::Null, text) if text.is_empty() => None,
        Value::Map(map) => {
            let kept = map.into_iter().filter_map(|(key, value)| {
                let (below, keys) = schema.field(&key);
                Some((key, prune(value, below, keys)?))
            });
            Some(Node {
                value: Value::Map(kept.collect()),
                at,
            })
        }
        Value::List(list) if keys.is_some() => {
            let kept = list
                .into_iter()
                .filter_map(|item| prune(item, schema, None))
                .collect();
            Some(Node {
                value: Value::List(kept),
                at,
            })
        }
        value => Some(Node { value, at }),
    }
}

fn directive(map: &mut Map, at: crate::yaml::Place) -> Result<Directive, Finding> {
    let Some(value) = map.get("$patch") else {
        return Ok(Directive::Merge);
    };
    let found = match value.text() {
        Some("merge") => Directive::Merge,
        Some("replace") => Directive::Replace,
        Some("delete") => Directive::Delete,
        _ => {
            let message = "$patch must be merge, replace or delete";
            return Err(Finding::error("kustomize/patch", message).at(at.line, at.column));
        }
    };
    map.shift_remove("$patch");
    Ok(found)
}

fn merge_lists(
    into: Vec<Node>,
    mut from: Vec<Node>,
    keys: &'static [&'static str],
    item: Schema,
) -> Result<Option<Vec<Node>>, Finding> {
    if let Some(at) = from.iter().position(|n| {
        n.as_map()
            .is_some_and(|m| m.len() == 1 && m.contains_key("$patch"))
    }) {
        let mut element = from.remove(at);
        let place = element.at;
        if let Some(map) = element.as_map_mut() {
            match directive(map, place)? {
                Directive::Delete => return Ok(None),
                Directive::Replace => return merge_lists(Vec::new(), from, keys, item),
                Directive::Merge => {}
            }
        }
    }
    let merged = match keys {
        [] => union(into, from),
        [key] => by_key(into, from, key, item)?,
        keys => by_keys(into, from, keys, item)?,
    };
    Ok(Some(merged))
}

fn union(into: Vec<Node>, from: Vec<Node>) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::with_capacity(into.len() + from.len());
    for node in from.into_iter().chain(into) {
        if !out.iter().any(|n| n.text() == node.text()) {
            out.push(node);
        }
    }
    out
}

fn by_key(
    into: Vec<Node>,
    from: Vec<Node>,
    key: &'static str,
    item: Schema,
) -> Result<Vec<Node>, Finding> {
    let mut existing: Vec<Option<Node>> = into.into_iter().map(Some).collect();
    let mut at: HashMap<String, usize> = HashMap::with_capacity(existing.len());
    for (index, node) in existing.iter().enumerate() {
        if let Some(text) = node.as_ref().and_then(|n| n.text_at(&[key])) {
            at.entry(text.to_string()).or_insert(index);
        }
    }
    let mut out = Vec::with_capacity(existing.len() + from.len());
    for patch in from {
        let found = patch.text_at(&[key]).and_then(|text| at.get(text).copied());
        let target = found.and_then(|index| existing[index].take());
        let merged = match target {
            Some(target) => merge_value(target, patch, item, None)?,
            None => clean(patch, item, None)?,
        };
        out.extend(merged.filter(|n| !is_empty(n)));
    }
    out.extend(
        existing
            .into_iter()
            .flatten()
            .filter_map(|node| prune(node, item, None)),
    );
    Ok(out)
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::Map(map) if map.is_empty())
}

// An element means the same as another where every key that both have is equal.
fn by_keys(
    into: Vec<Node>,
    from: Vec<Node>,
    keys: &'static [&'static str],
    item: Schema,
) -> Result<Vec<Node>, Finding> {
    let same = |l: &Node, r: &Node| {
        let pairs = || keys.iter().map(|k| (l.text_at(&[k]), r.text_at(&[k])));
        pairs().all(|(l, r)| l.is_none() || r.is_none() || l == r)
            && pairs().any(|(l, r)| l.is_some() && l == r)
    };
    let mut kept: Vec<Option<Node>> = into.into_iter().map(Some).collect();
    let mut fresh = Vec::new();
    for patch in from {
        match kept
            .iter()
            .position(|n| n.as_ref().is_some_and(|n| same(n, &patch)))
        {
            Some(at) => {
                let Some(target) = kept[at].take() else {
                    continue;
                };
                kept[at] = merge_value(target, patch, item, None)?.filter(|n| !is_empty(n));
            }
            None => fresh.extend(clean(patch, item, None)?.filter(|n| !is_empty(n))),
        }
    }
    fresh.extend(
        kept.into_iter()
            .flatten()
            .filter_map(|node| prune(node, item, None)),
    );
    Ok(fresh)
}
