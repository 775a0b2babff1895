//! JSON bodies: bounded, and with duplicate keys seen.
//!
//! `serde_json` keeps the last of two equal keys in silence; an API server must report them
//! (`fieldValidation`), so the tree is built by our own visitor that remembers where they were.

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// What a body may be at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Levels of nesting; never more than 127.
    pub depth: usize,
}

impl Default for Limits {
    /// Upstream's 3 MiB; nesting as deep as the decoder allows.
    fn default() -> Self {
        Limits {
            bytes: 3 << 20,
            depth: 120,
        }
    }
}

/// Why a body is not a JSON value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More bytes than allowed.
    #[error("body of {actual} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes given.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not JSON, or nested too deeply.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
}

/// Parses `bytes`; the second part lists the paths of keys that occur twice (the last one wins).
pub fn parse(bytes: &[u8], limits: Limits) -> Result<(Value, Vec<String>), Error> {
    if bytes.len() > limits.bytes {
        return Err(Error::TooLarge {
            actual: bytes.len(),
            limit: limits.bytes,
        });
    }
    read(bytes, limits).or_else(|error| match mend(bytes) {
        Some(mended) => read(&mended, limits),
        None => Err(error),
    })
}

fn read(bytes: &[u8], limits: Limits) -> Result<(Value, Vec<String>), Error> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let tree = Tree {
        duplicates: &mut duplicates,
        place: None,
        depth: 0,
        most: limits.depth,
    };
    let value = tree.deserialize(&mut reader)?;
    reader.end()?;
    Ok((value, duplicates))
}

// Text that is no Unicode: upstream reads what cannot be a character as U+FFFD, and its clients
// rely on being understood (messages cut in the middle of a character). `None` where there is
// nothing of the kind.
fn mend(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    let mut changed = matches!(text, std::borrow::Cow::Owned(_));
    let text = text.as_bytes();
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let length = match (text[at], unit(at)) {
            (b'\\', Some(0xd800..0xdc00)) if matches!(unit(at + 6), Some(0xdc00..0xe000)) => 12,
            (b'\\', Some(0xd800..0xe000)) => {
                out.extend_from_slice(b"\\ufffd");
                changed = true;
                at += 6;
                continue;
            }
            (b'\\', _) => 2,
            _ => 1,
        };
        out.extend_from_slice(&text[at..text.len().min(at + length)]);
        at += length;
    }
    changed.then_some(out)
}

/// Where the reader is: a chain on the stack, made into text only for what is reported.
struct Place<'p> {
    above: Option<&'p Place<'p>>,
    step: Step<'p>,
}

enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl Place<'_> {
    fn write(&self, out: &mut String) {
        if let Some(above) = self.above {
            above.write(out);
        }
        match self.step {
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(at) => out.push_str(&format!("[{at}]")),
        }
    }
}

struct Tree<'a, 'p> {
    duplicates: &'a mut Vec<String>,
    place: Option<&'p Place<'p>>,
    depth: usize,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Tree<'_, '_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > self.most {
            return Err(D::Error::custom(format!(
                "nested deeper than {} levels",
                self.most
            )));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = Place {
                above: self.place,
                step: Step::Index(list.len()),
            };
            let inner = Tree {
                duplicates: &mut *self.duplicates,
                place: Some(&place),
                depth: self.depth + 1,
                most: self.most,
            };
            match items.next_element_seed(inner)? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = Place {
                above: self.place,
                step: Step::Key(&key),
            };
            let inner = Tree {
                duplicates: &mut *self.duplicates,
                place: Some(&place),
                depth: self.depth + 1,
                most: self.most,
            };
            let value = entries.next_value_seed(inner)?;
            if map.contains_key(&key) {
                let mut path = String::new();
                place.write(&mut path);
                self.duplicates.push(path);
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_duplicates_with_their_place() {
        let (value, twice) =
            parse(br#"{"a":1,"b":[{"c":1,"c":2}],"a":3}"#, Limits::default()).unwrap();
        assert_eq!(value, serde_json::json!({"a": 3, "b": [{"c": 2}]}));
        assert_eq!(twice, ["b[0].c", "a"]);
    }

    #[test]
    fn what_is_no_character_is_replaced() {
        for (bytes, wanted) in [
            (&b"{\"a\":\"x\xffy\"}"[..], "x\u{fffd}y"),
            (br#"{"a":"x\ud800y"}"#, "x\u{fffd}y"),
            (
                br#"{"a":"\udc00\ud83d\ude00\ud83d"}"#,
                "\u{fffd}\u{1f600}\u{fffd}",
            ),
            (br#"{"a":"\\ud800"}"#, "\\ud800"),
        ] {
            let (value, _) = parse(bytes, Limits::default()).unwrap();
            assert_eq!(value["a"], wanted);
        }
        assert!(parse(b"{\xff}", Limits::default()).is_err());
    }

    #[test]
    fn is_bounded() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(matches!(
            parse(deep.as_bytes(), Limits::default()),
            Err(Error::Malformed(_))
        ));
        let small = Limits {
            bytes: 3,
            depth: 10,
        };
        assert!(matches!(
            parse(b"[1,2]", small),
            Err(Error::TooLarge { .. })
        ));
        assert!(parse(b"[1] x", Limits::default()).is_err());
    }
}
