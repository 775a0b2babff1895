//! What the fields of a span are.

use crate::traceql::ast::{AttributeScope, Field, Intrinsic};
use crate::traceql::model::{Attributes, Place, Span, Summary, Trace, find};
use crate::traceql::value::Value;
use std::cell::OnceCell;

/// A trace as expressions see it.
pub(in crate::traceql) struct View<'a> {
    pub(in crate::traceql) trace: &'a Trace,
    places: OnceCell<Vec<Place>>,
    summary: OnceCell<Summary>,
}

impl<'a> View<'a> {
    pub(in crate::traceql) fn new(trace: &'a Trace) -> Self {
        Self {
            trace,
            places: OnceCell::new(),
            summary: OnceCell::new(),
        }
    }

    pub(in crate::traceql) fn places(&self) -> &[Place] {
        self.places.get_or_init(|| self.trace.places())
    }

    pub(in crate::traceql) fn summary(&self) -> &Summary {
        self.summary.get_or_init(|| self.trace.summary())
    }

    pub(in crate::traceql) fn span(&self, at: u32) -> &'a Span {
        &self.trace.spans[at as usize]
    }

    pub(in crate::traceql) fn field(&self, field: &Field, at: u32) -> Value {
        match field {
            Field::Intrinsic(intrinsic) => self.intrinsic(*intrinsic, at),
            Field::Attribute {
                parent: false,
                scope,
                name,
            } => attribute(self.span(at), *scope, name),
            Field::Attribute { scope, name, .. } => {
                let parent = self.places()[at as usize].parent_index;
                parent.map_or(Value::Nil, |p| attribute(self.span(p), *scope, name))
            }
        }
    }

    fn intrinsic(&self, intrinsic: Intrinsic, at: u32) -> Value {
        let span = self.span(at);
        let ns = |ns: u64| Value::Duration(i64::try_from(ns).unwrap_or(i64::MAX));
        let place = || self.places()[at as usize];
        match intrinsic {
            Intrinsic::Duration => ns(span.duration_ns),
            Intrinsic::ChildCount => Value::Int(place().children.into()),
            Intrinsic::Name => Value::Text(span.name.clone()),
            Intrinsic::Status => Value::Status(span.status),
            Intrinsic::StatusMessage => Value::Text(span.status_message.clone()),
            Intrinsic::Kind => Value::Kind(span.kind),
            Intrinsic::SpanId => hex(&span.id),
            Intrinsic::ParentId if span.is_root() => Value::text(""),
            Intrinsic::ParentId => hex(&span.parent_id),
            Intrinsic::TraceDuration => ns(self.summary().duration_ns),
            Intrinsic::RootName => Value::Text(self.summary().root_name.clone()),
            Intrinsic::RootService => Value::Text(self.summary().root_service.clone()),
            Intrinsic::TraceId => hex(&self.trace.id),
            Intrinsic::NestedSetLeft => Value::Int(place().left.into()),
            Intrinsic::NestedSetRight => Value::Int(place().right.into()),
            Intrinsic::NestedSetParent => Value::Int(place().parent.into()),
            Intrinsic::EventName => list(span.events.iter().map(|e| Value::Text(e.name.clone()))),
            Intrinsic::EventTime => {
                let since = |time: u64| ns(time.saturating_sub(span.start_ns));
                list(span.events.iter().map(|e| since(e.time_ns)))
            }
            Intrinsic::LinkTraceId => list(span.links.iter().map(|l| hex(&l.trace_id))),
            Intrinsic::LinkSpanId => list(span.links.iter().map(|l| hex(&l.span_id))),
            Intrinsic::InstrumentationName => Value::Text(span.scope.name.clone()),
            Intrinsic::InstrumentationVersion => Value::Text(span.scope.version.clone()),
        }
    }
}

/// The only value alone, several as a list, none as nil.
fn list(values: impl Iterator<Item = Value>) -> Value {
    let mut values: Vec<Value> = values.collect();
    match values.len() {
        0 => Value::Nil,
        1 => values.remove(0),
        _ => Value::List(values.into()),
    }
}

fn hex(bytes: &[u8]) -> Value {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |d: u8| char::from(DIGITS[usize::from(d & 15)]);
    let text: String = bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(*b)])
        .collect();
    Value::text(text)
}

fn attribute(span: &Span, scope: AttributeScope, name: &str) -> Value {
    let own = |attributes: &Attributes| find(attributes, name).cloned().unwrap_or_default();
    let all = |each: &mut dyn Iterator<Item = &Attributes>| {
        list(each.filter_map(|attributes| find(attributes, name).cloned()))
    };
    match scope {
        AttributeScope::Span => own(&span.attributes),
        AttributeScope::Resource => own(&span.resource.attributes),
        AttributeScope::Instrumentation => own(&span.scope.attributes),
        AttributeScope::Event => all(&mut span.events.iter().map(|e| &e.attributes)),
        AttributeScope::Link => all(&mut span.links.iter().map(|l| &l.attributes)),
        AttributeScope::Any => {
            let scopes = [
                AttributeScope::Span,
                AttributeScope::Resource,
                AttributeScope::Event,
                AttributeScope::Link,
                AttributeScope::Instrumentation,
            ];
            let mut values = scopes.into_iter().map(|scope| attribute(span, scope, name));
            values
                .find(|value| *value != Value::Nil)
                .unwrap_or_default()
        }
    }
}
