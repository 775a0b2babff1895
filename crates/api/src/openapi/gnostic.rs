//! The v2 document in its protobuf form, `openapi.v2.Document`, which typed clients ask for.
//!
//! Numbers are those of the published `OpenAPIv2.proto`. Values of any type and extensions travel
//! as YAML text, for which their JSON text will do.

use crate::protobuf::write::{bytes, fixed, nested, number};
use serde_json::Value;

/// Media type of the document in this form.
pub const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

type Write = fn(&Value, &mut Vec<u8>);

/// A field: JSON name, number, shape.
type Field = (&'static str, u32, Shape);

#[derive(Clone, Copy)]
enum Shape {
    Text,
    Flag,
    Whole,
    Fraction,
    Texts,
    Any,
    Anys,
    One(Write),
    Many(Write),
    /// A message of entries, each a name and what stands for it; the number of entries.
    Named(u32, Write),
}
use Shape::{Any, Anys, Flag, Fraction, Many, Named, One, Text, Texts, Whole};

/// The document as bytes.
pub fn document(document: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 << 20);
    write(document, DOCUMENT, 16, &mut out);
    out
}

const DOCUMENT: &[Field] = &[
    ("swagger", 1, Text),
    ("info", 2, One(info)),
    ("host", 3, Text),
    ("basePath", 4, Text),
    ("schemes", 5, Texts),
    ("consumes", 6, Texts),
    ("produces", 7, Texts),
    ("paths", 8, Named(2, path)),
    ("definitions", 9, Named(1, schema)),
    ("security", 12, Many(requirement)),
    ("securityDefinitions", 13, Named(1, security)),
];

const INFO: &[Field] = &[
    ("title", 1, Text),
    ("version", 2, Text),
    ("description", 3, Text),
];

const PATH: &[Field] = &[
    ("$ref", 1, Text),
    ("get", 2, One(operation)),
    ("put", 3, One(operation)),
    ("post", 4, One(operation)),
    ("delete", 5, One(operation)),
    ("options", 6, One(operation)),
    ("head", 7, One(operation)),
    ("patch", 8, One(operation)),
    ("parameters", 9, Many(parameter)),
];

const OPERATION: &[Field] = &[
    ("tags", 1, Texts),
    ("summary", 2, Text),
    ("description", 3, Text),
    ("operationId", 5, Text),
    ("produces", 6, Texts),
    ("consumes", 7, Texts),
    ("parameters", 8, Many(parameter)),
    ("responses", 9, Named(1, response)),
    ("schemes", 10, Texts),
    ("deprecated", 11, Flag),
    ("security", 12, Many(requirement)),
];

const BODY: &[Field] = &[
    ("description", 1, Text),
    ("name", 2, Text),
    ("in", 3, Text),
    ("required", 4, Flag),
    ("schema", 5, One(schema)),
];

const QUERY: &[Field] = &[
    ("required", 1, Flag),
    ("in", 2, Text),
    ("description", 3, Text),
    ("name", 4, Text),
    ("allowEmptyValue", 5, Flag),
    ("type", 6, Text),
    ("format", 7, Text),
    ("collectionFormat", 9, Text),
    ("default", 10, Any),
    ("uniqueItems", 20, Flag),
    ("enum", 21, Anys),
];

/// Of paths and headers.
const PLACED: &[Field] = &[
    ("required", 1, Flag),
    ("in", 2, Text),
    ("description", 3, Text),
    ("name", 4, Text),
    ("type", 5, Text),
    ("format", 6, Text),
    ("collectionFormat", 8, Text),
    ("default", 9, Any),
    ("uniqueItems", 19, Flag),
    ("enum", 20, Anys),
];

const RESPONSE: &[Field] = &[("description", 1, Text), ("schema", 2, One(wrapped))];

const SCHEMA: &[Field] = &[
    ("$ref", 1, Text),
    ("format", 2, Text),
    ("title", 3, Text),
    ("description", 4, Text),
    ("default", 5, Any),
    ("multipleOf", 6, Fraction),
    ("maximum", 7, Fraction),
    ("exclusiveMaximum", 8, Flag),
    ("minimum", 9, Fraction),
    ("exclusiveMinimum", 10, Flag),
    ("maxLength", 11, Whole),
    ("minLength", 12, Whole),
    ("pattern", 13, Text),
    ("maxItems", 14, Whole),
    ("minItems", 15, Whole),
    ("uniqueItems", 16, Flag),
    ("maxProperties", 17, Whole),
    ("minProperties", 18, Whole),
    ("required", 19, Texts),
    ("enum", 20, Anys),
    ("additionalProperties", 21, One(additional)),
    ("type", 22, One(kinds)),
    ("items", 23, One(wrapped)),
    ("allOf", 24, Many(schema)),
    ("properties", 25, Named(1, schema)),
    ("discriminator", 26, Text),
    ("readOnly", 27, Flag),
    ("example", 30, Any),
];

fn info(value: &Value, out: &mut Vec<u8>) {
    write(value, INFO, 7, out);
}

fn path(value: &Value, out: &mut Vec<u8>) {
    write(value, PATH, 10, out);
}

fn operation(value: &Value, out: &mut Vec<u8>) {
    write(value, OPERATION, 13, out);
}

fn schema(value: &Value, out: &mut Vec<u8>) {
    write(value, SCHEMA, 31, out);
}

// A message whose first field is a schema.
fn wrapped(value: &Value, out: &mut Vec<u8>) {
    inside(out, 1, |out| schema(value, out));
}

fn additional(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(flag) => number(out, 2, i64::from(*flag)),
        value => wrapped(value, out),
    }
}

fn kinds(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| text(out, 1, item)),
        one => text(out, 1, one),
    }
}

fn response(value: &Value, out: &mut Vec<u8>) {
    inside(out, 1, |out| write(value, RESPONSE, 5, out));
}

fn parameter(value: &Value, out: &mut Vec<u8>) {
    if let Some(reference) = value.get("$ref") {
        return inside(out, 2, |out| text(out, 1, reference));
    }
    let (tag, fields, extensions) = match value["in"].as_str() {
        Some("body") => {
            return inside(out, 1, |out| {
                inside(out, 1, |out| write(value, BODY, 6, out))
            });
        }
        Some("query") => (3, QUERY, 23),
        Some("header") => (1, PLACED, 22),
        _ => (4, PLACED, 22),
    };
    inside(out, 1, |out| {
        inside(out, 2, |out| {
            inside(out, tag, |out| write(value, fields, extensions, out));
        });
    });
}

fn requirement(value: &Value, out: &mut Vec<u8>) {
    entries(out, 1, value, |value, out| {
        let scopes = value.as_array().into_iter().flatten();
        scopes.for_each(|scope| text(out, 1, scope));
    });
}

// Only keys in headers are used here.
fn security(value: &Value, out: &mut Vec<u8>) {
    const KEY: &[Field] = &[
        ("type", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("description", 4, Text),
    ];
    inside(out, 2, |out| write(value, KEY, 5, out));
}

fn write(value: &Value, fields: &[Field], extensions: u32, out: &mut Vec<u8>) {
    for (name, tag, shape) in fields {
        if let Some(value) = value.get(name) {
            one(out, *tag, *shape, value);
        }
    }
    let own = value.as_object().into_iter().flatten();
    for (name, value) in own.filter(|(name, _)| name.starts_with("x-")) {
        inside(out, extensions, |out| {
            bytes(out, 1, name.as_bytes());
            any(out, 2, value);
        });
    }
}

fn one(out: &mut Vec<u8>, tag: u32, shape: Shape, value: &Value) {
    let list = || value.as_array().into_iter().flatten();
    match shape {
        Text => text(out, tag, value),
        Flag if *value == Value::Bool(true) => number(out, tag, 1),
        Flag => {}
        Whole => number(out, tag, value.as_i64().unwrap_or_default()),
        Fraction => fixed(out, tag, value.as_f64().unwrap_or_default()),
        Texts => list().for_each(|item| text(out, tag, item)),
        Any => any(out, tag, value),
        Anys => list().for_each(|item| any(out, tag, item)),
        One(of) => inside(out, tag, |out| of(value, out)),
        Many(of) => list().for_each(|item| inside(out, tag, |out| of(item, out))),
        Named(entry, of) => inside(out, tag, |out| entries(out, entry, value, of)),
    }
}

fn entries(out: &mut Vec<u8>, tag: u32, value: &Value, of: Write) {
    for (name, value) in value.as_object().into_iter().flatten() {
        inside(out, tag, |out| {
            bytes(out, 1, name.as_bytes());
            inside(out, 2, |out| of(value, out));
        });
    }
}

fn text(out: &mut Vec<u8>, tag: u32, value: &Value) {
    bytes(out, tag, value.as_str().unwrap_or_default().as_bytes());
}

fn any(out: &mut Vec<u8>, tag: u32, value: &Value) {
    inside(out, tag, |out| bytes(out, 2, value.to_string().as_bytes()));
}

fn inside(out: &mut Vec<u8>, tag: u32, inner: impl FnOnce(&mut Vec<u8>)) {
    let done: Result<(), std::convert::Infallible> = nested(out, tag, |out| {
        inner(out);
        Ok(())
    });
    match done {
        Ok(()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_small_document() {
        let small = json!({"swagger": "2.0", "definitions": {"a": {"type": "object", "x-b": [1],
            "additionalProperties": {"type": "string"}, "required": ["c"]}}});
        let wanted = [
            b"\x0a\x032.0".as_slice(),
            b"\x4a\x35\x0a\x33\x0a\x01a\x12\x2e",
            b"\x9a\x01\x01c",
            b"\xaa\x01\x0d\x0a\x0b\xb2\x01\x08\x0a\x06string",
            b"\xb2\x01\x08\x0a\x06object",
            b"\xfa\x01\x0c\x0a\x03x-b\x12\x05\x12\x03[1]",
        ]
        .concat();
        assert_eq!(document(&small), wanted);
    }
}
