//! What occurs in a group of spans: labels with values that tell their type.

use std::collections::{BTreeMap, BTreeSet};

use towpath_query::traceql::{AttributeScope, Attributes, Value};

use super::codec;
use super::column::Distinct;
use super::group::SPAN;
use crate::bytes::Cursor;

/// Values of one label of a group that are told.
const VALUES_MAX: usize = 512;
/// The longest value that is told, in bytes.
const VALUE_MAX: usize = 256;
/// Stands for values that are not told.
pub(super) const MANY: &str = "*";

/// A value as the index has it; `None` for those it does not have.
pub(super) fn index_value(value: &Value) -> Option<String> {
    Some(match value {
        Value::Text(text) if text.len() <= VALUE_MAX => format!("s:{text}"),
        Value::Int(n) => format!("n:{n}"),
        Value::Float(n) if n.fract() == 0.0 && n.abs() < 9e15 => format!("n:{}", *n as i64),
        Value::Float(n) => format!("n:{n}"),
        Value::Bool(yes) => format!("b:{yes}"),
        Value::Status(status) => format!("k:{}", status.name()),
        Value::Kind(kind) => format!("k:{}", kind.name()),
        _ => return None,
    })
}

/// The values of a label.
#[derive(Default)]
struct Values(BTreeSet<String>);

impl Values {
    fn add(&mut self, value: &Value) {
        if let Value::List(values) = value {
            values.iter().for_each(|value| self.add_one(value));
        } else {
            self.add_one(value);
        }
    }

    fn add_one(&mut self, value: &Value) {
        let told = (self.0.len() < VALUES_MAX).then(|| index_value(value));
        match told.flatten() {
            Some(told) => drop(self.0.insert(told)),
            None if self.0.contains(MANY) => {}
            None => drop(self.0.insert(MANY.into())),
        }
    }

    /// Whether nothing that is added changes them.
    fn is_full(&self) -> bool {
        self.0.len() >= VALUES_MAX && self.0.contains(MANY)
    }
}

/// What occurs in a group.
#[derive(Default)]
pub(super) struct Index(BTreeMap<String, Values>);

impl Index {
    fn add(&mut self, label: &str, value: &Value) {
        if !self.0.contains_key(label) {
            self.0.insert(label.to_string(), Values::default());
        }
        if let Some(values) = self.0.get_mut(label) {
            values.add(value);
        }
    }

    fn attributes(&mut self, scope: AttributeScope, attributes: &Attributes) {
        for (name, value) in attributes {
            self.add(&format!("{}.{name}", scope.name()), value);
        }
    }

    /// Adds values under one label; what makes no sense among them is passed over.
    fn all<'v>(
        &mut self,
        label: &str,
        values: impl Iterator<Item = &'v [u8]>,
        read: impl Fn(&'v [u8]) -> Option<Value>,
    ) {
        let of = self.0.entry(label.to_string()).or_default();
        for value in values.filter_map(read) {
            of.add(&value);
            if of.is_full() {
                return;
            }
        }
    }

    /// Adds what occurs in a column of a group.
    pub(super) fn column(&mut self, column: &str, values: &Distinct) {
        match column {
            "name" | "statusMessage" => {
                let text = |value| Some(Value::text(String::from_utf8_lossy(value)));
                self.all(column, values.iter(), text);
            }
            "codes" => {
                let codes = |value: &[u8]| codec::codes(value.first().copied().unwrap_or(0));
                let kind = |value| Some(Value::Kind(codes(value).0));
                let status = |value| Some(Value::Status(codes(value).1));
                self.all("kind", values.iter(), kind);
                self.all("status", values.iter(), status);
            }
            "events" => {
                // Times are of no matter here.
                let read = |value| codec::events(&mut Cursor::new(value), 0);
                for event in values.iter().filter_map(read).flatten() {
                    self.add("event:name", &Value::Text(event.name));
                    self.attributes(AttributeScope::Event, &event.attributes);
                }
            }
            "links" => {
                let read = |value| codec::links(&mut Cursor::new(value));
                for link in values.iter().filter_map(read).flatten() {
                    self.attributes(AttributeScope::Link, &link.attributes);
                }
            }
            _ if column.starts_with(SPAN) => {
                self.all(column, values.iter(), |value| {
                    codec::value(&mut Cursor::new(value))
                });
            }
            _ => {}
        }
    }

    /// Adds what occurs in resources.
    pub(super) fn resources(&mut self, all: &Distinct) {
        let read = |bytes| codec::resource(&mut Cursor::new(bytes));
        for resource in all.iter().filter_map(read) {
            self.attributes(AttributeScope::Resource, &resource.attributes);
        }
    }

    /// Adds what occurs in scopes.
    pub(super) fn scopes(&mut self, all: &Distinct) {
        let read = |bytes| codec::scope(&mut Cursor::new(bytes));
        for scope in all.iter().filter_map(read) {
            self.attributes(AttributeScope::Instrumentation, &scope.attributes);
            if !scope.name.is_empty() {
                self.add("instrumentation:name", &Value::Text(scope.name));
            }
        }
    }

    /// All labels with each of their values, in order.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(label, values)| {
            let values = values.0.iter();
            values.map(move |value| (label.as_str(), value.as_str()))
        })
    }
}
