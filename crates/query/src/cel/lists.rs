//! Lists and sets.

use super::eval::{Error, Result_, Run, fault, no_overload};
use super::shape::Merge;
use super::value::{List, Value, order};
use std::cmp::Ordering;
use std::collections::HashSet;

pub(crate) fn call(run: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    if let ("lists.range", [Value::Int(count)]) = (function, args) {
        let count = usize::try_from(*count).unwrap_or(0);
        return Some(
            run.items(count)
                .map(|()| Value::list((0..count as i64).map(Value::Int).collect())),
        );
    }
    let Some(Value::List(list)) = args.first() else {
        return None;
    };
    let items = &list.items;
    Some(match (function, &args[1..]) {
        ("isSorted", []) => in_order(items),
        ("sum", []) => sum(run, items),
        ("max", []) => extreme(items, Ordering::Less, "max"),
        ("min", []) => extreme(items, Ordering::Greater, "min"),
        ("indexOf", [item]) => place(run, items.iter().enumerate(), item),
        ("lastIndexOf", [item]) => place(run, items.iter().enumerate().rev(), item),
        ("first", []) => Ok(Value::Optional(items.first().cloned().map(Into::into))),
        ("last", []) => Ok(Value::Optional(items.last().cloned().map(Into::into))),
        ("slice", [Value::Int(start), Value::Int(end)]) => slice(items, *start, *end),
        ("reverse", []) => run
            .items(items.len())
            .map(|()| Value::list(items.iter().rev().cloned().collect())),
        ("flatten", []) => flatten(run, items, 1),
        ("flatten", [Value::Int(depth)]) => flatten(run, items, *depth),
        ("distinct", []) => distinct(run, items),
        ("sort", []) => sort(run, items, items),
        ("@sortByAssociatedKeys", [Value::List(keys)]) => sort(run, items, &keys.items),
        ("sets.contains", [Value::List(other)]) => contains(run, list, other).map(Value::Bool),
        ("sets.equivalent", [Value::List(other)]) => contains(run, list, other)
            .and_then(|within| Ok(within && contains(run, other, list)?))
            .map(Value::Bool),
        ("sets.intersects", [Value::List(other)]) => intersects(run, list, other),
        _ => return None,
    })
}

fn compared(a: &Value, b: &Value) -> Result<Ordering, Error> {
    match order(a, b) {
        Some(order) => Ok(order),
        None => no_overload(),
    }
}

fn in_order(items: &[Value]) -> Result_ {
    for pair in items.windows(2) {
        if compared(&pair[0], &pair[1])? == Ordering::Greater {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum(run: &mut Run<'_>, items: &[Value]) -> Result_ {
    let mut total = match items.first() {
        None => return Ok(Value::Int(0)),
        Some(Value::Int(_)) => Value::Int(0),
        Some(Value::Uint(_)) => Value::Uint(0),
        Some(Value::Double(_)) => Value::Double(0.0),
        Some(Value::Duration(_)) => Value::Duration(0),
        Some(_) => return no_overload(),
    };
    for item in items {
        total = match super::numbers::call(run, "_+_", &[total, item.clone()]) {
            Some(result) => result?,
            None => return no_overload(),
        };
    }
    Ok(total)
}

fn extreme(items: &[Value], wanted: Ordering, name: &str) -> Result_ {
    let Some(mut best) = items.first() else {
        return fault(format!("{name} called on empty list"));
    };
    for item in &items[1..] {
        // What cannot be compared does not count, as upstream has it.
        if order(best, item) == Some(wanted) {
            best = item;
        }
    }
    Ok(best.clone())
}

fn place<'a>(
    run: &mut Run<'_>,
    mut items: impl Iterator<Item = (usize, &'a Value)>,
    wanted: &Value,
) -> Result_ {
    let found = items.find_map(|(at, item)| match run.same(item, wanted) {
        Ok(false) => None,
        Ok(true) => Some(Ok(at)),
        Err(error) => Some(Err(error)),
    });
    match found {
        None => Ok(Value::Int(-1)),
        Some(at) => Ok(Value::Int(at? as i64)),
    }
}

fn slice(items: &[Value], start: i64, end: i64) -> Result_ {
    if start < 0 || end < 0 {
        return fault(format!(
            "cannot slice({start}, {end}), negative indexes not supported"
        ));
    }
    if start > end {
        return fault(format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        ));
    }
    match items.get(start as usize..end as usize) {
        Some(part) => Ok(Value::list(part.to_vec())),
        None => fault(format!(
            "cannot slice({start}, {end}), list is length {}",
            items.len()
        )),
    }
}

fn flatten(run: &mut Run<'_>, items: &[Value], depth: i64) -> Result_ {
    if depth < 0 {
        return fault("level must be non-negative");
    }
    let mut flat = items.to_vec();
    // As deep as values nest, which is bounded, or as asked.
    for _ in 0..depth {
        run.items(flat.len())?;
        if !flat.iter().any(|item| matches!(item, Value::List(_))) {
            break;
        }
        let mut next = Vec::new();
        for item in flat {
            match item {
                Value::List(inner) => {
                    run.items(next.len() + inner.items.len())?;
                    next.extend(inner.items.iter().cloned());
                }
                other => next.push(other),
            }
        }
        flat = next;
    }
    Ok(Value::list(flat))
}

fn distinct(run: &mut Run<'_>, items: &[Value]) -> Result_ {
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for item in items {
        if seen.insert(run.canonical(item)?) {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn sort(run: &mut Run<'_>, items: &[Value], keys: &[Value]) -> Result_ {
    if items.len() != keys.len() {
        return fault(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            items.len(),
            keys.len()
        ));
    }
    run.items(items.len() * 4)?;
    let Some(first) = keys.first() else {
        return Ok(Value::list(Vec::new()));
    };
    if order(first, first).is_none() && !matches!(first, Value::Double(_)) {
        return fault("list elements must be comparable");
    }
    if keys.iter().any(|key| key.type_name() != first.type_name()) {
        return fault("list elements must have the same type");
    }
    let mut places: Vec<usize> = (0..items.len()).collect();
    // Keys of one type are ordered but for NaN, which is left where it is.
    places.sort_by(|a, b| order(&keys[*a], &keys[*b]).unwrap_or(Ordering::Equal));
    Ok(Value::list(
        places.into_iter().map(|at| items[at].clone()).collect(),
    ))
}

fn members(run: &mut Run<'_>, list: &List) -> Result<HashSet<Vec<u8>>, Error> {
    debug_assert!(matches!(
        list.merge,
        Merge::Atomic | Merge::Set | Merge::Keys(_)
    ));
    list.items.iter().map(|item| run.canonical(item)).collect()
}

fn contains(run: &mut Run<'_>, list: &List, part: &List) -> Result<bool, Error> {
    let known = members(run, list)?;
    for item in &part.items {
        if !known.contains(&run.canonical(item)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects(run: &mut Run<'_>, a: &List, b: &List) -> Result_ {
    let known = members(run, b)?;
    for item in &a.items {
        if known.contains(&run.canonical(item)?) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
