//! What objects come in and go out as: protocol buffers and JSON. Whatever is read can be written,
//! and reads the same again.

use super::corpus;
use super::words::NAMES;
use crate::mutate;
use serde_json::Value;
use towpath_api::{json as text, protobuf};

#[test]
fn protobuf_to_objects() {
    mutate::run(
        &corpus("protobuf"),
        &["k8s\0", "v1", "Pod", "apps/v1", "\n\0", "\x12\x01"],
        |input| {
            let _ = protobuf::decode_watch_event(input);
            let object = match protobuf::decode(input) {
                Ok(object) => object,
                Err(error) => return error.to_string(),
            };
            // What cannot be written again is of types that nothing checked yet (a quantity of nonsense).
            let Ok(bytes) = protobuf::encode(object.to_string().as_bytes()) else {
                return "read, not written".into();
            };
            let again = protobuf::decode(&bytes).expect("what was written");
            let twice = protobuf::encode(again.to_string().as_bytes()).expect("what was read");
            assert_eq!(protobuf::decode(&twice).expect("twice"), again);
            format!(
                "{} {}",
                object["kind"],
                object.as_object().map_or(0, |o| o.len())
            )
        },
    );
}

#[test]
fn objects_to_protobuf() {
    mutate::run(&corpus("objects"), NAMES, |input| {
        match protobuf::encode(input) {
            Ok(bytes) => {
                let read = protobuf::decode(&bytes).expect("what was written");
                let again = protobuf::encode(read.to_string().as_bytes()).expect("what was read");
                assert_eq!(protobuf::decode(&again).expect("again"), read);
                read["kind"].to_string()
            }
            Err(error) => error.to_string(),
        }
    });
}

#[test]
fn json_with_keys_twice() {
    mutate::run(
        &corpus("json"),
        &["\"a\":1,\"a\":", "[[[[", "{\"a\":", "1e400", "\\u0000"],
        |input| {
            let limits = text::Limits {
                bytes: 16 << 10,
                depth: 40,
            };
            match text::parse(input, limits) {
                Ok((value, twice)) => {
                    // What is no Unicode is read, but not by the plain reader.
                    if let Ok(plain) = serde_json::from_slice::<Value>(input) {
                        assert_eq!(plain, value);
                    }
                    let (again, none) =
                        text::parse(value.to_string().as_bytes(), text::Limits::default())
                            .expect("written");
                    // The last digits of a fraction may move.
                    assert!((again == value || has_fraction(&value)) && none.is_empty());
                    format!("read {}", twice.first().map_or("", String::as_str))
                }
                Err(error) => error.to_string(),
            }
        },
    );
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(has_fraction),
        Value::Object(map) => map.values().any(has_fraction),
        value => value.is_f64(),
    }
}
