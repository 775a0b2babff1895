//! What steps cost, as upstream counts them.

use super::ast::{Expr, Kind};
use super::value::Value;

const TRAVERSAL: f64 = 0.1;
const PATTERN: f64 = 0.25;
pub(crate) const LIST: u64 = 10;
pub(crate) const MAP: u64 = 30;
pub(crate) const STRUCT: u64 = 40;

/// Whether membership in a list is looked up in a table that is made once; that costs nothing.
pub(crate) fn is_set(list: &Expr) -> bool {
    let Kind::Const(Value::List(list)) = &list.kind else {
        return false;
    };
    list.items.iter().all(|item| {
        matches!(
            item,
            Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Uint(_)
                | Value::Double(_)
                | Value::String(_)
        )
    })
}

/// Whether a node is a variable or selects from something: what is selected from it costs one
/// step, from anything else two.
fn attribute(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Ident(_) => true,
        Kind::Select { test, .. } => !test,
        Kind::Call(call) => matches!(&*call.function, "_[_]" | "_[?_]" | "_?._" | "_?_:_"),
        _ => false,
    }
}

/// What is not counted of an operand that is looked up together with what it is an operand of.
pub(crate) fn inner(expr: &Expr) -> u64 {
    let conditional = matches!(&expr.kind, Kind::Call(call) if &*call.function == "_?_:_");
    u64::from(attribute(expr) && !conditional)
}

/// A selection.
pub(crate) fn select(operand: &Expr) -> u64 {
    if attribute(operand) { 1 } else { 2 }
}

/// A selection from what may be nothing, counted where it finds something.
pub(crate) fn optional(operand: &Expr, found: bool) -> u64 {
    u64::from(!attribute(operand)) + u64::from(found)
}

/// A presence test; what it tests is not counted.
pub(crate) fn test(operand: &Expr) -> u64 {
    select(operand) - 1
}

fn traversal(size: u64, factor: f64) -> u64 {
    (size as f64 * factor * TRAVERSAL).ceil() as u64
}

fn matching(text: u64, pattern: u64) -> u64 {
    let text = ((1.0 + text as f64) * TRAVERSAL).ceil() as u64;
    text.saturating_mul((pattern as f64 * PATTERN).ceil() as u64)
}

/// All of a value's texts, and one for each of its other leaves.
fn all_of(value: &Value) -> u64 {
    match value {
        Value::String(text) => (text.len() as f64 * TRAVERSAL) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * TRAVERSAL) as u64,
        Value::List(list) => list.items.iter().map(all_of).sum(),
        Value::Map(map) => map
            .entries
            .iter()
            .map(|(key, value)| all_of(&key.value()) + all_of(value))
            .sum(),
        _ => 1,
    }
}

fn made_list(factor: f64, size: u64) -> u64 {
    (size as f64 * factor) as u64 + 1 + LIST
}

fn self_compare(list: &Value) -> u64 {
    let size = list.size();
    let texts = matches!(list, Value::List(list)
        if matches!(list.items.first(), Some(Value::String(_) | Value::Bytes(_))));
    let factor = if texts { 2.0 + TRAVERSAL } else { 2.0 };
    made_list(factor, size.saturating_mul(size))
}

/// A call, by its function and what it was given. Operators on what has no length cost one.
pub(crate) fn call(
    function: &str,
    overloads: &[&str],
    exprs: &[Expr],
    args: &[Value],
    result: Option<&Value>,
) -> u64 {
    let size = |at: usize| args.get(at).map_or(0, Value::size);
    let one = overloads.len() == 1;
    let made = result.map_or(1, Value::size);
    match function {
        "slice" | "lists.range" | "reverse" => made_list(1.0, made),
        "flatten" => {
            let depth = match args.get(1) {
                Some(Value::Int(depth)) => *depth as f64,
                _ => 1.0,
            };
            made_list(depth, size(0))
        }
        "distinct" | "sort" => args.first().map_or(1, self_compare),
        "@sortByAssociatedKeys" => args.get(1).map_or(1, self_compare),
        "sets.contains" | "sets.intersects" => 1 + size(0).saturating_mul(size(1)),
        "sets.equivalent" => 1 + size(0).saturating_mul(size(1)).saturating_mul(2),
        "check" => 350_000,
        "fieldSelector" | "labelSelector" => {
            let length = size(1);
            let count = (length as f64 * 0.5).ceil();
            LIST + traversal(length, 1.0) + (count * (LIST + STRUCT) as f64).ceil() as u64
        }
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            args.first().map_or(0, all_of)
        }
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "jsonpatch.escapeKey" => {
            traversal(size(0), 1.0)
        }
        "replace" | "split" => traversal(size(0), 2.0),
        "join" => traversal(made, 2.0),
        "find" | "findAll" => matching(size(0), size(1)),
        "ip" if matches!(args.first(), Some(Value::Cidr(_))) => 1,
        "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            traversal(size(0), 1.0)
        }
        "ip.isCanonical" => traversal(size(0), 2.0),
        "containsIP" => {
            let text = matches!(args.get(1), Some(Value::String(_)));
            traversal(size(0) * 2, 1.0) + if text { traversal(size(1), 1.0) } else { 0 }
        }
        "containsCIDR" => {
            let text = matches!(args.get(1), Some(Value::String(_)));
            traversal(size(0) * 2, 1.0)
                + traversal(size(0), 1.0)
                + 1
                + if text { traversal(size(1), 1.0) } else { 0 }
        }
        "validate" => match args.first() {
            Some(Value::Format(name)) => matching(size(1), super::format::pattern_size(name)),
            _ => 1,
        },
        "startsWith" | "endsWith" => traversal(size(0), 1.0),
        "strings.quote" => 1,
        "format" => traversal(size(0), 1.0),
        "bytes" | "string"
            if one && matches!(overloads[0], "string_to_bytes" | "bytes_to_string") =>
        {
            traversal(size(0), 1.0)
        }
        "@in" if matches!(args.get(1), Some(Value::List(_))) => size(1),
        "_==_" | "_!=_" => match args.first() {
            Some(
                Value::Quantity(_)
                | Value::Ip(_)
                | Value::Cidr(_)
                | Value::Format(_)
                | Value::Url(_)
                | Value::Semver(_)
                | Value::Authorizer(_)
                | Value::Decision(_),
            ) => 1,
            _ => traversal(size(0).min(size(1)), 1.0),
        },
        "_<_" | "_<=_" | "_>_" | "_>=_" => match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => traversal(size(0).min(size(1)), 1.0),
            _ => 1,
        },
        "_+_" => match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => traversal(size(0) + size(1), 1.0),
            _ => 1,
        },
        "matches" => matching(size(0), size(1)),
        "contains" => traversal(size(0), 1.0) * traversal(size(1), 1.0),
        "_[_]" | "_[?_]" | "_?._" => {
            let (Some(on), Some(Value::Optional(inner))) = (exprs.first(), result) else {
                return exprs.first().map_or(1, select);
            };
            optional(on, inner.is_some())
        }
        _ => 1,
    }
}
