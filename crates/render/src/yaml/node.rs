//! A YAML value that knows where it stood.

use super::float;
use indexmap::IndexMap;
use serde_json::Value as Json;

/// Line and column, 1-based; zeros where made by a transformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// 1-based line.
    pub line: u32,
    /// 1-based column.
    pub column: u32,
}

/// Keys in the order of the file.
pub type Map = IndexMap<String, Node>;

/// Type of a scalar after resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `false`.
    Bool,
    /// Whole number of up to 64 bits, in any of YAML's notations.
    Int,
    /// Any other number.
    Float,
    /// Everything else.
    Str,
}

/// What a node holds. A scalar keeps the text it was written with.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One value.
    Scalar(Scalar, String),
    /// `[…]`.
    List(Vec<Node>),
    /// `{…}`.
    Map(Map),
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stood.
    pub at: Place,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self {
            value,
            at: Place::default(),
        }
    }
}

impl Node {
    /// A string.
    pub fn string(text: impl Into<String>) -> Self {
        Value::Scalar(Scalar::Str, text.into()).into()
    }

    /// A whole number.
    pub fn int(number: i64) -> Self {
        Value::Scalar(Scalar::Int, number.to_string()).into()
    }

    /// A truth value.
    pub fn bool(value: bool) -> Self {
        Value::Scalar(Scalar::Bool, value.to_string()).into()
    }

    /// Null, written out.
    pub fn null() -> Self {
        Value::Scalar(Scalar::Null, "null".into()).into()
    }

    /// An empty map.
    pub fn map() -> Self {
        Value::Map(Map::new()).into()
    }

    /// Its fields, where it is a map.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Its fields, where it is a map.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Its elements, where it is a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// Its elements, where it is a list.
    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// Text of a scalar of any type but null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar::Null, _) => None,
            Value::Scalar(_, text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(Scalar::Null, _))
    }

    /// Whether it is a scalar, null included.
    pub fn is_scalar(&self) -> bool {
        matches!(self.value, Value::Scalar(..))
    }

    /// Field of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// Field of a map.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_map_mut()?.get_mut(key)
    }

    /// Field below fields.
    pub fn at_path(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Text of a field below fields.
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at_path(path)?.text()
    }

    /// The map below a key, made where missing or null; `None` where something else is there.
    pub fn map_entry(&mut self, key: &str) -> Option<&mut Map> {
        let map = self.as_map_mut()?;
        let node = map.entry(key.to_string()).or_insert_with(Node::map);
        if node.is_null() {
            node.value = Value::Map(Map::new());
        }
        node.as_map_mut()
    }

    /// What this becomes in JSON.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(Scalar::Null, _) => Json::Null,
            Value::Scalar(Scalar::Bool, text) => Json::Bool(text.eq_ignore_ascii_case("true")),
            Value::Scalar(Scalar::Int, text) => match super::scalar::integer(text) {
                Some(number) => int_json(number),
                None => Json::String(text.clone()),
            },
            Value::Scalar(Scalar::Float, text) => float::parse(text)
                .and_then(|f| {
                    whole(f).or_else(|| serde_json::Number::from_f64(f).map(Json::Number))
                })
                .unwrap_or_else(|| Json::String(text.clone())),
            Value::Scalar(Scalar::Str, text) => Json::String(text.clone()),
            Value::List(list) => Json::Array(list.iter().map(Node::to_json).collect()),
            Value::Map(map) => {
                Json::Object(map.iter().map(|(k, v)| (k.clone(), v.to_json())).collect())
            }
        }
    }

    /// A node for a JSON value.
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::null(),
            Json::Bool(value) => Self::bool(*value),
            Json::Number(number) => {
                let kind = if number.is_f64() {
                    Scalar::Float
                } else {
                    Scalar::Int
                };
                Value::Scalar(kind, number.to_string()).into()
            }
            Json::String(text) => Self::string(text.clone()),
            Json::Array(list) => Value::List(list.iter().map(Self::from_json).collect()).into(),
            Json::Object(map) => Value::Map(
                map.iter()
                    .map(|(k, v)| (k.clone(), Self::from_json(v)))
                    .collect(),
            )
            .into(),
        }
    }
}

fn int_json(number: i128) -> Json {
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(n), _) => n.into(),
        (_, Ok(n)) => n.into(),
        _ => Json::Null,
    }
}

// A float without a fraction is written as a whole number by JSON encoders.
fn whole(float: f64) -> Option<Json> {
    (float.fract() == 0.0 && float.abs() < 9.007_199_254_740_992e15).then(|| (float as i64).into())
}
