//! Bytes to objects.

use super::table::{Kind, Message, Table};
use super::{DEPTH, Error, MAGIC, table};
use base64::Engine;
use serde_json::{Map, Number, Value};

/// One field as it is on the wire.
enum Wire<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// Fields of a message, in the order they come.
struct Reader<'a> {
    rest: &'a [u8],
    place: &'static str,
}

impl<'a> Reader<'a> {
    fn new(rest: &'a [u8], place: &'static str) -> Self {
        Self { rest, place }
    }

    fn bad(&self) -> Error {
        Error::Malformed(self.place.to_string())
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or_else(|| self.bad())?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad())
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Error> {
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.rest.len())
            .ok_or_else(|| self.bad())?;
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).map_err(|_| self.bad())?;
        if tag == 0 {
            return Err(self.bad());
        }
        let little = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed(little(self.take(8)?)),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed(little(self.take(4)?)),
            _ => return Err(self.bad()),
        };
        Ok(Some((tag, wire)))
    }
}

// What is no UTF-8 becomes U+FFFD: clients send messages that were cut within a character, and
// upstream takes them.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads a body: the envelope, then the object it names.
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    decode_as(body, "", "")
}

/// The same, where an envelope that names no version and kind may be of these.
pub fn decode_as(body: &[u8], version_else: &str, kind_else: &str) -> Result<Value, Error> {
    let body = body.strip_prefix(MAGIC).ok_or(Error::Envelope)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut envelope = Reader::new(body, "envelope");
    while let Some((tag, wire)) = envelope.next()? {
        match (tag, wire) {
            (1, Wire::Bytes(meta)) => {
                let mut meta = Reader::new(meta, "envelope");
                while let Some((tag, wire)) = meta.next()? {
                    match (tag, wire) {
                        (1, Wire::Bytes(bytes)) => api_version = text(bytes),
                        (2, Wire::Bytes(bytes)) => kind = text(bytes),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    if api_version.is_empty() && kind.is_empty() {
        (api_version, kind) = (version_else.into(), kind_else.into());
    }
    let (group, version) = crate::facts::split_api_version(&api_version);
    let message = table()
        .object(group, version, &kind)
        .ok_or_else(|| Error::Kind(format!("{group}/{version}.{kind}")))?;
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    let walk = Walk { table: table() };
    walk.fill(message, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

/// Reads an event of a watch (without its length) that holds an object in this form.
pub fn decode_watch_event(frame: &[u8]) -> Result<Value, Error> {
    let (mut kind, mut object) = (String::new(), Value::Null);
    let mut event = Reader::new(frame, "WatchEvent");
    while let Some((tag, wire)) = event.next()? {
        match (tag, wire) {
            (1, Wire::Bytes(bytes)) => kind = text(bytes),
            (2, Wire::Bytes(bytes)) => {
                let raw = first_bytes(bytes, 1, "WatchEvent")?;
                object = decode(raw.unwrap_or_default())?;
            }
            _ => {}
        }
    }
    Ok(serde_json::json!({"type": kind, "object": object}))
}

struct Walk {
    table: &'static Table,
}

impl Walk {
    fn message(
        &self,
        message: &'static Message,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, Error> {
        let mut object = Map::new();
        self.fill(message, bytes, &mut object, depth)?;
        Ok(Value::Object(object))
    }

    fn fill(
        &self,
        message: &'static Message,
        bytes: &[u8],
        object: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::Depth);
        }
        let place = message.name;
        let mut reader = Reader::new(bytes, place);
        while let Some((tag, wire)) = reader.next()? {
            let Some(field) = message.tagged(tag) else {
                continue;
            };
            match (&field.kind, &wire) {
                (Kind::Message(inner), Wire::Bytes(bytes)) if field.json.is_empty() => {
                    self.fill(self.table.message(*inner), bytes, object, depth + 1)?;
                }
                (Kind::List(item), _) => {
                    let value = self.value(item, &wire, place, depth + 1)?;
                    if let Value::Array(list) = object
                        .entry(field.json)
                        .or_insert_with(|| Value::Array(Vec::new()))
                    {
                        list.push(value);
                    }
                }
                (Kind::Map(item), Wire::Bytes(entry)) => {
                    let (key, value) = self.pair(item, entry, place, depth + 1)?;
                    if let Value::Object(map) = object
                        .entry(field.json)
                        .or_insert_with(|| Value::Object(Map::new()))
                    {
                        map.insert(key, value);
                    }
                }
                (kind, _) => {
                    let value = self.value(kind, &wire, place, depth + 1)?;
                    if field.pointer || !is_zero(&value) {
                        object.insert(field.json.into(), value);
                    }
                }
            }
        }
        Ok(())
    }

    fn pair(
        &self,
        item: &Kind,
        entry: &[u8],
        place: &'static str,
        depth: usize,
    ) -> Result<(String, Value), Error> {
        let (mut key, mut found) = (String::new(), None);
        let mut reader = Reader::new(entry, place);
        while let Some((tag, wire)) = reader.next()? {
            match (tag, &wire) {
                (1, Wire::Bytes(bytes)) => key = text(bytes),
                (2, wire) => found = Some(self.value(item, wire, place, depth)?),
                _ => {}
            }
        }
        let empty = || match item {
            Kind::Message(_) => Value::Object(Map::new()),
            Kind::Items(_) => Value::Array(Vec::new()),
            Kind::Time | Kind::MicroTime => Value::Null,
            Kind::Quantity => "0".into(),
            _ => Value::String(String::new()),
        };
        Ok((key, found.unwrap_or_else(empty)))
    }

    fn value(
        &self,
        kind: &Kind,
        wire: &Wire<'_>,
        place: &'static str,
        depth: usize,
    ) -> Result<Value, Error> {
        if depth > DEPTH {
            return Err(Error::Depth);
        }
        let bad = || Error::Malformed(place.to_string());
        Ok(match (kind, wire) {
            (Kind::String, Wire::Bytes(bytes)) => text(bytes).into(),
            (Kind::Bytes, Wire::Bytes(bytes)) => base64::engine::general_purpose::STANDARD
                .encode(bytes)
                .into(),
            (Kind::Bool, Wire::Varint(number)) => (*number != 0).into(),
            (Kind::Int, Wire::Varint(number)) => (*number as i64).into(),
            (Kind::Double, Wire::Fixed(bits)) => {
                Number::from_f64(f64::from_bits(*bits)).map_or(Value::Null, Value::Number)
            }
            (Kind::Json, Wire::Bytes(bytes)) => json(bytes, place)?,
            (Kind::Time | Kind::MicroTime, Wire::Bytes(bytes)) => {
                time(bytes, matches!(kind, Kind::MicroTime), place)?
            }
            (Kind::Duration, Wire::Bytes(bytes)) => {
                crate::time::go_duration(first_number(bytes, 1, place)?).into()
            }
            (Kind::Quantity, Wire::Bytes(bytes)) => {
                let amount = first_bytes(bytes, 1, place)?.unwrap_or_default();
                match text(amount) {
                    empty if empty.is_empty() => "0".into(),
                    amount => amount.into(),
                }
            }
            (Kind::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes, place)?,
            (
                Kind::SchemaOrList | Kind::SchemaOrBool | Kind::SchemaOrStrings,
                Wire::Bytes(bytes),
            ) => self.schema_or(kind, bytes, place, depth)?,
            (Kind::Message(inner), Wire::Bytes(bytes)) => {
                self.message(self.table.message(*inner), bytes, depth)?
            }
            (Kind::Items(item), Wire::Bytes(bytes)) => {
                let mut list = Vec::new();
                let mut reader = Reader::new(bytes, place);
                while let Some((tag, wire)) = reader.next()? {
                    if tag == 1 {
                        list.push(self.value(item, &wire, place, depth + 1)?);
                    }
                }
                list.into()
            }
            _ => return Err(bad()),
        })
    }

    // Where the message for a schema is there, it counts; its number differs by the alternative.
    fn schema_or(
        &self,
        kind: &Kind,
        bytes: &[u8],
        place: &'static str,
        depth: usize,
    ) -> Result<Value, Error> {
        let schema = self
            .table
            .schema()
            .ok_or_else(|| Error::Kind("JSONSchemaProps".into()))?;
        let mut reader = Reader::new(bytes, place);
        let (mut one, mut list, mut flag) = (None, Vec::new(), false);
        while let Some((tag, wire)) = reader.next()? {
            match (kind, tag, wire) {
                (Kind::SchemaOrBool, 1, Wire::Varint(number)) => flag = number != 0,
                (Kind::SchemaOrBool, 2, Wire::Bytes(bytes))
                | (Kind::SchemaOrList | Kind::SchemaOrStrings, 1, Wire::Bytes(bytes)) => {
                    one = Some(self.message(schema, bytes, depth + 1)?);
                }
                (Kind::SchemaOrList, 2, Wire::Bytes(bytes)) => {
                    list.push(self.message(schema, bytes, depth + 1)?);
                }
                (Kind::SchemaOrStrings, 2, Wire::Bytes(bytes)) => {
                    list.push(text(bytes).into());
                }
                _ => {}
            }
        }
        Ok(match (one, kind) {
            (Some(one), _) => one,
            (None, Kind::SchemaOrBool) => flag.into(),
            _ => list.into(),
        })
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        // An empty struct that is not a pointer: metadata and the like are filled in anyway.
        Value::Object(map) => map.is_empty(),
    }
}

fn first_number(bytes: &[u8], wanted: u32, place: &'static str) -> Result<i64, Error> {
    let mut reader = Reader::new(bytes, place);
    let mut found = 0;
    while let Some((tag, wire)) = reader.next()? {
        if let (true, Wire::Varint(number)) = (tag == wanted, wire) {
            found = number as i64;
        }
    }
    Ok(found)
}

fn first_bytes<'a>(
    bytes: &'a [u8],
    wanted: u32,
    place: &'static str,
) -> Result<Option<&'a [u8]>, Error> {
    let mut reader = Reader::new(bytes, place);
    let mut found = None;
    while let Some((tag, wire)) = reader.next()? {
        if let (true, Wire::Bytes(bytes)) = (tag == wanted, wire) {
            found = Some(bytes);
        }
    }
    Ok(found)
}

// A message whose first field holds JSON text.
fn json(bytes: &[u8], place: &'static str) -> Result<Value, Error> {
    match first_bytes(bytes, 1, place)? {
        None => Ok(Value::Null),
        Some(raw) => serde_json::from_slice(raw).map_err(|_| Error::Malformed(place.to_string())),
    }
}

fn time(bytes: &[u8], micro: bool, place: &'static str) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let seconds = first_number(bytes, 1, place)?;
    let nanos = first_number(bytes, 2, place)?;
    // Years that RFC 3339 cannot say are no times; a zero Go time lies in the year 1.
    let Some(text) = crate::time::rfc3339(seconds) else {
        return Err(Error::Malformed(place.to_string()));
    };
    Ok(match micro {
        true => {
            let micros = nanos.clamp(0, 999_999_999) / 1000;
            format!("{}.{micros:06}Z", text.trim_end_matches('Z')).into()
        }
        false => text.into(),
    })
}

fn int_or_string(bytes: &[u8], place: &'static str) -> Result<Value, Error> {
    let (mut is_text, mut number, mut words) = (false, 0, String::new());
    let mut reader = Reader::new(bytes, place);
    while let Some((tag, wire)) = reader.next()? {
        match (tag, wire) {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value as i64,
            (3, Wire::Bytes(bytes)) => words = text(bytes),
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![tag << 3 | 2, bytes.len() as u8];
        out.extend_from_slice(bytes);
        out
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_config_map() {
        let metadata = [field(1, b"a"), field(3, b"")].concat();
        let entry = [field(1, b"key"), field(2, b"value")].concat();
        let body = envelope(
            "v1",
            "ConfigMap",
            &[field(1, &metadata), field(2, &entry)].concat(),
        );
        let wanted = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "value"}
        });
        assert_eq!(decode(&body), Ok(wanted));
        for cut in 0..body.len() {
            let _ = decode(&body[..cut]);
        }
    }

    #[test]
    fn wrong_lengths_and_depths_are_refused() {
        for raw in [
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
            &[0x0a, 0x05, b'x'],
            &[0x0a],
            &[0x0b],
            &[0xff; 11],
        ] {
            let refused = decode(&envelope("v1", "Pod", raw));
            assert!(matches!(refused, Err(Error::Malformed(_))), "{refused:?}");
        }
        // A schema within itself, deeper than allowed.
        let mut nested = Vec::new();
        while nested.len() < 40_000 {
            let mut outer = vec![0xe2, 0x01];
            let mut length = nested.len();
            while length >= 0x80 {
                outer.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            outer.push(length as u8);
            outer.extend_from_slice(&nested);
            nested = outer;
        }
        let walk = Walk { table: table() };
        let schema = table().schema().unwrap();
        let not = schema.place("not").map(|place| table().field(place).tag);
        assert_eq!(not, Some(28));
        assert_eq!(walk.message(schema, &nested, 0), Err(Error::Depth));
    }
}
