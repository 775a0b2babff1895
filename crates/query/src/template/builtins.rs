//! The functions every template has.

use super::value::{List, Map, Of, Value};
use super::{compare, escape, print};
use std::sync::Arc;

use super::functions::Kind;

/// Names of the built-in functions.
pub(super) const NAMES: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// What a built-in function takes.
pub(super) fn signature(name: &str) -> Option<(&'static [Kind], Option<Kind>)> {
    use Kind::{Any, Raw, Text};
    Some(match name {
        "and" | "or" | "call" | "eq" | "index" | "slice" => (&[Raw], Some(Raw)),
        "ge" | "gt" | "le" | "lt" | "ne" => (&[Raw, Raw], None),
        "len" | "not" => (&[Raw], None),
        "html" | "js" | "print" | "println" | "urlquery" => (&[], Some(Any)),
        "printf" => (&[Text], Some(Any)),
        _ => return None,
    })
}

/// What a built-in function gives; `limit` bounds texts. The lists and conditions of `and` and
/// `or` are not for here.
pub(super) fn call(name: &str, values: &[Value], limit: usize) -> Result<Value, String> {
    let truth = |truth: bool| Ok(Value::Bool(truth));
    let text = |text: String| Ok(Value::text(text));
    match (name, values) {
        ("eq", [first, others @ ..]) => truth(compare::eq(first, others)?),
        ("ne", [left, right]) => truth(!compare::eq(left, std::slice::from_ref(right))?),
        ("lt", [left, right]) => truth(compare::lt(left, right)?),
        ("le", [left, right]) => truth(compare::le(left, right)?),
        ("gt", [left, right]) => truth(!compare::le(left, right)?),
        ("ge", [left, right]) => truth(!compare::lt(left, right)?),
        ("not", [value]) => truth(!value.truth()),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, ends @ ..]) => slice(value, ends),
        ("print", values) => text(print::print(values)),
        ("println", values) => text(print::println(values)),
        ("printf", [Value::String(format), values @ ..]) => {
            match print::printf(format, values, limit) {
                Some(made) => text(made),
                None => Err(format!("the text is longer than {limit} bytes")),
            }
        }
        ("html", values) => text(escape::html(&joined(values))),
        ("js", values) => text(escape::js(&joined(values))),
        ("urlquery", values) => text(escape::url_query(&joined(values))),
        ("call", [Value::Missing | Value::Nil, ..]) => Err("call of nil".to_owned()),
        (name, _) => Err(format!("{name} cannot take these")),
    }
}

fn joined(values: &[Value]) -> String {
    let shown: Vec<Value> = values
        .iter()
        .map(|value| match value.is_nothing() {
            true => Value::text("<no value>"),
            false => value.clone(),
        })
        .collect();
    print::print(&shown)
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match &value.plain() {
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        Value::String(text) => text.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        Value::Missing => {
            return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
        }
        value => return Err(format!("len of type {}", value.type_name())),
    };
    Ok(Value::Int(length as i64))
}

/// A place in something of a length.
fn position(value: &Value, length: usize) -> Result<usize, String> {
    match value {
        Value::Int(at) | Value::Duration(at) => match usize::try_from(*at) {
            Ok(place) if place <= length => Ok(place),
            _ => Err(format!("index out of range: {at}")),
        },
        Value::Missing | Value::Nil => Err("cannot index slice/array with nil".to_owned()),
        value => Err(format!(
            "cannot index slice/array with type {}",
            value.type_name()
        )),
    }
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    if value.is_nothing() {
        return Err("index of untyped nil".to_owned());
    }
    let mut item = value.clone();
    for key in keys {
        item = match item.plain() {
            Value::Missing | Value::Nil => return Err("index of nil pointer".to_owned()),
            Value::List(list) => {
                let at = position(key, list.items.len())?;
                let found = list.items.get(at).cloned();
                found.ok_or("reflect: slice index out of range")?
            }
            Value::String(text) => {
                let at = position(key, text.len())?;
                let byte = text.as_bytes().get(at);
                Value::Int(i64::from(
                    *byte.ok_or("reflect: string index out of range")?,
                ))
            }
            Value::Map(map) => entry(&map, key)?,
            item => return Err(format!("can't index item of type {}", item.type_name())),
        };
    }
    Ok(item)
}

fn entry(map: &Arc<Map>, key: &Value) -> Result<Value, String> {
    match key {
        Value::String(key) => Ok(match map.entries.get(&**key) {
            Some(value) => value.clone(),
            None if map.of == Of::Text => Value::text(""),
            None => Value::Nil,
        }),
        Value::Missing | Value::Nil => Err("value is nil; should be of type string".to_owned()),
        key => Err(format!(
            "value has type {}; should be string",
            key.type_name()
        )),
    }
}

fn slice(value: &Value, ends: &[Value]) -> Result<Value, String> {
    if value.is_nothing() {
        return Err("slice of untyped nil".to_owned());
    }
    if ends.len() > 3 {
        return Err(format!("too many slice indexes: {}", ends.len()));
    }
    let value = value.plain();
    let length = match &value {
        Value::String(_) if ends.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        value => return Err(format!("can't slice item of type {}", value.type_name())),
    };
    let mut places = [0, length, length];
    for (at, end) in ends.iter().enumerate() {
        places[at] = position(end, length)?;
    }
    for pair in places.windows(2) {
        if pair[0] > pair[1] {
            return Err(format!("invalid slice index: {} > {}", pair[0], pair[1]));
        }
    }
    let range = places[0]..places[1];
    Ok(match &value {
        // A cut within a character leaves what is no text any more.
        Value::String(text) => {
            Value::text(String::from_utf8_lossy(&text.as_bytes()[range]).as_ref())
        }
        Value::List(list) => Value::List(Arc::new(List {
            of: list.of,
            items: list.items[range].to_vec(),
        })),
        _ => Value::Nil,
    })
}
