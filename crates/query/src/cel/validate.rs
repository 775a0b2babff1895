//! What a checked expression still must not say: mixed lists and maps, texts that are no times or
//! patterns, formats that do not fit their arguments.

use super::Issue;
use super::ast::{Call, Expr, Id, Item, Kind};
use super::check::Checked;
use super::strings::check_format;
use super::time;
use super::types::Type;
use super::value::Value;
use crate::go_duration;
use std::collections::HashSet;

/// Adds what is wrong.
pub(crate) fn run(expr: &Expr, checked: &Checked, issues: &mut Vec<Issue>) {
    let mut exempt: HashSet<Id> = HashSet::new();
    expr.each(&mut |node| {
        if let Kind::Call(call) = &node.kind
            && &*call.function == "format"
        {
            for arg in &call.args {
                arg.each(&mut |inner| {
                    exempt.insert(inner.id);
                });
            }
        }
    });
    let of = |expr: &Expr| checked.types[expr.id as usize].clone();
    expr.each(&mut |node| match &node.kind {
        Kind::Call(call) => {
            literals(node, call, issues);
            formats(node, call, &of, issues);
        }
        Kind::List(items) if !exempt.contains(&node.id) => {
            let elements = items.iter().map(|item| {
                let kind = match (of(&item.value), item.optional) {
                    (Type::Optional(inner), true) => (*inner).clone(),
                    (other, _) => other,
                };
                (item.value.at, kind)
            });
            alike(elements, issues);
        }
        Kind::Map(entries) if !exempt.contains(&node.id) => {
            let keys = entries.iter().map(|entry| (entry.key.at, of(&entry.key)));
            if alike(keys, issues) {
                let values = entries.iter().map(|entry| {
                    let kind = match (of(&entry.value), entry.optional) {
                        (Type::Optional(inner), true) => (*inner).clone(),
                        (other, _) => other,
                    };
                    (entry.value.at, kind)
                });
                alike(values, issues);
            }
        }
        _ => {}
    });
}

fn alike(types: impl Iterator<Item = (u32, Type)>, issues: &mut Vec<Issue>) -> bool {
    let mut first: Option<Type> = None;
    for (at, kind) in types {
        match &first {
            None => first = Some(kind),
            Some(known) if *known == kind => {}
            Some(known) => {
                let (known, kind) = (known.told(), kind.told());
                let message = format!("expected type '{known}' but found '{kind}'");
                issues.push(Issue::new(at, message));
                return false;
            }
        }
    }
    true
}

/// Arguments that can be known to be wrong before they are used.
fn literals(node: &Expr, call: &Call, issues: &mut Vec<Issue>) {
    let Some(arg) = call.args.last() else {
        return;
    };
    let Kind::Const(value) = &arg.kind else {
        return;
    };
    let wrong = match (&*call.function, call.args.len(), value) {
        ("duration", 1, Value::String(text)) => go_duration::parse(text).is_none(),
        ("duration", 1, _) => true,
        ("timestamp", 1, Value::String(text)) => time::timestamp(text).is_none(),
        ("timestamp", 1, Value::Int(seconds)) => !time::in_range(*seconds),
        ("matches", _, Value::String(text)) => super::text::pattern(text).is_err(),
        _ => false,
    };
    if wrong {
        let _ = node;
        let message = format!("invalid {} argument", call.function);
        issues.push(Issue::new(arg.at, message));
    }
}

fn formats(node: &Expr, call: &Call, of: &dyn Fn(&Expr) -> Type, issues: &mut Vec<Issue>) {
    let (Some(target), [arg], "format") = (&call.target, &call.args[..], &*call.function) else {
        return;
    };
    let (Kind::Const(Value::String(text)), Kind::List(items)) = (&target.kind, &arg.kind) else {
        return;
    };
    let item = |item: &Item| of(&item.value);
    let types: Vec<Type> = items.iter().map(item).collect();
    if let Err((place, why)) = check_format(text, &types) {
        let at = place
            .and_then(|place| items.get(place))
            .map_or(node.at, |item| item.value.at);
        issues.push(Issue::new(at, why));
    }
}
