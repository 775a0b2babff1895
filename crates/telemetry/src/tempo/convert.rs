//! Between the protocol's messages and the spans of the store.

use crate::otlp::message::{
    AnyValue, ArrayValue, Event as WireEvent, InstrumentationScope, KeyValue, KeyValueList,
    Link as WireLink, Resource as WireResource, ResourceSpans, ScopeSpans, Span as WireSpan,
    Status as WireStatus, any_value,
};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use towpath_query::traceql::{
    Attributes, Event, Kind, Link, Resource, Scope, Span, SpanId, Status, Trace, TraceId, Value,
};
use towpath_stdx::texts::shared;

/// Traces of what was sent, and how many spans are none.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    pub(super) traces: Vec<Trace>,
    pub(super) rejected: usize,
    pub(super) why: String,
}

/// Sorts spans by their trace.
pub(super) fn incoming(all: Vec<ResourceSpans>) -> Incoming {
    let mut traces: HashMap<TraceId, Vec<Span>> = HashMap::new();
    let mut done = Incoming::default();
    for part in all {
        let sent = part.resource.unwrap_or_default();
        let resource = Arc::new(Resource {
            attributes: attributes(sent.attributes),
            dropped_attributes: sent.dropped_attributes_count,
        });
        for library in part.scope_spans {
            let sent = library.scope.unwrap_or_default();
            let scope = Arc::new(Scope {
                name: shared(&sent.name),
                version: shared(&sent.version),
                attributes: attributes(sent.attributes),
            });
            for sent in library.spans {
                match span(sent, &resource, &scope) {
                    Ok((id, span)) => traces.entry(id).or_default().push(span),
                    Err(why) => {
                        done.rejected += 1;
                        done.why = why.into();
                    }
                }
            }
        }
    }
    let traces = traces.into_iter().map(|(id, spans)| Trace { id, spans });
    done.traces = traces.collect();
    done
}

fn span(
    sent: WireSpan,
    resource: &Arc<Resource>,
    scope: &Arc<Scope>,
) -> Result<(TraceId, Span), &'static str> {
    let trace_id = id::<16>(&sent.trace_id).filter(|id| *id != TraceId::default());
    let trace_id = trace_id.ok_or("a trace id is 16 bytes that are not all zero")?;
    let own = id::<8>(&sent.span_id).filter(|id| *id != SpanId::default());
    let own = own.ok_or("a span id is 8 bytes that are not all zero")?;
    let parent_id = match sent.parent_span_id.len() {
        0 => SpanId::default(),
        _ => id::<8>(&sent.parent_span_id).ok_or("the id of a parent is 8 bytes")?,
    };
    if sent.start_time_unix_nano == 0 {
        return Err("a span needs a start");
    }
    let status = sent.status.unwrap_or_default();
    let (start_ns, end_ns) = (sent.start_time_unix_nano, sent.end_time_unix_nano);
    let span = Span {
        id: own,
        parent_id,
        name: shared(&sent.name),
        kind: Kind::from_code(sent.kind),
        status: Status::from_code(status.code),
        status_message: shared(&status.message),
        start_ns,
        duration_ns: end_ns.saturating_sub(start_ns),
        trace_state: shared(&sent.trace_state),
        attributes: attributes(sent.attributes),
        events: sent.events.into_iter().map(event).collect(),
        links: sent.links.into_iter().filter_map(link).collect(),
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
    };
    Ok((trace_id, span))
}

fn id<const N: usize>(bytes: &Bytes) -> Option<[u8; N]> {
    bytes[..].try_into().ok()
}

fn event(sent: WireEvent) -> Event {
    Event {
        time_ns: sent.time_unix_nano,
        name: shared(&sent.name),
        attributes: attributes(sent.attributes),
        dropped_attributes: sent.dropped_attributes_count,
    }
}

fn link(sent: WireLink) -> Option<Link> {
    Some(Link {
        trace_id: id(&sent.trace_id)?,
        span_id: id(&sent.span_id)?,
        trace_state: shared(&sent.trace_state),
        attributes: attributes(sent.attributes),
    })
}

fn attributes(sent: Vec<KeyValue>) -> Attributes {
    let pairs = sent.into_iter();
    pairs
        .map(|pair| (shared(&pair.key), value(pair.value)))
        .collect()
}

fn value(sent: Option<AnyValue>) -> Value {
    use any_value::Value as Wire;
    match sent.and_then(|any| any.value) {
        None => Value::Nil,
        Some(Wire::StringValue(text)) => Value::text(text),
        Some(Wire::BoolValue(yes)) => Value::Bool(yes),
        Some(Wire::IntValue(n)) => Value::Int(n),
        Some(Wire::DoubleValue(n)) => Value::Float(n),
        Some(Wire::BytesValue(bytes)) => Value::Bytes(bytes.into()),
        Some(Wire::ArrayValue(list)) => {
            let values = list.values.into_iter();
            Value::List(values.map(|v| value(Some(v))).collect())
        }
        Some(Wire::KvlistValue(map)) => {
            let pairs = map.values.into_iter();
            Value::Map(pairs.map(|p| (shared(&p.key), value(p.value))).collect())
        }
    }
}

/// A trace as its senders would send it: by resource, then by library.
pub(super) fn outgoing(trace: &Trace) -> Vec<ResourceSpans> {
    let mut all: Vec<ResourceSpans> = Vec::new();
    let mut places: Vec<(Arc<Resource>, Vec<Arc<Scope>>)> = Vec::new();
    let mut spans: Vec<&Span> = trace.spans.iter().collect();
    spans.sort_by_key(|span| span.start_ns);
    for span in spans {
        let at = places.iter().position(|(own, _)| *own == span.resource);
        let at = at.unwrap_or_else(|| {
            places.push((Arc::clone(&span.resource), Vec::new()));
            all.push(ResourceSpans {
                resource: Some(WireResource {
                    attributes: pairs(&span.resource.attributes),
                    dropped_attributes_count: span.resource.dropped_attributes,
                }),
                ..ResourceSpans::default()
            });
            all.len() - 1
        });
        let scopes = &mut places[at].1;
        let library = scopes.iter().position(|own| *own == span.scope);
        let library = library.unwrap_or_else(|| {
            scopes.push(Arc::clone(&span.scope));
            all[at].scope_spans.push(ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: span.scope.name.to_string(),
                    version: span.scope.version.to_string(),
                    attributes: pairs(&span.scope.attributes),
                    dropped_attributes_count: 0,
                }),
                ..ScopeSpans::default()
            });
            scopes.len() - 1
        });
        all[at].scope_spans[library]
            .spans
            .push(wire_span(&trace.id, span));
    }
    all
}

fn wire_span(trace_id: &TraceId, span: &Span) -> WireSpan {
    let parent = if span.is_root() {
        &[][..]
    } else {
        &span.parent_id[..]
    };
    let events = span.events.iter().map(|event| WireEvent {
        time_unix_nano: event.time_ns,
        name: event.name.to_string(),
        attributes: pairs(&event.attributes),
        dropped_attributes_count: event.dropped_attributes,
    });
    let links = span.links.iter().map(|link| WireLink {
        trace_id: Bytes::copy_from_slice(&link.trace_id),
        span_id: Bytes::copy_from_slice(&link.span_id),
        trace_state: link.trace_state.to_string(),
        attributes: pairs(&link.attributes),
        ..WireLink::default()
    });
    WireSpan {
        trace_id: Bytes::copy_from_slice(trace_id),
        span_id: Bytes::copy_from_slice(&span.id),
        trace_state: span.trace_state.to_string(),
        parent_span_id: Bytes::copy_from_slice(parent),
        name: span.name.to_string(),
        kind: span.kind.code(),
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.end_ns(),
        attributes: pairs(&span.attributes),
        events: events.collect(),
        links: links.collect(),
        status: Some(WireStatus {
            message: span.status_message.to_string(),
            code: span.status.code(),
        }),
        ..WireSpan::default()
    }
}

fn pairs(attributes: &Attributes) -> Vec<KeyValue> {
    let pairs = attributes.iter();
    let pairs = pairs.map(|(name, value)| KeyValue {
        key: name.to_string(),
        value: Some(any(value)),
    });
    pairs.collect()
}

/// A value as the protocol has it.
pub(super) fn any(value: &Value) -> AnyValue {
    use any_value::Value as Wire;
    let value = match value {
        Value::Nil => None,
        Value::Bool(yes) => Some(Wire::BoolValue(*yes)),
        Value::Int(n) => Some(Wire::IntValue(*n)),
        Value::Float(n) => Some(Wire::DoubleValue(*n)),
        Value::Text(text) => Some(Wire::StringValue(text.to_string())),
        Value::Duration(_) => Some(Wire::StringValue(value.to_string())),
        Value::Status(status) => Some(Wire::StringValue(status.name().into())),
        Value::Kind(kind) => Some(Wire::StringValue(kind.name().into())),
        Value::List(values) => Some(Wire::ArrayValue(ArrayValue {
            values: values.iter().map(any).collect(),
        })),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(name, value)| KeyValue {
                key: name.to_string(),
                value: Some(any(value)),
            });
            Some(Wire::KvlistValue(KeyValueList {
                values: pairs.collect(),
            }))
        }
        Value::Bytes(bytes) => Some(Wire::BytesValue(bytes.to_vec())),
    };
    AnyValue { value }
}
