//! Messages in the JSON that protobuf prescribes, as Tempo answers: bytes, ids of traces and spans
//! among them, in base 64, enumerations by name, 64-bit integers as strings.

use super::convert::any;
use crate::otlp::message::{AnyValue, KeyValue, ResourceSpans, Span, any_value};
use serde_json::{Map, Value as Json, json};
use towpath_query::traceql::{Kind, Value};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base 64, padded.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = 0u32;
        for at in 0..3 {
            group = group << 8 | u32::from(chunk.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            if at <= chunk.len() {
                let digit = (group >> (18 - 6 * at)) & 63;
                out.push(char::from(DIGITS[digit as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Resources with their spans.
pub(super) fn resources(all: &[ResourceSpans]) -> Json {
    let each = all.iter().map(|part| {
        let resource = part.resource.clone().unwrap_or_default();
        let libraries = part.scope_spans.iter().map(|library| {
            let scope = library.scope.clone().unwrap_or_default();
            let mut named = Map::new();
            put_text(&mut named, "name", &scope.name);
            put_text(&mut named, "version", &scope.version);
            put_pairs(&mut named, &scope.attributes);
            let spans: Vec<Json> = library.spans.iter().map(span).collect();
            json!({"scope": named, "spans": spans})
        });
        let mut own = Map::new();
        put_pairs(&mut own, &resource.attributes);
        json!({"resource": own, "scopeSpans": libraries.collect::<Vec<_>>()})
    });
    each.collect()
}

fn put_text(into: &mut Map<String, Json>, name: &str, text: &str) {
    if !text.is_empty() {
        into.insert(name.into(), text.into());
    }
}

fn put_pairs(into: &mut Map<String, Json>, pairs: &[KeyValue]) {
    if !pairs.is_empty() {
        into.insert("attributes".into(), attributes(pairs));
    }
}

fn put_bytes(into: &mut Map<String, Json>, name: &str, bytes: &[u8]) {
    if !bytes.is_empty() {
        into.insert(name.into(), base64(bytes).into());
    }
}

fn span(span: &Span) -> Json {
    let mut out = Map::new();
    put_bytes(&mut out, "traceId", &span.trace_id);
    put_bytes(&mut out, "spanId", &span.span_id);
    put_text(&mut out, "traceState", &span.trace_state);
    put_bytes(&mut out, "parentSpanId", &span.parent_span_id);
    put_text(&mut out, "name", &span.name);
    let kind = Kind::from_code(span.kind).name().to_uppercase();
    out.insert("kind".into(), format!("SPAN_KIND_{kind}").into());
    let time = |ns: u64| Json::from(ns.to_string());
    out.insert("startTimeUnixNano".into(), time(span.start_time_unix_nano));
    out.insert("endTimeUnixNano".into(), time(span.end_time_unix_nano));
    put_pairs(&mut out, &span.attributes);
    let events = span.events.iter().map(|event| {
        let mut out = Map::new();
        out.insert("timeUnixNano".into(), time(event.time_unix_nano));
        put_text(&mut out, "name", &event.name);
        put_pairs(&mut out, &event.attributes);
        Json::Object(out)
    });
    let events: Vec<Json> = events.collect();
    if !events.is_empty() {
        out.insert("events".into(), events.into());
    }
    let links = span.links.iter().map(|link| {
        let mut out = Map::new();
        put_bytes(&mut out, "traceId", &link.trace_id);
        put_bytes(&mut out, "spanId", &link.span_id);
        put_text(&mut out, "traceState", &link.trace_state);
        put_pairs(&mut out, &link.attributes);
        Json::Object(out)
    });
    let links: Vec<Json> = links.collect();
    if !links.is_empty() {
        out.insert("links".into(), links.into());
    }
    let status = span.status.clone().unwrap_or_default();
    let mut told = Map::new();
    put_text(&mut told, "message", &status.message);
    if let Some(code) = ["", "STATUS_CODE_OK", "STATUS_CODE_ERROR"].get(status.code as usize) {
        put_text(&mut told, "code", code);
    }
    out.insert("status".into(), told.into());
    out.into()
}

fn attributes(pairs: &[KeyValue]) -> Json {
    let each = pairs.iter().map(|pair| {
        let value = pair.value.as_ref().map_or_else(|| json!({}), any_json);
        json!({"key": pair.key, "value": value})
    });
    each.collect()
}

fn any_json(value: &AnyValue) -> Json {
    use any_value::Value as Wire;
    match &value.value {
        None => json!({}),
        Some(Wire::StringValue(text)) => json!({"stringValue": text}),
        Some(Wire::BoolValue(yes)) => json!({"boolValue": yes}),
        Some(Wire::IntValue(n)) => json!({"intValue": n.to_string()}),
        Some(Wire::DoubleValue(n)) => json!({"doubleValue": double(*n)}),
        Some(Wire::BytesValue(bytes)) => json!({"bytesValue": base64(bytes)}),
        Some(Wire::ArrayValue(list)) => {
            let values: Vec<Json> = list.values.iter().map(any_json).collect();
            json!({"arrayValue": {"values": values}})
        }
        Some(Wire::KvlistValue(map)) => json!({"kvlistValue": {"values": attributes(&map.values)}}),
    }
}

fn double(n: f64) -> Json {
    match n {
        n if n.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        n => n.into(),
    }
}

/// Named values, as searches and series tell them.
pub(super) fn named(values: &[(String, Value)]) -> Json {
    let each = values.iter();
    let each = each.map(|(key, value)| json!({"key": key, "value": any_json(&any(value))}));
    each.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_padded() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(super::base64(bytes.as_bytes()), text);
        }
    }
}
