//! What templates work on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::time::Time;

/// What the items of a list or a map are, as Go would declare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// `interface {}`: anything.
    Any,
    /// `string`: texts, and a key that is missing gives an empty one.
    Text,
}

/// A list and what it is a list of.
#[derive(Clone, Debug)]
pub struct List {
    /// What the items are.
    pub of: Of,
    /// The items.
    pub items: Vec<Value>,
}

/// A map of texts to values and what it is a map of.
#[derive(Clone, Debug)]
pub struct Map {
    /// What the values are.
    pub of: Of,
    /// The entries, in the order in which they are ranged over.
    pub entries: BTreeMap<String, Value>,
}

/// A value of a template.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing at all, not even nil: what a missing key gives. Printed as `<no value>`.
    #[default]
    Missing,
    /// Nil where anything could be.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// A `float64`.
    Float(f64),
    /// A text.
    String(Arc<str>),
    /// A list.
    List(Arc<List>),
    /// A map.
    Map(Arc<Map>),
    /// A time.
    Time(Time),
    /// A span of time in nanoseconds.
    Duration(i64),
    /// Something with fields and methods of its own.
    Object(Arc<dyn Object>),
}

/// What a member of an object is.
pub enum Member {
    /// A field and its value.
    Field(Value),
    /// A method that wants so many arguments.
    Method(usize),
}

/// Something with fields and methods.
pub trait Object: Debug + Send + Sync {
    /// What Go calls its type, for errors.
    fn type_name(&self) -> &str;

    /// A field or a method by its name.
    fn member(&self, name: &str) -> Option<Member>;

    /// What a method gives.
    ///
    /// # Errors
    /// The arguments do not suit it.
    fn call(&self, name: &str, _arguments: &[Value]) -> Result<Value, String> {
        Err(format!("{name} is not a method"))
    }

    /// What it is for `range`, `len`, `index` and conditions: a list, a map, or [`Value::Missing`]
    /// for what has only fields, which is always true.
    fn as_value(&self) -> Value {
        Value::Missing
    }

    /// How it is printed.
    fn text(&self) -> String;
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(text.into())
    }

    /// A list of anything.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(Arc::new(List {
            of: Of::Any,
            items: items.into_iter().collect(),
        }))
    }

    /// A list of texts.
    pub fn texts<T: Into<Arc<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(Arc::new(List {
            of: Of::Text,
            items: items.into_iter().map(Self::text).collect(),
        }))
    }

    /// A map of anything.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let entries = entries.into_iter().map(|(k, v)| (k.into(), v)).collect();
        Self::Map(Arc::new(Map {
            of: Of::Any,
            entries,
        }))
    }

    /// A map of texts, such as labels.
    pub fn text_map<K: Into<String>, V: Into<Arc<str>>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let entries = entries.into_iter();
        let entries = entries.map(|(k, v)| (k.into(), Self::text(v))).collect();
        Self::Map(Arc::new(Map {
            of: Of::Text,
            entries,
        }))
    }

    /// What Go calls its type.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Missing | Self::Nil => "interface {}",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::List(list) => match list.of {
                Of::Any => "[]interface {}",
                Of::Text => "[]string",
            },
            Self::Map(map) => match map.of {
                Of::Any => "map[string]interface {}",
                Of::Text => "map[string]string",
            },
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Object(object) => object.type_name(),
        }
    }

    /// Whether a condition holds.
    pub fn truth(&self) -> bool {
        match self {
            Self::Missing | Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Duration(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Time(_) => true,
            Self::Object(object) => match object.as_value() {
                Self::Missing => true,
                value => value.truth(),
            },
        }
    }

    /// The text this is.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether there is nothing.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Missing | Self::Nil)
    }

    /// What an object stands for where only lists and maps will do; other values as they are.
    pub(super) fn plain(&self) -> Self {
        match self {
            Self::Object(object) => match object.as_value() {
                Self::Missing => self.clone(),
                value => value,
            },
            _ => self.clone(),
        }
    }

    /// How many values there are within, itself included; `None` where they nest deeper than
    /// `depth`.
    pub(super) fn size(&self, depth: usize) -> Option<usize> {
        let depth = depth.checked_sub(1)?;
        match self {
            Self::List(list) if list.of == Of::Any => list
                .items
                .iter()
                .try_fold(1, |sum, item| Some(sum + item.size(depth)?)),
            Self::Map(map) if map.of == Of::Any => map
                .entries
                .values()
                .try_fold(1, |sum, item| Some(sum + item.size(depth)?)),
            Self::List(list) => Some(1 + list.items.len()),
            Self::Map(map) => Some(1 + map.entries.len()),
            Self::String(text) => Some(1 + text.len() / 64),
            _ => Some(1),
        }
    }
}

impl From<&serde_json::Value> for Value {
    /// As Go reads JSON without knowing its shape: every number is a float.
    fn from(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => {
                Self::Float(number.as_f64().unwrap_or(f64::INFINITY))
            }
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Array(items) => Self::list(items.iter().map(Self::from)),
            serde_json::Value::Object(entries) => {
                Self::map(entries.iter().map(|(k, v)| (k.clone(), Self::from(v))))
            }
        }
    }
}
