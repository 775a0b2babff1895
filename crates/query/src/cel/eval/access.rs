//! Reaching into values and putting them together: fields, indices, joined lists, order.

use super::{Error, Result_, Run, fault, no_overload};
use crate::cel::shape::Merge;
use crate::cel::strings;
use crate::cel::value::{Key, List, Value, order};
use indexmap::IndexMap;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

impl Run<'_> {
    pub(super) fn index(&mut self, on: &Value, index: &Value, optional: bool) -> Result_ {
        let (on, optional) = match on {
            Value::Optional(None) => return Ok(Value::none()),
            Value::Optional(Some(inner)) => (&**inner, true),
            other => (other, optional),
        };
        let found = match on {
            Value::Map(map) => match index {
                Value::Bool(_)
                | Value::Int(_)
                | Value::Uint(_)
                | Value::Double(_)
                | Value::String(_) => map.find(index).cloned(),
                other => {
                    return fault(format!("unsupported key type: {}", other.type_name()));
                }
            },
            Value::List(list) => {
                let place = match index {
                    Value::Int(n) => i128::from(*n),
                    Value::Uint(n) => i128::from(*n),
                    Value::Double(n) if n.fract() == 0.0 && n.abs() < 2e19 => *n as i128,
                    Value::Double(n) => {
                        return fault(format!(
                            "unsupported index value {} in list",
                            strings::double(*n, 21)
                        ));
                    }
                    other => return fault(no_index(other)),
                };
                let found = usize::try_from(place)
                    .ok()
                    .and_then(|place| list.items.get(place))
                    .cloned();
                if found.is_none() && !optional {
                    return fault(format!("index out of bounds: {place}"));
                }
                found
            }
            _ => None,
        };
        match (found, optional) {
            (Some(value), true) => Ok(Value::some(value)),
            (None, true) => Ok(Value::none()),
            (Some(value), false) => Ok(value),
            (None, false) => fault(format!("no such key: {}", strings::show(index))),
        }
    }

    pub(super) fn join(&mut self, a: &Arc<List>, b: &Arc<List>) -> Result_ {
        self.items(a.items.len() + b.items.len())?;
        if a.merge == Merge::Atomic && b.items.is_empty() {
            return Ok(Value::List(a.clone()));
        }
        let mut joined = List {
            items: a.items.clone(),
            merge: a.merge.clone(),
        };
        match &a.merge {
            Merge::Atomic => joined.items.extend(b.items.iter().cloned()),
            Merge::Set => {
                let mut known: HashSet<Vec<u8>> = HashSet::new();
                for item in &a.items {
                    known.insert(self.canonical(item)?);
                }
                for item in &b.items {
                    if known.insert(self.canonical(item)?) {
                        joined.items.push(item.clone());
                    }
                }
            }
            Merge::Keys(keys) => {
                let mut places: IndexMap<Vec<u8>, usize> = IndexMap::new();
                for (at, item) in a.items.iter().enumerate() {
                    places.insert(self.identity(item, keys)?, at);
                }
                for item in &b.items {
                    let identity = self.identity(item, keys)?;
                    match places.get(&identity) {
                        Some(at) => joined.items[*at] = item.clone(),
                        None => {
                            places.insert(identity, joined.items.len());
                            joined.items.push(item.clone());
                        }
                    }
                }
            }
        }
        Ok(Value::List(Arc::new(joined)))
    }

    fn identity(&mut self, item: &Value, keys: &[Arc<str>]) -> Result<Vec<u8>, Error> {
        let Value::Map(map) = item else {
            return self.canonical(item);
        };
        let mut bytes = Vec::new();
        for key in keys {
            let value = map.field(key).cloned().unwrap_or_default();
            bytes.extend(self.canonical(&value)?);
        }
        Ok(bytes)
    }
}

/// A field of an object or an entry of a map.
pub(super) fn member(on: &Value, field: &Arc<str>) -> Result<Option<Value>, Error> {
    match on {
        Value::Map(map) => Ok(map.entries.get(&Key::String(field.clone())).cloned()),
        Value::List(_) => fault(no_index(&Value::String(field.clone()))),
        _ => Ok(None),
    }
}

fn no_index(index: &Value) -> String {
    format!("unsupported index type '{}' in list", index.type_name())
}

pub(super) fn compare(function: &str, a: &Value, b: &Value) -> Result_ {
    if matches!(a, Value::Double(n) if n.is_nan()) || matches!(b, Value::Double(n) if n.is_nan()) {
        return fault("NaN values cannot be ordered");
    }
    let Some(order) = order(a, b) else {
        return match (a, b) {
            // Types that have an order, but not with each other.
            (Value::List(_) | Value::Map(_) | Value::Null, _) => {
                fault(format!("no such overload: {function}"))
            }
            _ => no_overload(),
        };
    };
    Ok(Value::Bool(match function {
        "_<_" => order == Ordering::Less,
        "_<=_" => order != Ordering::Greater,
        "_>_" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }))
}
