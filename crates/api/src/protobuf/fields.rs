//! The walk along a message's fields while its JSON text is read.

use super::table::{Kind, Message, Place, Table};
use super::write::{bytes, fixed, key, nested, number, varint, varint_bytes};
use super::{BYTES, DEPTH, Error};
use base64::Engine;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::fmt;

/// The fields of one message, from a JSON object.
pub(super) struct Fields<'o> {
    pub(super) table: &'static Table,
    pub(super) message: &'static Message,
    pub(super) out: &'o mut Vec<u8>,
    pub(super) depth: usize,
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
