//! `eq`, `ne`, `lt` and their kin.

use std::cmp::Ordering;

use super::print;
use super::value::Value;

const BAD: &str = "invalid type for comparison";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Int,
    Float,
    Text,
}

fn basic(value: &Value) -> Option<Basic> {
    match value {
        Value::Bool(_) => Some(Basic::Bool),
        Value::Int(_) | Value::Duration(_) => Some(Basic::Int),
        Value::Float(_) => Some(Basic::Float),
        Value::String(_) => Some(Basic::Text),
        _ => None,
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a) | Value::Duration(a), Value::Int(b) | Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn incompatible(left: &Value, right: &Value) -> String {
    format!(
        "incompatible types for comparison: {} and {}",
        left.type_name(),
        right.type_name()
    )
}

fn same_kind(left: &Value, right: &Value) -> bool {
    std::mem::discriminant(left) == std::mem::discriminant(right)
}

/// A value as `%s` writes it, which is how Go's errors show the first of two.
fn told(value: &Value) -> String {
    print::printf("%s", std::slice::from_ref(value), 1 << 16).unwrap_or_default()
}

/// Whether the first is equal to one of the others.
pub(super) fn eq(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    let kinds = (basic(left), basic(right));
    let nothing = (left.is_nothing(), right.is_nothing());
    if kinds.0 != kinds.1 {
        return match nothing {
            (false, false) => Err(incompatible(left, right)),
            _ => Ok(false),
        };
    }
    if kinds.0.is_some() {
        return Ok(order(left, right) == Some(Ordering::Equal));
    }
    if nothing.0 || nothing.1 {
        return Ok(nothing.0 == nothing.1);
    }
    if !same_kind(left, right) {
        return Err(format!(
            "non-comparable types {}: {}, {}: {}",
            told(left),
            left.type_name(),
            right.type_name(),
            print::printed(right),
        ));
    }
    match (left, right) {
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (Value::Object(a), Value::Object(b)) => Ok(std::sync::Arc::ptr_eq(a, b)),
        _ => Err(format!(
            "non-comparable type {}: {}",
            told(right),
            right.type_name(),
        )),
    }
}

pub(super) fn lt(left: &Value, right: &Value) -> Result<bool, String> {
    let (Some(a), Some(b)) = (basic(left), basic(right)) else {
        return Err(BAD.to_owned());
    };
    if a != b {
        return Err(incompatible(left, right));
    }
    if a == Basic::Bool {
        return Err(BAD.to_owned());
    }
    Ok(order(left, right) == Some(Ordering::Less))
}

pub(super) fn le(left: &Value, right: &Value) -> Result<bool, String> {
    Ok(lt(left, right)? || equal(left, right)?)
}
