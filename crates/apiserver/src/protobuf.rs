//! Request bodies in protobuf, which typed clients send: turned into the same objects as JSON.
//!
//! Field numbers and types come from a table made from the Go types (`facts/protobuf.txt`).
//! A zero is dropped unless the Go field is a pointer, as its JSON form would have dropped it.

use base64::Engine;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

static TABLE: &str = include_str!("../facts/protobuf.txt");
static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| read(TABLE));

/// First bytes of every such body.
const MAGIC: &[u8] = b"k8s\0";
const DEPTH: usize = 100;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("not a Kubernetes protobuf message")]
    Envelope,
    #[error("no protobuf form is known for {0}")]
    Kind(String),
    #[error("malformed protobuf in {0}")]
    Malformed(String),
    #[error("nested deeper than {DEPTH} levels")]
    Depth,
}

type Message = HashMap<u32, Field>;

struct Field {
    /// Empty where the fields of the inner message belong to this one.
    json: &'static str,
    pointer: bool,
    kind: Kind,
}

enum Kind {
    String,
    Bytes,
    Bool,
    Int,
    Double,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    Json,
    Message(&'static str),
    List(Box<Kind>),
    Map(Box<Kind>),
    /// A message that stands for a list.
    Items(Box<Kind>),
}

fn read(table: &'static str) -> HashMap<&'static str, Message> {
    let mut messages: HashMap<&'static str, Message> = HashMap::new();
    let mut current = "";
    for line in table.lines() {
        let words: Vec<&'static str> = line.split(' ').collect();
        match words.as_slice() {
            ["message", name] => {
                current = name;
                messages.entry(name).or_default();
            }
            [tag, json, kind] => {
                let (pointer, kind) = kind
                    .strip_prefix('*')
                    .map_or((false, *kind), |rest| (true, rest));
                let json = if *json == "-" { "" } else { json };
                if let (Ok(tag), Some(message)) = (tag.parse(), messages.get_mut(current)) {
                    message.insert(
                        tag,
                        Field {
                            json,
                            pointer,
                            kind: Kind::read(kind),
                        },
                    );
                }
            }
            _ => {}
        }
    }
    messages
}

impl Kind {
    fn read(text: &'static str) -> Self {
        let inner =
            |text: &'static str| Box::new(Self::read(text.strip_prefix('*').unwrap_or(text)));
        if let Some(rest) = text.strip_prefix("[]") {
            return Self::List(inner(rest));
        }
        if let Some(rest) = text.strip_prefix("{}") {
            return Self::Map(inner(rest));
        }
        if let Some(rest) = text.strip_prefix("items:[]") {
            return Self::Items(inner(rest));
        }
        match text {
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "double" => Self::Double,
            "time" => Self::Time,
            "microtime" => Self::MicroTime,
            "duration" => Self::Duration,
            "quantity" => Self::Quantity,
            "intorstring" => Self::IntOrString,
            "json" => Self::Json,
            name => Self::Message(name),
        }
    }
}

/// One field as it is on the wire.
enum Wire<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

struct Reader<'a> {
    rest: &'a [u8],
    place: &'static str,
}

impl<'a> Reader<'a> {
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

fn fields<'a>(bytes: &'a [u8], place: &'static str) -> Result<Vec<(u32, Wire<'a>)>, Error> {
    let mut reader = Reader { rest: bytes, place };
    let mut found = Vec::new();
    while let Some(field) = reader.next()? {
        found.push(field);
    }
    Ok(found)
}

fn text(bytes: &[u8], place: &'static str) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Malformed(place.to_string()))
}

/// Reads a body: the envelope, then the object it names.
pub(crate) fn decode(body: &[u8]) -> Result<Value, Error> {
    let body = body.strip_prefix(MAGIC).ok_or(Error::Envelope)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for (tag, wire) in fields(body, "envelope")? {
        match (tag, wire) {
            (1, Wire::Bytes(meta)) => {
                for (tag, wire) in fields(meta, "envelope")? {
                    match (tag, wire) {
                        (1, Wire::Bytes(bytes)) => api_version = text(bytes, "envelope")?,
                        (2, Wire::Bytes(bytes)) => kind = text(bytes, "envelope")?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = towpath_api::facts::split_api_version(&api_version);
    let name = format!("{group}/{version}.{kind}");
    let shared = format!("meta/v1.{kind}");
    let known = MESSAGES
        .get_key_value(name.as_str())
        .or_else(|| MESSAGES.get_key_value(shared.as_str()));
    let (place, message) = known.ok_or(Error::Kind(name))?;
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    fill(message, place, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn message(name: &'static str, bytes: &[u8], depth: usize) -> Result<Value, Error> {
    let known = MESSAGES
        .get(name)
        .ok_or_else(|| Error::Kind(name.to_string()))?;
    let mut object = Map::new();
    fill(known, name, bytes, &mut object, depth)?;
    Ok(Value::Object(object))
}

fn fill(
    known: &Message,
    place: &'static str,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), Error> {
    if depth > DEPTH {
        return Err(Error::Depth);
    }
    for (tag, wire) in fields(bytes, place)? {
        let Some(field) = known.get(&tag) else {
            continue;
        };
        match (&field.kind, &wire) {
            (Kind::Message(name), Wire::Bytes(inner)) if field.json.is_empty() => {
                let known = MESSAGES
                    .get(name)
                    .ok_or_else(|| Error::Kind((*name).to_string()))?;
                fill(known, name, inner, object, depth + 1)?;
            }
            (Kind::List(item), _) => {
                let value = value(item, &wire, place, depth + 1)?;
                if let Value::Array(list) = object
                    .entry(field.json)
                    .or_insert_with(|| Value::Array(Vec::new()))
                {
                    list.push(value);
                }
            }
            (Kind::Map(item), Wire::Bytes(entry)) => {
                let (key, value) = pair(item, entry, place, depth + 1)?;
                if let Value::Object(map) = object
                    .entry(field.json)
                    .or_insert_with(|| Value::Object(Map::new()))
                {
                    map.insert(key, value);
                }
            }
            (kind, _) => {
                let value = value(kind, &wire, place, depth + 1)?;
                if field.pointer || !is_zero(&value) {
                    object.insert(field.json.into(), value);
                }
            }
        }
    }
    Ok(())
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

fn pair(
    item: &Kind,
    entry: &[u8],
    place: &'static str,
    depth: usize,
) -> Result<(String, Value), Error> {
    let (mut key, mut found) = (String::new(), None);
    for (tag, wire) in fields(entry, place)? {
        match (tag, &wire) {
            (1, Wire::Bytes(bytes)) => key = text(bytes, place)?,
            (2, wire) => found = Some(value(item, wire, place, depth)?),
            _ => {}
        }
    }
    let empty = || match item {
        Kind::Message(_) => Value::Object(Map::new()),
        Kind::Items(_) => Value::Array(Vec::new()),
        _ => Value::String(String::new()),
    };
    Ok((key, found.unwrap_or_else(empty)))
}

fn value(kind: &Kind, wire: &Wire<'_>, place: &'static str, depth: usize) -> Result<Value, Error> {
    if depth > DEPTH {
        return Err(Error::Depth);
    }
    let bad = || Error::Malformed(place.to_string());
    Ok(match (kind, wire) {
        (Kind::String, Wire::Bytes(bytes)) => text(bytes, place)?.into(),
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
        (Kind::Duration, Wire::Bytes(bytes)) => duration(first_number(bytes, 1, place)?).into(),
        (Kind::Quantity, Wire::Bytes(bytes)) => {
            let found =
                fields(bytes, place)?
                    .into_iter()
                    .find_map(|(tag, wire)| match (tag, wire) {
                        (1, Wire::Bytes(bytes)) => Some(text(bytes, place)),
                        _ => None,
                    });
            found
                .transpose()?
                .filter(|t| !t.is_empty())
                .unwrap_or_else(|| "0".into())
                .into()
        }
        (Kind::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes, place)?,
        (Kind::Message(name), Wire::Bytes(bytes)) => message(name, bytes, depth)?,
        (Kind::Items(item), Wire::Bytes(bytes)) => {
            let mut list = Vec::new();
            for (tag, wire) in fields(bytes, place)? {
                if tag == 1 {
                    list.push(value(item, &wire, place, depth + 1)?);
                }
            }
            list.into()
        }
        _ => return Err(bad()),
    })
}

fn first_number(bytes: &[u8], wanted: u32, place: &'static str) -> Result<i64, Error> {
    let found = fields(bytes, place)?
        .into_iter()
        .find_map(|(tag, wire)| match wire {
            Wire::Varint(number) if tag == wanted => Some(number as i64),
            _ => None,
        });
    Ok(found.unwrap_or(0))
}

// A message whose first field holds JSON text.
fn json(bytes: &[u8], place: &'static str) -> Result<Value, Error> {
    for (tag, wire) in fields(bytes, place)? {
        if let (1, Wire::Bytes(raw)) = (tag, wire) {
            return serde_json::from_slice(raw).map_err(|_| Error::Malformed(place.to_string()));
        }
    }
    Ok(Value::Null)
}

fn time(bytes: &[u8], micro: bool, place: &'static str) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (seconds, nanos) = (
        first_number(bytes, 1, place)?,
        first_number(bytes, 2, place)?,
    );
    // A zero Go time lies in the year 1.
    let Ok(seconds) = u64::try_from(seconds) else {
        return Ok(Value::Null);
    };
    let text = towpath_stdx::clock::rfc3339(seconds);
    Ok(match micro {
        true => format!("{}.{:06}Z", text.trim_end_matches('Z'), nanos / 1000).into(),
        false => text.into(),
    })
}

fn int_or_string(bytes: &[u8], place: &'static str) -> Result<Value, Error> {
    let (mut is_text, mut number, mut words) = (false, 0, String::new());
    for (tag, wire) in fields(bytes, place)? {
        match (tag, wire) {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value as i64,
            (3, Wire::Bytes(bytes)) => words = text(bytes, place)?,
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

// Go's text of a duration in nanoseconds.
fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let (seconds, fraction) = (total / 1_000_000_000, total % 1_000_000_000);
    if seconds == 0 && fraction > 0 {
        return match fraction {
            f if f % 1_000_000 == 0 => format!("{sign}{}ms", f / 1_000_000),
            f if f % 1000 == 0 => format!("{sign}{}µs", f / 1000),
            f => format!("{sign}{f}ns"),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut rest = format!("{}", seconds % 60);
    if fraction > 0 {
        rest.push_str(format!(".{fraction:09}").trim_end_matches('0'));
    }
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, minutes) => format!("{sign}{minutes}m{rest}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
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
    fn any_bytes_are_read_or_refused() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut roll = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for kind in ["Pod", "Deployment", "ConfigMap", "Event"] {
            let api_version = if kind == "Deployment" {
                "apps/v1"
            } else {
                "v1"
            };
            for _ in 0..3000 {
                let length = roll() % 120;
                // Small tags and lengths, so that more than the first byte is looked at.
                let raw: Vec<u8> = (0..length).map(|_| (roll() % 64) as u8).collect();
                let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
                let body = [MAGIC.to_vec(), field(1, &meta), field(2, &raw)].concat();
                let _ = decode(&body);
            }
        }
        // A message within itself, deeper than allowed.
        let mut nested = Vec::new();
        for _ in 0..20_000 {
            let mut outer = vec![1 << 3 | 2];
            let mut length = nested.len();
            while length >= 0x80 {
                outer.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            outer.push(length as u8);
            outer.extend_from_slice(&nested);
            nested = outer;
            if nested.len() > 40_000 {
                break;
            }
        }
        let _ = message("/v1.PodSpec", &nested, 0);
    }

    #[test]
    fn durations_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (2_000_000, "2ms"),
        ] {
            assert_eq!(duration(nanos), text);
        }
    }
}
