//! Which attributes there are, and which values they have.

use std::collections::{BTreeMap, BTreeSet};

use towpath_query::traceql::{AttributeScope, Attributes, Field, Intrinsic, Span, Value};

use super::index::{MANY, index_value};
use super::store::Store;
use crate::segment::SegmentError;

/// The most values that are told.
const VALUES_MAX: usize = 10_000;

/// A value of an attribute, as far as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagValue {
    /// `string`, `int`, `float`, `bool` or `keyword`.
    pub kind: &'static str,
    /// The value as text.
    pub text: String,
}

fn tag_value(told: &str) -> Option<TagValue> {
    let (tag, text) = told.split_once(':')?;
    let kind = match tag {
        "s" => "string",
        "n" if text.parse::<i64>().is_ok() => "int",
        "n" => "float",
        "b" => "bool",
        _ => "keyword",
    };
    Some(TagValue {
        kind,
        text: text.into(),
    })
}

fn each_scope(span: &Span, mut f: impl FnMut(AttributeScope, &Attributes)) {
    f(AttributeScope::Span, &span.attributes);
    f(AttributeScope::Resource, &span.resource.attributes);
    f(AttributeScope::Instrumentation, &span.scope.attributes);
    span.events
        .iter()
        .for_each(|e| f(AttributeScope::Event, &e.attributes));
    span.links
        .iter()
        .for_each(|l| f(AttributeScope::Link, &l.attributes));
}

impl Store {
    fn live_spans(&self, start_ns: u64, end_ns: u64, mut f: impl FnMut(&Span)) {
        for (id, all) in self.live(start_ns, end_ns) {
            for live in all {
                live.trace(id).spans.iter().for_each(&mut f);
            }
        }
    }

    /// Names of attributes by their scope, in an interval in nanoseconds since the epoch.
    ///
    /// # Errors
    /// A block cannot be read.
    pub fn tags(
        &self,
        start_ns: u64,
        end_ns: u64,
    ) -> Result<BTreeMap<AttributeScope, BTreeSet<String>>, SegmentError> {
        let mut tags: BTreeMap<AttributeScope, BTreeSet<String>> = BTreeMap::new();
        self.live_spans(start_ns, end_ns, |span| {
            each_scope(span, |scope, attributes| {
                for (name, _) in attributes {
                    tags.entry(scope).or_default().insert(name.to_string());
                }
            });
        });
        for block in self.blocks(start_ns, end_ns) {
            block.reader.names(|label| {
                let scoped = label.split_once('.');
                let scoped = scoped.and_then(|(s, name)| Some((AttributeScope::named(s)?, name)));
                if let Some((scope, name)) = scoped {
                    tags.entry(scope).or_default().insert(name.to_string());
                }
            })?;
        }
        Ok(tags)
    }

    /// Values of a field in an interval, in order; whether there are more.
    ///
    /// # Errors
    /// A block cannot be read.
    pub fn tag_values(
        &self,
        field: &Field,
        start_ns: u64,
        end_ns: u64,
    ) -> Result<(Vec<TagValue>, bool), SegmentError> {
        let mut told: BTreeSet<String> = BTreeSet::new();
        let mut more = false;
        let mut tell = |value: &str| match value {
            MANY => more = true,
            _ if told.len() >= VALUES_MAX => more = true,
            value => drop(told.insert(value.to_string())),
        };
        self.live_spans(start_ns, end_ns, |span| {
            values(field, span, &mut |value| {
                if let Some(value) = index_value(value) {
                    tell(&value);
                }
            });
        });
        let labels = labels(field);
        for block in self.blocks(start_ns, end_ns) {
            for label in &labels {
                block.reader.values(label, &mut tell)?;
            }
        }
        Ok((told.iter().filter_map(|t| tag_value(t)).collect(), more))
    }
}

/// Labels of the index with the values of a field.
fn labels(field: &Field) -> Vec<String> {
    match field {
        // The root's name and service are among the names and services.
        Field::Intrinsic(Intrinsic::RootName) => vec!["name".into()],
        Field::Intrinsic(Intrinsic::RootService) => vec!["resource.service.name".into()],
        Field::Intrinsic(intrinsic) => vec![intrinsic.name().into()],
        Field::Attribute { scope, name, .. } => {
            let all = ["span", "resource", "event", "link", "instrumentation"];
            let any = *scope == AttributeScope::Any;
            let named = all.into_iter().filter(|own| any || *own == scope.name());
            named.map(|scope| format!("{scope}.{name}")).collect()
        }
    }
}

fn values(field: &Field, span: &Span, f: &mut dyn FnMut(&Value)) {
    match field {
        Field::Intrinsic(intrinsic) => match intrinsic {
            Intrinsic::Name => f(&Value::Text(span.name.clone())),
            Intrinsic::RootName if span.is_root() => f(&Value::Text(span.name.clone())),
            Intrinsic::RootService if span.is_root() => f(&Value::text(span.resource.service())),
            Intrinsic::Status => f(&Value::Status(span.status)),
            Intrinsic::Kind => f(&Value::Kind(span.kind)),
            Intrinsic::StatusMessage if !span.status_message.is_empty() => {
                f(&Value::Text(span.status_message.clone()));
            }
            Intrinsic::EventName => {
                span.events
                    .iter()
                    .for_each(|e| f(&Value::Text(e.name.clone())));
            }
            Intrinsic::InstrumentationName if !span.scope.name.is_empty() => {
                f(&Value::Text(span.scope.name.clone()));
            }
            _ => {}
        },
        Field::Attribute { scope, name, .. } => each_scope(span, |own, attributes| {
            if *scope != AttributeScope::Any && *scope != own {
                return;
            }
            let found = attributes.iter().filter(|(own, _)| **own == **name);
            found.for_each(|(_, value)| match value {
                Value::List(values) => values.iter().for_each(&mut *f),
                value => f(value),
            });
        }),
    }
}
