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
    let mut seen = Seen {
        path: Vec::new(),
        duplicates: Vec::new(),
        depth: limits.depth,
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Tree(&mut seen).deserialize(&mut reader)?;
    reader.end()?;
    Ok((value, seen.duplicates))
}

enum Step {
    Key(String),
    Index(usize),
}

struct Seen {
    path: Vec<Step>,
    duplicates: Vec<String>,
    depth: usize,
}

impl Seen {
    fn path(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => {
                    text.push('.');
                    text.push_str(key);
                }
                Step::Index(at) => text.push_str(&format!("[{at}]")),
            }
        }
        text
    }
}

struct Tree<'a>(&'a mut Seen);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0.path.len() > self.0.depth {
            return Err(D::Error::custom(format!(
                "nested deeper than {} levels",
                self.0.depth
            )));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
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
            self.0.path.push(Step::Index(list.len()));
            let next = items.next_element_seed(Tree(self.0));
            self.0.path.pop();
            match next? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.path.push(Step::Key(key.clone()));
            if map.contains_key(&key) {
                let path = self.0.path();
                self.0.duplicates.push(path);
            }
            let value = entries.next_value_seed(Tree(self.0));
            self.0.path.pop();
            map.insert(key, value?);
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
