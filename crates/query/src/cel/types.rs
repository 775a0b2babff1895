//! Types of expressions, and which may stand for which.

use indexmap::IndexMap;
use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Anything; checked when it is evaluated.
    Dyn,
    /// Follows a finding, so that one mistake is told once.
    Error,
    /// Only `null`.
    Null,
    /// True or false.
    Bool,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    Uint,
    /// IEEE 754, 64 bits.
    Double,
    /// Unicode text.
    String,
    /// Octets.
    Bytes,
    /// A span of time.
    Duration,
    /// A point in time.
    Timestamp,
    /// A list.
    List(Arc<Type>),
    /// A map.
    Map(Arc<Type>, Arc<Type>),
    /// A value that may be absent.
    Optional(Arc<Type>),
    /// A type as a value.
    Type(Arc<Type>),
    /// An object with known fields.
    Object(Arc<Object>),
    /// A type of a library.
    Library(&'static str),
    /// A type that is not known yet.
    Param(u32),
}

/// The fields of an object, by the names expressions use.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// Name in messages.
    pub name: String,
    /// Types of the fields.
    pub fields: IndexMap<Arc<str>, Type>,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.name == other.name && self.fields == other.fields
    }
}

impl Type {
    /// A list of these.
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    /// A map to these.
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    /// One of these or nothing.
    pub fn optional(inner: Type) -> Type {
        Type::Optional(Arc::new(inner))
    }

    /// The type in messages about expressions.
    pub(crate) fn told(&self) -> String {
        match self {
            Type::Null => "null".into(),
            Type::Duration => "duration".into(),
            Type::Timestamp => "timestamp".into(),
            Type::List(item) => format!("list({})", item.told()),
            Type::Map(key, value) => format!("map({}, {})", key.told(), value.told()),
            Type::Optional(inner) => format!("optional_type({})", inner.told()),
            Type::Type(inner) => format!("type({})", inner.told()),
            other => other.to_string(),
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// Whether values have one size.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Type::Bool
            | Type::Int
            | Type::Uint
            | Type::Double
            | Type::Duration
            | Type::Timestamp => true,
            Type::Optional(inner) => inner.is_scalar(),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Error => f.write_str("!error!"),
            Type::Null => f.write_str("null_type"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Duration => f.write_str("google.protobuf.Duration"),
            Type::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Optional(inner) => write!(f, "optional_type({inner})"),
            Type::Type(inner) => write!(f, "type({inner})"),
            Type::Object(object) => f.write_str(&object.name),
            Type::Library(name) => f.write_str(name),
            Type::Param(number) => write!(f, "_var{number}"),
        }
    }
}

/// What is known of the open types.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    found: Vec<Option<Type>>,
}

impl Known {
    pub(crate) fn fresh(&mut self) -> u32 {
        self.found.push(None);
        self.found.len() as u32 - 1
    }

    fn get(&self, number: u32) -> Option<&Type> {
        self.found.get(number as usize)?.as_ref()
    }

    fn set(&mut self, number: u32, to: Type) {
        if let Some(slot) = self.found.get_mut(number as usize) {
            *slot = Some(to);
        }
    }

    /// Puts what is known in; what is open becomes `dyn` where `settle` says so.
    pub(crate) fn fill(&self, of: &Type, settle: bool) -> Type {
        match of {
            Type::Param(number) => match self.get(*number) {
                Some(found) => self.fill(found, settle),
                None if settle => Type::Dyn,
                None => of.clone(),
            },
            Type::List(item) => Type::list(self.fill(item, settle)),
            Type::Map(key, value) => Type::map(self.fill(key, settle), self.fill(value, settle)),
            Type::Optional(inner) => Type::optional(self.fill(inner, settle)),
            Type::Type(inner) => Type::Type(Arc::new(self.fill(inner, settle))),
            other => other.clone(),
        }
    }

    /// Whether every given type may be used where the wanted one stands; what is learnt on the way
    /// is kept only then.
    pub(crate) fn assignable(&mut self, given: &[Type], wanted: &[Type]) -> bool {
        let before = self.found.clone();
        let fits =
            given.len() == wanted.len() && given.iter().zip(wanted).all(|(a, b)| self.fits(a, b));
        if !fits {
            self.found = before;
        }
        fits
    }

    fn fits(&mut self, given: &Type, wanted: &Type) -> bool {
        if let Type::Param(number) = wanted {
            let (valid, known) = self.stands_for(given, *number);
            if valid || known {
                return valid;
            }
        }
        if let Type::Param(number) = given {
            return self.stands_for(wanted, *number).0;
        }
        if given.is_dyn() || wanted.is_dyn() {
            return true;
        }
        let nullable = |t: &Type| {
            matches!(
                t,
                Type::Null
                    | Type::Optional(_)
                    | Type::Object(_)
                    | Type::Library(_)
                    | Type::Duration
                    | Type::Timestamp
            )
        };
        match (given, wanted) {
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.fits(a, b)
            }
            (Type::Map(a, c), Type::Map(b, d)) => self.fits(a, b) && self.fits(c, d),
            (a, b) => a == b,
        }
    }

    // Whether the type may stand for the open one, and whether that was known already.
    fn stands_for(&mut self, given: &Type, number: u32) -> (bool, bool) {
        if *given == Type::Param(number) {
            return (true, true);
        }
        match self.get(number).cloned() {
            Some(found) => {
                if found == *given {
                    return (true, true);
                }
                if !self.fits(given, &found) {
                    return (false, true);
                }
                let general = most_general(given, &found).clone();
                if !self.mentions(number, &general) {
                    self.set(number, general);
                }
                (true, true)
            }
            None if self.mentions(number, given) => (false, false),
            None => {
                self.set(number, given.clone());
                (true, false)
            }
        }
    }

    fn mentions(&self, number: u32, within: &Type) -> bool {
        match within {
            Type::Param(other) if *other == number => true,
            Type::Param(other) => self
                .get(*other)
                .is_some_and(|found| self.mentions(number, found)),
            Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => {
                self.mentions(number, inner)
            }
            Type::Map(key, value) => self.mentions(number, key) || self.mentions(number, value),
            _ => false,
        }
    }
}

/// The less specific of two types that fit each other.
pub(crate) fn most_general<'a>(a: &'a Type, b: &'a Type) -> &'a Type {
    if no_more_specific(a, b) { a } else { b }
}

fn no_more_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
            no_more_specific(a, b)
        }
        (Type::Map(a, c), Type::Map(b, d)) => no_more_specific(a, b) && no_more_specific(c, d),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}
