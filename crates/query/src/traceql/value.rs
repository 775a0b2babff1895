//! Values of attributes, of literals and of what is computed from them.

use std::cmp::Ordering;
use std::sync::Arc;

/// How an operation went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It failed.
    Error,
    /// It is known to have gone well.
    Ok,
    /// Nothing was said.
    #[default]
    Unset,
}

impl Status {
    /// As the language and the API call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Ok => "ok",
            Self::Unset => "unset",
        }
    }

    /// From the protocol's number.
    pub fn from_code(code: i32) -> Self {
        match code {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }

    /// The protocol's number.
    pub fn code(self) -> i32 {
        match self {
            Self::Unset => 0,
            Self::Ok => 1,
            Self::Error => 2,
        }
    }
}

/// What part a span has in its operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing was said.
    #[default]
    Unspecified,
    /// Inside a process.
    Internal,
    /// The answering end of a call.
    Server,
    /// The asking end of a call.
    Client,
    /// The sending end of a message.
    Producer,
    /// The receiving end of a message.
    Consumer,
}

impl Kind {
    /// All, in the order of the protocol's numbers.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::Internal,
        Self::Server,
        Self::Client,
        Self::Producer,
        Self::Consumer,
    ];

    /// As the language and the API call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    /// From the protocol's number.
    pub fn from_code(code: i32) -> Self {
        let at = usize::try_from(code).unwrap_or(0);
        Self::ALL.get(at).copied().unwrap_or_default()
    }

    /// The protocol's number.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// A value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// There is none.
    #[default]
    Nil,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// A span of time in nanoseconds; only of intrinsics and literals.
    Duration(i64),
    /// How an operation went; only of intrinsics and literals.
    Status(Status),
    /// A part in an operation; only of intrinsics and literals.
    Kind(Kind),
    /// Several values; what holds for one of them holds.
    List(Arc<[Value]>),
    /// Named values; kept, never compared.
    Map(Arc<[(Arc<str>, Value)]>),
    /// Bytes; kept, never compared.
    Bytes(Arc<[u8]>),
}

impl Value {
    /// Text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// As a number, where it is one; a duration in nanoseconds.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(n) | Self::Duration(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            _ => None,
        }
    }

    /// The order of two values that can be compared.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a) | Self::Duration(a), Self::Int(b) | Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Status(a), Self::Status(b)) => Some(a.cmp(b)),
            (Self::Kind(a), Self::Kind(b)) => Some(a.cmp(b)),
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }

    /// Its name among types, as the API tells it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "string",
            Self::Duration(_) => "duration",
            Self::Status(_) | Self::Kind(_) => "keyword",
            Self::List(_) => "array",
            Self::Map(_) => "map",
            Self::Bytes(_) => "bytes",
        }
    }
}

/// Groups of series are told apart by their values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Vec<u8>);

impl Key {
    pub(super) fn of(values: &[Value]) -> Self {
        let mut bytes = Vec::new();
        for value in values {
            put(value, &mut bytes);
        }
        Self(bytes)
    }
}

fn put(value: &Value, out: &mut Vec<u8>) {
    let mut sized = |tag: u8, bytes: &[u8]| {
        out.push(tag);
        out.extend((bytes.len() as u64).to_be_bytes());
        out.extend(bytes);
    };
    match value {
        Value::Nil => out.push(0),
        Value::Bool(yes) => out.extend([1, u8::from(*yes)]),
        Value::Int(n) => sized(2, &n.to_be_bytes()),
        Value::Float(n) => sized(3, &n.to_bits().to_be_bytes()),
        Value::Text(text) => sized(4, text.as_bytes()),
        Value::Duration(n) => sized(5, &n.to_be_bytes()),
        Value::Status(status) => out.extend([6, *status as u8]),
        Value::Kind(kind) => out.extend([7, *kind as u8]),
        Value::Bytes(bytes) => sized(8, bytes),
        Value::List(values) => {
            out.push(9);
            out.extend((values.len() as u64).to_be_bytes());
            values.iter().for_each(|value| put(value, out));
        }
        Value::Map(pairs) => {
            out.push(10);
            out.extend((pairs.len() as u64).to_be_bytes());
            for (name, value) in pairs.iter() {
                put(&Value::Text(name.clone()), out);
                put(value, out);
            }
        }
    }
}
