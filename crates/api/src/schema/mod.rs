//! The shape of objects: one node model for built-in kinds and for custom resources.
//!
//! Built-in schemas are read on first use from `facts/schemas.txt` ([`builtin`]); those of custom
//! resources come from their definition ([`Schema::from_crd`]). Everything that walks an object by
//! its shape (unknown fields, pruning, defaulting, both merges, OpenAPI) works on this model.

mod builtin;
mod crd;
mod decode;
mod rules;

pub use builtin::{builtin, definition, definitions_of, kind_of};
pub use decode::{coerce, metadata_error, settle, type_error};
pub use rules::{Rules, check as check_rules};

use indexmap::IndexMap;
use serde_json::Value;

/// JSON type of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Anything at all.
    #[default]
    Any,
    /// An object with known fields, a map, or a free object.
    Object,
    /// A list.
    Array,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A whole number or text.
    IntOrString,
    /// An amount: text or number, kept as text.
    Quantity,
}

/// How a list is merged by server-side apply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListType {
    /// Owned and replaced as one value.
    #[default]
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects identified by these keys.
    Map(Vec<Box<str>>),
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatchStrategy {
    /// Lists are merged instead of replaced.
    pub merge: bool,
    /// Keys the patch does not name are dropped.
    pub retain_keys: bool,
    /// The field that identifies list items.
    pub key: Option<Box<str>>,
}

/// One node.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// JSON type.
    pub kind: Kind,
    /// Format, as in OpenAPI (`int32`, `date-time`, `byte`).
    pub format: Option<Box<str>>,
    /// Known fields of an object.
    pub fields: IndexMap<Box<str>, Slot>,
    /// Fields that must be given.
    pub required: Vec<Box<str>>,
    /// Value of a map's entries.
    pub additional: Option<Box<Slot>>,
    /// Items of a list.
    pub items: Option<Box<Slot>>,
    /// How a list is merged.
    pub list: ListType,
    /// Whether an object is owned and replaced as one value.
    pub atomic_map: bool,
    /// Fields that the schema does not know are kept.
    pub preserve_unknown: bool,
    /// The object has `apiVersion`, `kind` and `metadata` of its own.
    pub embedded: bool,
    /// `null` is a value.
    pub nullable: bool,
    /// Positions of the fields that get a value when not given.
    pub defaulted: Vec<usize>,
    /// Name of the built-in definition; empty for custom resources.
    pub name: &'static str,
    /// Value rules of a custom resource.
    pub rules: Option<Box<Rules>>,
}

/// A place that holds a value of some schema, with what is said about the place itself.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    target: Target,
    /// The definition that an adapted copy in `target` stands for.
    named: Option<usize>,
    /// Value used when the place is empty.
    pub default: Option<Value>,
    /// Value a built-in kind gets here though its published schema does not say so.
    pub fill: Option<Value>,
    /// A zero value counts as not given and is not stored.
    pub omit_zero: bool,
    /// Stored as its zero value when not given.
    pub emit_zero: bool,
    /// A structure that is present, empty, when not given.
    pub always: bool,
    /// Strategic merge patch rules.
    pub patch: PatchStrategy,
    /// Values upstream's type allows, for text of built-in kinds.
    pub allowed: Vec<&'static str>,
}

#[derive(Debug, Clone)]
enum Target {
    Inline(Box<Schema>),
    Named(usize),
}

impl Default for Target {
    fn default() -> Self {
        Target::Inline(Box::default())
    }
}

impl Slot {
    /// A place for values of `schema`.
    pub fn of(schema: Schema) -> Self {
        Slot {
            target: Target::Inline(Box::new(schema)),
            ..Slot::default()
        }
    }

    fn named(index: usize) -> Self {
        Slot {
            target: Target::Named(index),
            ..Slot::default()
        }
    }

    /// The zero value of what is here, as upstream writes it.
    pub fn zero(&self) -> Value {
        let schema = self.schema();
        match schema.kind {
            Kind::String if schema.format.is_none() => "".into(),
            Kind::Integer | Kind::Number | Kind::IntOrString => 0.into(),
            Kind::Boolean => false.into(),
            Kind::Quantity => "0".into(),
            _ => Value::Null,
        }
    }

    /// The shape of what is here.
    pub fn schema(&self) -> &Schema {
        match &self.target {
            Target::Inline(schema) => schema,
            Target::Named(index) => builtin::at(*index),
        }
    }

    /// Name of the built-in definition this refers to.
    pub fn reference(&self) -> Option<&'static str> {
        match &self.target {
            Target::Inline(_) => self.named.map(builtin::name),
            Target::Named(index) => Some(builtin::name(*index)),
        }
    }
}

impl Schema {
    /// The slot of a field: a known one, or the map's entry type.
    pub fn field(&self, name: &str) -> Option<&Slot> {
        self.fields.get(name).or(self.additional.as_deref())
    }

    /// Whether fields beyond the known ones are allowed here without being looked at.
    pub fn is_open(&self) -> bool {
        self.preserve_unknown
            || (self.fields.is_empty()
                && self.additional.is_none()
                && matches!(self.kind, Kind::Any | Kind::Object)
                && !self.embedded
                && !self.rules.as_ref().is_some_and(|rules| rules.closed))
    }

    /// The keys of a list of identified objects; empty for other lists.
    pub fn list_keys(&self) -> &[Box<str>] {
        match &self.list {
            ListType::Map(keys) => keys,
            _ => &[],
        }
    }
}
