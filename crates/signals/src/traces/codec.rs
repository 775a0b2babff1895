//! Spans of one trace in bytes, as the log and the head keep them, and the pieces that columns
//! share.

use std::collections::HashMap;
use std::sync::Arc;

use towpath_query::traceql::{
    Attributes, Event, Kind, Link, Resource, Scope, Span, SpanId, Status, Trace, Value,
};

use towpath_stdx::texts::shared;

use crate::bytes::{Cursor, put_bytes, put_uvarint, put_varint};

/// Values nest no deeper; what is below is left out.
pub(super) const DEPTH_MAX: usize = 16;

/// Adds a value.
pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) {
    put_nested(out, value, DEPTH_MAX);
}

fn put_nested(out: &mut Vec<u8>, value: &Value, depth: usize) {
    match value {
        Value::Bool(no_or_yes) => out.push(1 + u8::from(*no_or_yes)),
        Value::Int(n) | Value::Duration(n) => {
            out.push(3);
            put_varint(out, *n);
        }
        Value::Float(n) => {
            out.push(4);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Value::Text(text) => {
            out.push(5);
            put_bytes(out, text.as_bytes());
        }
        Value::List(values) if depth > 0 => {
            out.push(6);
            put_uvarint(out, values.len() as u64);
            values.iter().for_each(|v| put_nested(out, v, depth - 1));
        }
        Value::Map(pairs) if depth > 0 => {
            out.push(7);
            put_uvarint(out, pairs.len() as u64);
            for (name, value) in pairs.iter() {
                put_bytes(out, name.as_bytes());
                put_nested(out, value, depth - 1);
            }
        }
        Value::Bytes(bytes) => {
            out.push(8);
            put_bytes(out, bytes);
        }
        _ => out.push(0),
    }
}

/// Reads a value.
pub(super) fn value(from: &mut Cursor<'_>) -> Option<Value> {
    nested(from, DEPTH_MAX)
}

fn nested(from: &mut Cursor<'_>, depth: usize) -> Option<Value> {
    Some(match from.u8()? {
        0 => Value::Nil,
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        3 => Value::Int(from.varint()?),
        4 => Value::Float(f64::from_le_bytes(from.take(8)?.try_into().ok()?)),
        5 => Value::text(from.text()?),
        6 if depth > 0 => {
            let count = from.count()?;
            let values = (0..count).map(|_| nested(from, depth - 1));
            Value::List(values.collect::<Option<Vec<_>>>()?.into())
        }
        7 if depth > 0 => {
            let count = from.count()?;
            let pairs = (0..count).map(|_| {
                let name = shared(from.text()?);
                Some((name, nested(from, depth - 1)?))
            });
            Value::Map(pairs.collect::<Option<Vec<_>>>()?.into())
        }
        8 => Value::Bytes(from.bytes()?.into()),
        _ => return None,
    })
}

pub(super) fn put_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    put_uvarint(out, attributes.len() as u64);
    for (name, value) in attributes {
        put_bytes(out, name.as_bytes());
        put_value(out, value);
    }
}

pub(super) fn attributes(from: &mut Cursor<'_>) -> Option<Attributes> {
    let count = from.count()?;
    let pairs = (0..count).map(|_| Some((shared(from.text()?), value(from)?)));
    pairs.collect()
}

pub(super) fn put_resource(out: &mut Vec<u8>, resource: &Resource) {
    put_attributes(out, &resource.attributes);
    put_uvarint(out, resource.dropped_attributes.into());
}

pub(super) fn resource(from: &mut Cursor<'_>) -> Option<Resource> {
    Some(Resource {
        attributes: attributes(from)?,
        dropped_attributes: u32::try_from(from.uvarint()?).ok()?,
    })
}

pub(super) fn put_scope(out: &mut Vec<u8>, scope: &Scope) {
    put_bytes(out, scope.name.as_bytes());
    put_bytes(out, scope.version.as_bytes());
    put_attributes(out, &scope.attributes);
}

pub(super) fn scope(from: &mut Cursor<'_>) -> Option<Scope> {
    Some(Scope {
        name: shared(from.text()?),
        version: shared(from.text()?),
        attributes: attributes(from)?,
    })
}

pub(super) fn put_events(out: &mut Vec<u8>, span: &Span) {
    put_uvarint(out, span.events.len() as u64);
    for event in &span.events {
        put_varint(out, event.time_ns.wrapping_sub(span.start_ns) as i64);
        put_bytes(out, event.name.as_bytes());
        put_attributes(out, &event.attributes);
        put_uvarint(out, event.dropped_attributes.into());
    }
}

pub(super) fn events(from: &mut Cursor<'_>, start_ns: u64) -> Option<Vec<Event>> {
    let count = from.count()?;
    let all = (0..count).map(|_| {
        Some(Event {
            time_ns: start_ns.wrapping_add(from.varint()? as u64),
            name: shared(from.text()?),
            attributes: attributes(from)?,
            dropped_attributes: u32::try_from(from.uvarint()?).ok()?,
        })
    });
    all.collect()
}

pub(super) fn put_links(out: &mut Vec<u8>, links: &[Link]) {
    put_uvarint(out, links.len() as u64);
    for link in links {
        out.extend_from_slice(&link.trace_id);
        out.extend_from_slice(&link.span_id);
        put_bytes(out, link.trace_state.as_bytes());
        put_attributes(out, &link.attributes);
    }
}

pub(super) fn links(from: &mut Cursor<'_>) -> Option<Vec<Link>> {
    let count = from.count()?;
    let all = (0..count).map(|_| {
        Some(Link {
            trace_id: from.take(16)?.try_into().ok()?,
            span_id: from.take(8)?.try_into().ok()?,
            trace_state: shared(from.text()?),
            attributes: attributes(from)?,
        })
    });
    all.collect()
}

pub(super) fn put_codes(out: &mut Vec<u8>, span: &Span) {
    out.push((span.kind.code() as u8) << 4 | span.status.code() as u8);
}

pub(super) fn codes(byte: u8) -> (Kind, Status) {
    let status = Status::from_code(i32::from(byte & 15));
    (Kind::from_code(i32::from(byte >> 4)), status)
}

/// Things that many spans share, each once.
pub(super) struct Shared<T> {
    all: Vec<Arc<T>>,
    by_address: HashMap<*const T, usize>,
}

impl<T: PartialEq> Shared<T> {
    pub(super) fn new() -> Self {
        Self {
            all: Vec::new(),
            by_address: HashMap::new(),
        }
    }

    /// The number of a thing; equal things have the same.
    pub(super) fn number(&mut self, thing: &Arc<T>) -> usize {
        if let Some(found) = self.by_address.get(&Arc::as_ptr(thing)) {
            return *found;
        }
        let known = self.all.iter().rev().take(64).position(|own| own == thing);
        let number = match known {
            Some(back) => self.all.len() - 1 - back,
            None => {
                self.all.push(Arc::clone(thing));
                self.all.len() - 1
            }
        };
        // What is kept in the list keeps its address; what is not may be gone at once.
        if known.is_none() {
            self.by_address.insert(Arc::as_ptr(thing), number);
        }
        number
    }

    pub(super) fn all(&self) -> &[Arc<T>] {
        &self.all
    }
}

/// Adds a trace, or a part of one.
pub(super) fn put_trace(out: &mut Vec<u8>, trace: &Trace) {
    let (mut resources, mut scopes) = (Shared::new(), Shared::new());
    let mut spans = Vec::with_capacity(trace.spans.len() * 128);
    for span in &trace.spans {
        put_uvarint(&mut spans, resources.number(&span.resource) as u64);
        put_uvarint(&mut spans, scopes.number(&span.scope) as u64);
        put_span(&mut spans, span);
    }
    out.extend_from_slice(&trace.id);
    put_uvarint(out, resources.all().len() as u64);
    resources.all().iter().for_each(|r| put_resource(out, r));
    put_uvarint(out, scopes.all().len() as u64);
    scopes.all().iter().for_each(|s| put_scope(out, s));
    put_uvarint(out, trace.spans.len() as u64);
    out.extend_from_slice(&spans);
}

fn put_span(out: &mut Vec<u8>, span: &Span) {
    out.extend_from_slice(&span.id);
    out.extend_from_slice(&span.parent_id);
    put_codes(out, span);
    put_bytes(out, span.name.as_bytes());
    put_bytes(out, span.status_message.as_bytes());
    put_bytes(out, span.trace_state.as_bytes());
    out.extend_from_slice(&span.start_ns.to_le_bytes());
    put_uvarint(out, span.duration_ns);
    put_attributes(out, &span.attributes);
    put_events(out, span);
    put_links(out, &span.links);
}

/// Reads a trace, or a part of one; `None` where the bytes make no sense.
pub(super) fn trace(bytes: &[u8]) -> Option<Trace> {
    let mut from = Cursor::new(bytes);
    let id = from.take(16)?.try_into().ok()?;
    let count = from.count()?;
    let resources = (0..count).map(|_| resource(&mut from).map(Arc::new));
    let resources: Vec<Arc<Resource>> = resources.collect::<Option<_>>()?;
    let count = from.count()?;
    let scopes = (0..count).map(|_| scope(&mut from).map(Arc::new));
    let scopes: Vec<Arc<Scope>> = scopes.collect::<Option<_>>()?;
    let count = from.count()?;
    let spans = (0..count).map(|_| span(&mut from, &resources, &scopes));
    Some(Trace {
        id,
        spans: spans.collect::<Option<_>>()?,
    })
}

fn span(from: &mut Cursor<'_>, resources: &[Arc<Resource>], scopes: &[Arc<Scope>]) -> Option<Span> {
    let resource = resources.get(usize::try_from(from.uvarint()?).ok()?)?;
    let scope = scopes.get(usize::try_from(from.uvarint()?).ok()?)?;
    let id: SpanId = from.take(8)?.try_into().ok()?;
    let parent_id: SpanId = from.take(8)?.try_into().ok()?;
    let (kind, status) = codes(from.u8()?);
    let name = shared(from.text()?);
    let status_message = shared(from.text()?);
    let trace_state = shared(from.text()?);
    let start_ns = u64::from_le_bytes(from.take(8)?.try_into().ok()?);
    Some(Span {
        id,
        parent_id,
        name,
        kind,
        status,
        status_message,
        start_ns,
        duration_ns: from.uvarint()?,
        trace_state,
        attributes: attributes(from)?,
        events: events(from, start_ns)?,
        links: links(from)?,
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
    })
}
