//! Objects to bytes, from their JSON text: the text is read once and never becomes a tree.

use super::fields::Fields;
use super::table::Message;
use super::write::{bytes, key, nested, varint, varint_bytes};
use super::{BYTES, Error, MAGIC, table};
use serde::de::DeserializeSeed;

/// Whether objects of a kind have a protobuf form.
pub fn knows(api_version: &str, kind: &str) -> bool {
    let (group, version) = crate::facts::split_api_version(api_version);
    table().object(group, version, kind).is_some()
}

/// An object that says its version and kind, whole with its envelope.
pub fn encode(json: &[u8]) -> Result<Vec<u8>, Error> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(rename = "apiVersion", borrow, default)]
        api_version: std::borrow::Cow<'a, str>,
        #[serde(borrow, default)]
        kind: std::borrow::Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_slice(json).map_err(|e| Error::Json(e.to_string()))?;
    encode_as(&head.api_version, &head.kind, json)
}

/// An object of a known version and kind, whole with its envelope.
pub fn encode_as(api_version: &str, kind: &str, json: &[u8]) -> Result<Vec<u8>, Error> {
    let message = object(api_version, kind)?;
    let mut raw = Vec::with_capacity(json.len());
    write(message, json, &mut raw)?;
    let mut out = envelope(api_version, kind, raw.len());
    out.reserve(raw.len() + 4);
    out.extend_from_slice(&raw);
    out.extend_from_slice(ENVELOPE_END);
    Ok(out)
}

/// What follows the message in the envelope: no encoding, no media type.
pub const ENVELOPE_END: &[u8] = &[0x1a, 0, 0x22, 0];

/// What stands before a message of so many bytes; [`ENVELOPE_END`] stands after it.
pub fn envelope(api_version: &str, kind: &str, raw_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + api_version.len() + kind.len() + 16);
    out.extend_from_slice(MAGIC);
    nested(&mut out, 1, |out| {
        bytes(out, 1, api_version.as_bytes());
        bytes(out, 2, kind.as_bytes());
        Ok::<_, Error>(())
    })
    // Only what is written inside can fail, and that cannot.
    .unwrap_or_default();
    key(&mut out, 2, BYTES);
    varint(&mut out, raw_bytes as u64);
    out
}

/// The list's own metadata, as the message of a list begins.
pub fn list_head(metadata: &[u8]) -> Result<Vec<u8>, Error> {
    let meta = table()
        .named("meta/v1.ListMeta")
        .ok_or_else(|| Error::Kind("ListMeta".into()))?;
    let mut out = Vec::new();
    nested(&mut out, 1, |out| write(meta, metadata, out))?;
    Ok(out)
}

/// Writes many objects of one kind.
#[derive(Clone, Copy)]
pub struct Writer(&'static Message);

impl Writer {
    /// For objects of a kind.
    pub fn of(api_version: &str, kind: &str) -> Result<Self, Error> {
        object(api_version, kind).map(Self)
    }

    /// Adds an object to the message of its list.
    pub fn item(self, json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        nested(out, 2, |out| write(self.0, json, out))
    }
}

/// A frame of a watch: length, then the event with an object as [`encode`] wrote it.
pub fn watch_event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + kind.len() + 24);
    out.extend_from_slice(&[0; 4]);
    bytes(&mut out, 1, kind.as_bytes());
    let inner = 1 + varint_bytes(object.len() as u64) + object.len();
    key(&mut out, 2, BYTES);
    varint(&mut out, inner as u64);
    bytes(&mut out, 1, object);
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn object(api_version: &str, kind: &str) -> Result<&'static Message, Error> {
    let (group, version) = crate::facts::split_api_version(api_version);
    table()
        .object(group, version, kind)
        .ok_or_else(|| Error::Kind(format!("{group}/{version}.{kind}")))
}

fn write(message: &'static Message, json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let seed = Fields {
        table: table(),
        message,
        out,
        depth: 0,
    };
    let wrong = |e: serde_json::Error| Error::Json(format!("{}: {e}", message.name));
    seed.deserialize(&mut reader).map_err(wrong)?;
    reader.end().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::decode;
    use serde_json::{Value, json};

    fn there_and_back(object: &Value) -> Value {
        let text = object.to_string();
        decode(&encode(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let long = "x".repeat(20_000);
        for object in [
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"b": "", "c": long}, "creationTimestamp": "2026-11-21T20:00:00Z"},
                "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 3},
                    "resources": {"limits": {"cpu": "1"}}}], "volumes": [{"emptyDir": {}, "name": "v"}], "terminationGracePeriodSeconds": 0}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
                "spec": {"replicas": 0, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}}}),
            json!({"apiVersion": "v1", "kind": "Secret", "data": {"k": "AAH/"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ä\"\n": "\u{1f600}\\"}, "binaryData": {"b": ""}}),
            json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404, "details": {"name": "x", "causes": [{"field": "f"}]}}),
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
                "type": "object", "additionalProperties": true, "properties": {"a": {"additionalProperties": {"type": "string"}, "default": {"x": [1]},
                    "items": {"type": "integer"}, "enum": ["a", null], "minimum": 1.5, "x-kubernetes-int-or-string": true}}}}}]}}),
        ] {
            assert_eq!(there_and_back(&object), object);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            r#"{"apiVersion":"v1","kind":"Pod","metadata":[]}"#,
            r#"{"apiVersion":"v1","kind":"Pod","spec":{"hostNetwork":"x"}}"#,
            r#"{"apiVersion":"v1","kind":"Secret","data":{"a":"?"}}"#,
            r#"{"apiVersion":"a.b/v1","kind":"Pet"}"#,
            "{",
            "[]",
        ] {
            assert!(encode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_and_events() {
        let mut raw = list_head(br#"{"resourceVersion":"7","continue":"t"}"#).unwrap();
        for name in ["a", "b"] {
            let item = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            let writer = Writer::of("v1", "ConfigMap").unwrap();
            writer.item(item.to_string().as_bytes(), &mut raw).unwrap();
        }
        let whole = [
            envelope("v1", "ConfigMapList", raw.len()),
            raw,
            ENVELOPE_END.to_vec(),
        ]
        .concat();
        let wanted = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7", "continue": "t"},
            "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]});
        assert_eq!(decode(&whole).unwrap(), wanted);
        assert_eq!(there_and_back(&wanted), wanted);
        let event = watch_event("ADDED", &whole);
        let read = crate::protobuf::decode_watch_event(&event[4..]).unwrap();
        assert_eq!(read, json!({"type": "ADDED", "object": wanted}));
        let frame = watch_event("ADDED", b"k8s\0");
        assert_eq!(frame, b"\0\0\0\x0f\x0a\x05ADDED\x12\x06\x0a\x04k8s\0");
    }
}
