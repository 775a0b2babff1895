//! Objects to bytes, from their JSON text: the text is read once and never becomes a tree.
//!
//! A message inside another needs its length before it, so one byte is left free for it; a longer
//! length moves what was written, which costs less than measuring first.

use super::table::{Kind, Message, Place, Table};
use super::write::{bytes, fixed, key, nested, number, varint, varint_bytes};
use super::{BYTES, DEPTH, Error, MAGIC, table};
use base64::Engine;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::fmt;

/// Whether objects of a kind have a protobuf form.
pub fn knows(api_version: &str, kind: &str) -> bool {
    let (group, version) = crate::facts::split_api_version(api_version);
    table().object(group, version, kind).is_some()
}

/// An object that says its version and kind, whole with its envelope.
pub fn encode(json: &[u8]) -> Result<Vec<u8>, Error> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(rename = "apiVersion", borrow, default)]
        api_version: std::borrow::Cow<'a, str>,
        #[serde(borrow, default)]
        kind: std::borrow::Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_slice(json).map_err(|e| Error::Json(e.to_string()))?;
    encode_as(&head.api_version, &head.kind, json)
}

/// An object of a known version and kind, whole with its envelope.
pub fn encode_as(api_version: &str, kind: &str, json: &[u8]) -> Result<Vec<u8>, Error> {
    let message = object(api_version, kind)?;
    let mut raw = Vec::with_capacity(json.len());
    write(message, json, &mut raw)?;
    let mut out = envelope(api_version, kind, raw.len());
    out.reserve(raw.len() + 4);
    out.extend_from_slice(&raw);
    out.extend_from_slice(ENVELOPE_END);
    Ok(out)
}

/// What follows the message in the envelope: no encoding, no media type.
pub const ENVELOPE_END: &[u8] = &[0x1a, 0, 0x22, 0];

/// What stands before a message of so many bytes; [`ENVELOPE_END`] stands after it.
pub fn envelope(api_version: &str, kind: &str, raw_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + api_version.len() + kind.len() + 16);
    out.extend_from_slice(MAGIC);
    nested(&mut out, 1, |out| {
        bytes(out, 1, api_version.as_bytes());
        bytes(out, 2, kind.as_bytes());
        Ok::<_, Error>(())
    })
    // Only what is written inside can fail, and that cannot.
    .unwrap_or_default();
    key(&mut out, 2, BYTES);
    varint(&mut out, raw_bytes as u64);
    out
}

/// The list's own metadata, as the message of a list begins.
pub fn list_head(metadata: &[u8]) -> Result<Vec<u8>, Error> {
    let meta = table()
        .named("meta/v1.ListMeta")
        .ok_or_else(|| Error::Kind("ListMeta".into()))?;
    let mut out = Vec::new();
    nested(&mut out, 1, |out| write(meta, metadata, out))?;
    Ok(out)
}

/// Writes many objects of one kind.
#[derive(Clone, Copy)]
pub struct Writer(&'static Message);

impl Writer {
    /// For objects of a kind.
    pub fn of(api_version: &str, kind: &str) -> Result<Self, Error> {
        object(api_version, kind).map(Self)
    }

    /// Adds an object to the message of its list.
    pub fn item(self, json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        nested(out, 2, |out| write(self.0, json, out))
    }
}

/// A frame of a watch: length, then the event with an object as [`encode`] wrote it.
pub fn watch_event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + kind.len() + 24);
    out.extend_from_slice(&[0; 4]);
    bytes(&mut out, 1, kind.as_bytes());
    let inner = 1 + varint_bytes(object.len() as u64) + object.len();
    key(&mut out, 2, BYTES);
    varint(&mut out, inner as u64);
    bytes(&mut out, 1, object);
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn object(api_version: &str, kind: &str) -> Result<&'static Message, Error> {
    let (group, version) = crate::facts::split_api_version(api_version);
    table()
        .object(group, version, kind)
        .ok_or_else(|| Error::Kind(format!("{group}/{version}.{kind}")))
}

fn write(message: &'static Message, json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let seed = Fields {
        table: table(),
        message,
        out,
        depth: 0,
    };
    let wrong = |e: serde_json::Error| Error::Json(format!("{}: {e}", message.name));
    seed.deserialize(&mut reader).map_err(wrong)?;
    reader.end().map_err(wrong)
}

/// The fields of one message, from a JSON object.
struct Fields<'o> {
    table: &'static Table,
    message: &'static Message,
    out: &'o mut Vec<u8>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object for {}", self.message.name)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.depth > DEPTH {
            return Err(A::Error::custom(Error::Depth));
        }
        // Fields of inlined messages come in any order: each way is gathered, then written.
        let mut aside: Vec<(&'static [u32], Vec<u8>)> = Vec::new();
        while let Some(place) = map.next_key_seed(Name(self.message))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = self.table.field(place);
            let out = if place.via.is_empty() {
                &mut *self.out
            } else {
                let known = aside.iter().position(|(via, _)| *via == place.via);
                let index = known.unwrap_or_else(|| {
                    aside.push((&place.via, Vec::new()));
                    aside.len() - 1
                });
                &mut aside[index].1
            };
            if matches!(field.kind, Kind::Json) {
                json(out, field.tag, map.next_value::<&RawValue>()?);
                continue;
            }
            map.next_value_seed(One {
                table: self.table,
                kind: &field.kind,
                tag: field.tag,
                within: false,
                out,
                depth: self.depth,
            })?;
        }
        for (via, inner) in aside {
            wrap(self.out, via, &inner);
        }
        Ok(())
    }
}

fn wrap(out: &mut Vec<u8>, via: &[u32], inner: &[u8]) {
    match via {
        [] => out.extend_from_slice(inner),
        [tag, rest @ ..] => nested(out, *tag, |out| {
            wrap(out, rest, inner);
            Ok::<_, Error>(())
        })
        // Nothing inside can fail.
        .unwrap_or_default(),
    }
}

fn json(out: &mut Vec<u8>, tag: u32, raw: &RawValue) {
    let text = raw.get();
    if text == "null" {
        return;
    }
    let length = text.len();
    key(out, tag, BYTES);
    varint(out, (1 + varint_bytes(length as u64) + length) as u64);
    bytes(out, 1, text.as_bytes());
}

/// The place of a JSON name, without keeping the name.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Place>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Place>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.place(name))
    }
}

/// One value with its number before it; a list writes one for each of its items.
struct One<'o> {
    table: &'static Table,
    kind: &'static Kind,
    tag: u32,
    /// Of a list or map, where nothing is something too.
    within: bool,
    out: &'o mut Vec<u8>,
    depth: usize,
}

impl One<'_> {
    fn mismatch<E: serde::de::Error>(&self, what: &str) -> E {
        E::custom(format!("{what} in field {}", self.tag))
    }

    fn schema(&self) -> Option<&'static Message> {
        self.table.schema()
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if matches!(self.kind, Kind::Json) {
            let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
            match raw.get() {
                "null" => bytes(self.out, self.tag, b""),
                _ => json(self.out, self.tag, raw),
            }
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for field {}", self.tag)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        if self.within {
            bytes(self.out, self.tag, b"");
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let (out, tag) = (self.out, self.tag);
        match self.kind {
            Kind::String => bytes(out, tag, text.as_bytes()),
            Kind::Bytes => {
                let plain = base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map_err(|_| E::custom("text that is not base64"))?;
                bytes(out, tag, &plain);
            }
            Kind::Quantity => {
                let length = 1 + varint_bytes(text.len() as u64) + text.len();
                key(out, tag, BYTES);
                varint(out, length as u64);
                bytes(out, 1, text.as_bytes());
            }
            Kind::IntOrString => nested(out, tag, |out| {
                number(out, 1, 1);
                number(out, 2, 0);
                bytes(out, 3, text.as_bytes());
                Ok(())
            })?,
            Kind::Time | Kind::MicroTime => {
                let seconds = crate::time::parse_rfc3339(text)
                    .ok_or_else(|| E::custom("text that is no time"))?;
                let nanos = match self.kind {
                    Kind::MicroTime => crate::time::fraction_nanos(text) / 1000 * 1000,
                    _ => 0,
                };
                nested(out, tag, |out| {
                    number(out, 1, seconds);
                    number(out, 2, nanos);
                    Ok(())
                })?;
            }
            Kind::Duration => {
                let nanos = crate::time::parse_go_duration(text)
                    .ok_or_else(|| E::custom("text that is no duration"))?;
                nested(out, tag, |out| {
                    number(out, 1, nanos);
                    Ok(())
                })?;
            }
            _ => return Err(E::custom(format!("text in field {tag}"))),
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Bool => number(self.out, self.tag, i64::from(value)),
            Kind::SchemaOrBool => nested(self.out, self.tag, |out| {
                number(out, 1, i64::from(value));
                Ok(())
            })?,
            _ => return Err(self.mismatch("a boolean")),
        }
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        match self.kind {
            Kind::Int => number(self.out, self.tag, value),
            Kind::Double => return self.visit_f64(value as f64),
            Kind::Quantity => return self.visit_str(&value.to_string()),
            Kind::IntOrString => nested(self.out, self.tag, |out| {
                number(out, 1, 0);
                number(out, 2, value);
                bytes(out, 3, b"");
                Ok(())
            })?,
            _ => return Err(self.mismatch("a number")),
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.visit_i64(value as i64)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Kind::Double => {
                fixed(self.out, self.tag, value);
                Ok(())
            }
            Kind::Quantity => self.visit_str(&value.to_string()),
            Kind::Int | Kind::IntOrString if value.fract() == 0.0 => self.visit_i64(value as i64),
            _ => Err(self.mismatch("a fraction")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth > DEPTH {
            return Err(A::Error::custom(Error::Depth));
        }
        let (table, depth) = (self.table, self.depth + 1);
        let mut all = |kind: &'static Kind, tag: u32, out: &mut Vec<u8>| {
            while list
                .next_element_seed(One {
                    table,
                    kind,
                    tag,
                    within: true,
                    out: &mut *out,
                    depth,
                })?
                .is_some()
            {}
            Ok(())
        };
        match self.kind {
            Kind::List(item) => all(item, self.tag, self.out),
            Kind::Items(item) => nested(self.out, self.tag, |out| all(item, 1, out)),
            Kind::SchemaOrStrings => nested(self.out, self.tag, |out| all(&Kind::String, 2, out)),
            Kind::SchemaOrList => {
                let message = self.schema().ok_or_else(|| A::Error::custom("no schema"))?;
                nested(self.out, self.tag, |out| {
                    loop {
                        let before = out.len();
                        let mut some = false;
                        nested(out, 2, |out| {
                            some = list
                                .next_element_seed(Fields {
                                    table,
                                    message,
                                    out,
                                    depth,
                                })?
                                .is_some();
                            Ok(())
                        })?;
                        if !some {
                            out.truncate(before);
                            return Ok(());
                        }
                    }
                })
            }
            _ => Err(A::Error::custom(format!("a list in field {}", self.tag))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.depth > DEPTH {
            return Err(A::Error::custom(Error::Depth));
        }
        let (table, depth) = (self.table, self.depth + 1);
        let fields = |message, out: &mut Vec<u8>, map| {
            let fields = Fields {
                table,
                message,
                out,
                depth,
            };
            fields.visit_map(map)
        };
        match self.kind {
            Kind::Message(inner) => {
                let message = table.message(*inner);
                nested(self.out, self.tag, |out| fields(message, out, map))
            }
            Kind::SchemaOrBool | Kind::SchemaOrList | Kind::SchemaOrStrings => {
                let message = self.schema().ok_or_else(|| A::Error::custom("no schema"))?;
                let boolean = matches!(self.kind, Kind::SchemaOrBool);
                nested(self.out, self.tag, |out| {
                    if boolean {
                        number(out, 1, 1);
                    }
                    let tag = if boolean { 2 } else { 1 };
                    nested(out, tag, |out| fields(message, out, map))
                })
            }
            Kind::Map(item) => loop {
                let before = self.out.len();
                let mut some = false;
                nested(self.out, self.tag, |out| {
                    some = map.next_key_seed(Key(out))?.is_some();
                    if some {
                        map.next_value_seed(One {
                            table,
                            kind: item,
                            tag: 2,
                            within: true,
                            out,
                            depth,
                        })?;
                    }
                    Ok::<_, A::Error>(())
                })?;
                if !some {
                    self.out.truncate(before);
                    return Ok(());
                }
            },
            _ => Err(A::Error::custom(format!("an object in field {}", self.tag))),
        }
    }
}

/// The key of a map's entry, written as it is read.
struct Key<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        bytes(self.0, 1, name.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::decode;
    use serde_json::{Value, json};

    fn there_and_back(object: &Value) -> Value {
        let text = object.to_string();
        decode(&encode(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let long = "x".repeat(20_000);
        for object in [
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"b": "", "c": long}, "creationTimestamp": "2026-11-21T20:00:00Z"},
                "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 3},
                    "resources": {"limits": {"cpu": "1"}}}], "volumes": [{"emptyDir": {}, "name": "v"}], "terminationGracePeriodSeconds": 0}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
                "spec": {"replicas": 0, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}}}),
            json!({"apiVersion": "v1", "kind": "Secret", "data": {"k": "AAH/"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ä\"\n": "\u{1f600}\\"}, "binaryData": {"b": ""}}),
            json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404, "details": {"name": "x", "causes": [{"field": "f"}]}}),
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
                "type": "object", "additionalProperties": true, "properties": {"a": {"additionalProperties": {"type": "string"}, "default": {"x": [1]},
                    "items": {"type": "integer"}, "enum": ["a", null], "minimum": 1.5, "x-kubernetes-int-or-string": true}}}}}]}}),
        ] {
            assert_eq!(there_and_back(&object), object);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            r#"{"apiVersion":"v1","kind":"Pod","metadata":[]}"#,
            r#"{"apiVersion":"v1","kind":"Pod","spec":{"hostNetwork":"x"}}"#,
            r#"{"apiVersion":"v1","kind":"Secret","data":{"a":"?"}}"#,
            r#"{"apiVersion":"a.b/v1","kind":"Pet"}"#,
            "{",
            "[]",
        ] {
            assert!(encode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_and_events() {
        let mut raw = list_head(br#"{"resourceVersion":"7","continue":"t"}"#).unwrap();
        for name in ["a", "b"] {
            let item = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            let writer = Writer::of("v1", "ConfigMap").unwrap();
            writer.item(item.to_string().as_bytes(), &mut raw).unwrap();
        }
        let whole = [
            envelope("v1", "ConfigMapList", raw.len()),
            raw,
            ENVELOPE_END.to_vec(),
        ]
        .concat();
        let wanted = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7", "continue": "t"},
            "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]});
        assert_eq!(decode(&whole).unwrap(), wanted);
        assert_eq!(there_and_back(&wanted), wanted);
        let event = watch_event("ADDED", &whole);
        let read = crate::protobuf::decode_watch_event(&event[4..]).unwrap();
        assert_eq!(read, json!({"type": "ADDED", "object": wanted}));
        let frame = watch_event("ADDED", b"k8s\0");
        assert_eq!(frame, b"\0\0\0\x0f\x0a\x05ADDED\x12\x06\x0a\x04k8s\0");
    }
}
