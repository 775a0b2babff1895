//! What can be known before anything runs is computed once: lists and maps of constants,
//! conversions of constants. Costs are counted on what is left, as upstream does.

use super::ast::{Expr, Kind};
use super::eval;
use super::text::pattern;
use super::value::{Map, Value};
use indexmap::IndexMap;
use std::sync::Arc;

const CONVERSIONS: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "string",
    "timestamp",
    "type",
    "uint",
];

fn constant(expr: &Expr) -> Option<Value> {
    match &expr.kind {
        Kind::Const(value) => Some(value.clone()),
        _ => None,
    }
}

/// Replaces what is known; a constant that cannot be converted is an error.
pub(crate) fn run(expr: &mut Expr) -> Result<(), String> {
    match &mut expr.kind {
        Kind::Const(_) | Kind::Ident(_) => {}
        Kind::Select { operand, .. } => run(operand)?,
        Kind::Call(call) => {
            for part in call.target.iter_mut().chain(&mut call.args) {
                run(part)?;
            }
        }
        Kind::List(items) => items.iter_mut().try_for_each(|item| run(&mut item.value))?,
        Kind::Map(entries) => {
            for entry in entries {
                run(&mut entry.key)?;
                run(&mut entry.value)?;
            }
        }
        Kind::Struct(_, fields) => fields.iter_mut().try_for_each(|f| run(&mut f.value))?,
        Kind::Fold(fold) => {
            for part in [
                &mut fold.range,
                &mut fold.init,
                &mut fold.condition,
                &mut fold.step,
                &mut fold.result,
            ] {
                run(part)?;
            }
        }
    }
    if let Some(value) = known(expr)? {
        expr.kind = Kind::Const(value);
    }
    Ok(())
}

fn known(expr: &Expr) -> Result<Option<Value>, String> {
    Ok(match &expr.kind {
        Kind::List(items) if items.iter().all(|item| !item.optional) => items
            .iter()
            .map(|item| constant(&item.value))
            .collect::<Option<Vec<_>>>()
            .map(Value::list),
        Kind::Map(entries) if entries.iter().all(|entry| !entry.optional) => {
            let found: Option<IndexMap<_, _>> = entries
                .iter()
                .map(|entry| Some((constant(&entry.key)?.key()?, constant(&entry.value)?)))
                .collect();
            found.map(|entries| {
                Value::Map(Arc::new(Map {
                    entries,
                    object: None,
                }))
            })
        }
        Kind::Call(call) => {
            let function = &*call.function;
            if matches!(function, "matches" | "find" | "findAll") {
                let place = if call.target.is_some() { 0 } else { 1 };
                if let Some(Value::String(text)) = call.args.get(place).and_then(constant) {
                    pattern(&text).map_err(|why| format!("error parsing regexp: {why}"))?;
                }
                return Ok(None);
            }
            let ([arg], None, true) = (
                &call.args[..],
                &call.target,
                CONVERSIONS.contains(&function),
            ) else {
                return Ok(None);
            };
            match constant(arg) {
                None => None,
                Some(value) => {
                    Some(eval::known(function, &[value]).map_err(|error| error.to_string())?)
                }
            }
        }
        _ => None,
    })
}
