//! The shape of a variable as its schema says it: types, how lists are merged, and how large its
//! parts can be.

use super::types::{Object, Type};
use indexmap::IndexMap;
use std::sync::Arc;

/// How a list is merged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Merge {
    /// As one value; order matters.
    #[default]
    Atomic,
    /// As a set.
    Set,
    /// By these fields of its elements, spelt as in expressions.
    Keys(Arc<[Arc<str>]>),
}

/// A node of a schema.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Its type in expressions.
    pub kind: Type,
    /// Elements, entries, characters or octets at most.
    pub most: u64,
    /// Octets of its shortest text.
    pub least_bytes: u64,
    /// Fields of an object, by their names in expressions.
    pub fields: IndexMap<Arc<str>, Arc<Shape>>,
    /// Elements of a list, or values of a map.
    pub items: Option<Arc<Shape>>,
    /// Keys of a map.
    pub keys: Option<Arc<Shape>>,
    /// How a list is merged.
    pub merge: Merge,
    /// Some text with a meaning of its own (`date-time`, `duration`, `byte`, `date`).
    pub format: Option<Arc<str>>,
}

impl Shape {
    /// A value without parts.
    pub fn leaf(kind: Type, most: u64, least_bytes: u64) -> Shape {
        Shape {
            kind,
            most,
            least_bytes,
            fields: IndexMap::new(),
            items: None,
            keys: None,
            merge: Merge::Atomic,
            format: None,
        }
    }

    /// A list.
    pub fn list(items: Arc<Shape>, most: u64, merge: Merge) -> Shape {
        Shape {
            kind: Type::list(items.kind.clone()),
            most,
            least_bytes: 2,
            items: Some(items),
            merge,
            ..Shape::leaf(Type::Dyn, 0, 0)
        }
    }

    /// A map from texts.
    pub fn map(values: Arc<Shape>, most: u64) -> Shape {
        let key = Shape::leaf(Type::String, 0, 2);
        Shape {
            kind: Type::map(Type::String, values.kind.clone()),
            most,
            least_bytes: 2,
            items: Some(values),
            keys: Some(Arc::new(key)),
            ..Shape::leaf(Type::Dyn, 0, 0)
        }
    }

    /// An object with these fields.
    pub fn object(name: &str, fields: IndexMap<Arc<str>, Arc<Shape>>, least_bytes: u64) -> Shape {
        let types = fields
            .iter()
            .map(|(name, shape)| (name.clone(), shape.kind.clone()));
        let object = Object {
            name: name.to_string(),
            fields: types.collect(),
        };
        Shape {
            kind: Type::Object(Arc::new(object)),
            most: 0,
            least_bytes,
            fields,
            ..Shape::leaf(Type::Dyn, 0, 0)
        }
    }
}

/// Largest request, by which the sizes of what has no bound of its own are estimated.
pub const REQUEST_BYTES: u64 = 3 * 1024 * 1024;
