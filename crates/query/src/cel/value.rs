//! Values of expressions, and when two of them are equal.

use super::net::{Cidr, Ip};
use super::semver::Semver;
use super::shape::Merge;
use super::types::Type;
use super::url::Url;
use crate::quantity::Quantity;
use indexmap::IndexMap;
use std::cmp::Ordering;
use std::sync::Arc;

/// A value; copies share their parts.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(Arc<str>),
    /// Octets.
    Bytes(Arc<[u8]>),
    /// A span of time in nanoseconds.
    Duration(i64),
    /// Seconds since 1970 and nanoseconds.
    Timestamp(i64, u32),
    /// A list.
    List(Arc<List>),
    /// A map or an object.
    Map(Arc<Map>),
    /// The name of a type.
    Type(Arc<str>),
    /// A value or nothing.
    Optional(Option<Arc<Value>>),
    /// An amount.
    Quantity(Quantity),
    /// An address on the web.
    Url(Arc<Url>),
    /// An address of the network.
    Ip(Ip),
    /// A range of addresses.
    Cidr(Cidr),
    /// A version.
    Semver(Arc<Semver>),
    /// A named format of texts.
    Format(&'static str),
    /// Asks whether something is allowed.
    Authorizer(Arc<Check>),
    /// An answer to that.
    Decision(Arc<Decision>),
}

/// Elements, and what makes two lists of them the same.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The elements.
    pub items: Vec<Value>,
    /// How the list is merged: sets and lists with keys have no order.
    pub merge: Merge,
}

/// Entries of a map, or fields of an object by the names expressions use.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// The entries.
    pub entries: IndexMap<Key, Value>,
    /// Name of the object's type; none for maps.
    pub object: Option<Arc<str>>,
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// True or false.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A number.
    Uint(u64),
    /// Text.
    String(Arc<str>),
}

/// Who decides for the `authorizer` variable.
pub trait Authorizer: Send + Sync {
    /// Whether the verb is allowed.
    fn decide(&self, check: &Check, verb: &str) -> Decision;
}

/// What `authorizer` is asked about, as far as the expression has said it.
#[derive(Clone, Default)]
pub struct Check {
    /// Who decides.
    pub by: Option<Arc<dyn Authorizer>>,
    /// Namespace and name of a service account that is asked about instead of the requester.
    pub account: Option<(Arc<str>, Arc<str>)>,
    /// A path that is no resource.
    pub path: Option<Arc<str>>,
    /// Group of a resource.
    pub group: Option<Arc<str>>,
    /// A resource in the plural.
    pub resource: Option<Arc<str>>,
    /// A part of it.
    pub subresource: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// A field selector.
    pub field_selector: Arc<str>,
    /// A label selector.
    pub label_selector: Arc<str>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("path", &self.path)
            .field("group", &self.group)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// An answer of an [`Authorizer`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// Why it could not be decided.
    pub error: Option<String>,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text.into())
    }
}

impl Value {
    /// A list without further meaning.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(List {
            items,
            merge: Merge::Atomic,
        }))
    }

    /// A map from texts.
    pub fn map(entries: impl IntoIterator<Item = (Arc<str>, Value)>) -> Value {
        let entries = entries.into_iter().map(|(k, v)| (Key::String(k), v));
        Value::Map(Arc::new(Map {
            entries: entries.collect(),
            object: None,
        }))
    }

    /// Nothing where something may be.
    pub fn none() -> Value {
        Value::Optional(None)
    }

    /// Something that might not have been.
    pub fn some(inner: Value) -> Value {
        Value::Optional(Some(Arc::new(inner)))
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether messages stand in fields of their own names: `spec: Object.spec{...}`. `path` is
    /// the name of the outermost; the error names one that does not.
    pub fn fields_match(&self, path: &str) -> Result<(), String> {
        match self {
            Value::Map(map) => {
                if let Some(name) = map.object.as_deref().filter(|name| *name != path) {
                    return Err(format!(
                        "unexpected type name \"{name}\", expected \"{path}\", which matches field name path from root Object type"
                    ));
                }
                map.entries.iter().try_for_each(|(key, value)| match key {
                    Key::String(field) if map.object.is_some() => {
                        value.fields_match(&format!("{path}.{field}"))
                    }
                    _ => value.fields_match(path),
                })
            }
            Value::List(list) => list.items.iter().try_for_each(|v| v.fields_match(path)),
            Value::Optional(Some(inner)) => inner.fields_match(path),
            _ => Ok(()),
        }
    }

    /// Type of a literal.
    pub(crate) fn static_type(&self) -> Type {
        match self {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Uint(_) => Type::Uint,
            Value::Double(_) => Type::Double,
            Value::String(_) => Type::String,
            Value::Bytes(_) => Type::Bytes,
            _ => Type::Dyn,
        }
    }

    /// Name of the type of a value.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(..) => "google.protobuf.Timestamp",
            Value::List(_) => "list",
            Value::Map(map) => map.object.as_deref().unwrap_or("map"),
            Value::Type(_) => "type",
            Value::Optional(_) => "optional_type",
            Value::Quantity(_) => "kubernetes.Quantity",
            Value::Url(_) => "kubernetes.URL",
            Value::Ip(_) => "net.IP",
            Value::Cidr(_) => "net.CIDR",
            Value::Semver(_) => "kubernetes.Semver",
            Value::Format(_) => "kubernetes.NamedFormat",
            Value::Authorizer(check) if check.path.is_some() => {
                "kubernetes.authorization.PathCheck"
            }
            Value::Authorizer(check) if check.resource.is_some() => {
                "kubernetes.authorization.ResourceCheck"
            }
            Value::Authorizer(check) if check.group.is_some() => {
                "kubernetes.authorization.GroupCheck"
            }
            Value::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Value::Decision(_) => "kubernetes.authorization.Decision",
        }
    }

    /// What costs are counted by: elements, characters, octets; one for all else.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Value::String(text) => text.chars().count() as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.items.len() as u64,
            Value::Map(map) => map.entries.len() as u64,
            Value::Ip(ip) => ip.octets() as u64,
            Value::Cidr(cidr) => u64::from(cidr.bits).div_ceil(8),
            Value::Optional(Some(inner)) => inner.size(),
            _ => 1,
        }
    }

    /// Whether it is its type's value of nothing.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Int(value) => *value == 0,
            Value::Uint(value) => *value == 0,
            Value::Double(value) => *value == 0.0,
            Value::String(text) => text.is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::Duration(nanos) => *nanos == 0,
            Value::List(list) => list.items.is_empty(),
            Value::Map(map) => map.entries.is_empty(),
            Value::Optional(inner) => inner.is_none(),
            _ => false,
        }
    }

    /// A key of a map; only some values can be one. Whole floating-point numbers look up like the
    /// numbers they are.
    pub(crate) fn key(&self) -> Option<Key> {
        Some(match self {
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Uint(value) => Key::Uint(*value),
            Value::String(text) => Key::String(text.clone()),
            _ => return None,
        })
    }
}

impl Key {
    /// The key as a value.
    pub fn value(&self) -> Value {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(value) => Value::Int(*value),
            Key::Uint(value) => Value::Uint(*value),
            Key::String(text) => Value::String(text.clone()),
        }
    }
}

impl Map {
    /// Looks up; a number finds the same number of another type.
    pub(crate) fn find(&self, key: &Value) -> Option<&Value> {
        let number: i128 = match key {
            Value::Int(n) => i128::from(*n),
            Value::Uint(n) => i128::from(*n),
            Value::Double(n) if n.fract() == 0.0 && n.abs() < 2e19 => *n as i128,
            Value::Double(_) => return None,
            other => return self.entries.get(&other.key()?),
        };
        let int = i64::try_from(number).ok().map(Key::Int);
        let uint = u64::try_from(number).ok().map(Key::Uint);
        int.and_then(|key| self.entries.get(&key))
            .or_else(|| uint.and_then(|key| self.entries.get(&key)))
    }

    /// Looks up a field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.entries.get(&Key::String(name.into()))
    }
}

/// Whether two values are the same; `work` counts what was compared.
pub(crate) fn equal(a: &Value, b: &Value, work: &mut u64) -> bool {
    *work += 1;
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => {
            *work += a.len().min(b.len()) as u64 / 16;
            a == b
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            *work += a.len().min(b.len()) as u64 / 16;
            a == b
        }
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Timestamp(a, c), Value::Timestamp(b, d)) => (a, c) == (b, d),
        (Value::List(a), Value::List(b)) => same_lists(a, b, work),
        (Value::Map(a), Value::Map(b)) => {
            a.entries.len() == b.entries.len()
                && a.entries.iter().all(|(key, value)| {
                    b.find(&key.value())
                        .is_some_and(|other| equal(value, other, work))
                })
        }
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => equal(a, b, work),
            _ => false,
        },
        (Value::Quantity(a), Value::Quantity(b)) => a == b,
        (Value::Url(a), Value::Url(b)) => a == b,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a), Value::Cidr(b)) => a == b,
        (Value::Semver(a), Value::Semver(b)) => a.order(b) == Ordering::Equal,
        (Value::Format(a), Value::Format(b)) => a == b,
        (Value::Decision(a), Value::Decision(b)) => a == b,
        _ => numbers(a, b) == Some(Ordering::Equal),
    }
}

fn same_lists(a: &List, b: &List, work: &mut u64) -> bool {
    if a.items.len() != b.items.len() {
        return false;
    }
    match &a.merge {
        Merge::Atomic => a.items.iter().zip(&b.items).all(|(a, b)| equal(a, b, work)),
        Merge::Set | Merge::Keys(_) => {
            // Neither order matters, nor can an element occur twice.
            let known: std::collections::HashSet<Vec<u8>> =
                b.items.iter().map(|item| canonical(item, work)).collect();
            a.items
                .iter()
                .all(|item| known.contains(&canonical(item, work)))
        }
    }
}

/// The same for all values that are equal, and for no others.
pub(crate) fn canonical(value: &Value, work: &mut u64) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out, work);
    out
}

fn write(value: &Value, out: &mut Vec<u8>, work: &mut u64) {
    *work += 1;
    let mut sized = |tag: u8, bytes: &[u8], out: &mut Vec<u8>| {
        *work += bytes.len() as u64 / 16;
        out.push(tag);
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::Int(n) => sized(b'i', &i128::from(*n).to_le_bytes(), out),
        Value::Uint(n) => sized(b'i', &i128::from(*n).to_le_bytes(), out),
        Value::Double(n) if n.fract() == 0.0 && n.abs() < 2e19 => {
            sized(b'i', &(*n as i128).to_le_bytes(), out)
        }
        Value::Double(n) => sized(b'd', &n.to_le_bytes(), out),
        Value::String(text) => sized(b's', text.as_bytes(), out),
        Value::Bytes(bytes) => sized(b'b', bytes, out),
        Value::List(list) => {
            let mut parts: Vec<Vec<u8>> = list
                .items
                .iter()
                .map(|item| canonical(item, work))
                .collect();
            if list.merge != Merge::Atomic {
                parts.sort();
            }
            out.push(b'l');
            out.extend((parts.len() as u64).to_le_bytes());
            out.extend(parts.concat());
        }
        Value::Map(map) => {
            let mut parts: Vec<Vec<u8>> = map
                .entries
                .iter()
                .map(|(key, value)| {
                    let mut part = canonical(&key.value(), work);
                    write(value, &mut part, work);
                    part
                })
                .collect();
            parts.sort();
            out.push(b'm');
            out.extend((parts.len() as u64).to_le_bytes());
            out.extend(parts.concat());
        }
        Value::Optional(Some(inner)) => {
            out.push(b'o');
            write(inner, out, work);
        }
        other => {
            let text = format!("{} {other:?}", other.type_name());
            sized(b'x', text.as_bytes(), out);
        }
    }
}

/// Order of two numbers of any types; none where one is no number or not comparable.
pub(crate) fn numbers(a: &Value, b: &Value) -> Option<Ordering> {
    fn whole(value: &Value) -> Option<i128> {
        match value {
            Value::Int(n) => Some(i128::from(*n)),
            Value::Uint(n) => Some(i128::from(*n)),
            _ => None,
        }
    }
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(a), b) => whole(b).and_then(|b| against(*a, b)),
        (a, Value::Double(b)) => whole(a).and_then(|a| against(*b, a)).map(Ordering::reverse),
        _ => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

// As upstream compares: beyond the range of the whole number by range, within it as doubles.
fn against(double: f64, whole: i128) -> Option<Ordering> {
    double.partial_cmp(&(whole as f64))
}

/// Order of two values of an ordered type.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a, c), Value::Timestamp(b, d)) => Some((a, c).cmp(&(b, d))),
        _ => numbers(a, b),
    }
}
