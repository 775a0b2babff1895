//! Every kind's fully populated fixture, in protobuf and in JSON, from the Go module that defines
//! the kinds: bytes must be read as the same object, and the object written as bytes that are read
//! as the same object. The module is read where the Go tool keeps it; nothing of it is committed.
//!
//! What differs is zeros, by the rules of the two forms: JSON keeps a zero where the Go field has
//! no `omitempty` (`"count": 0`, `"creationTimestamp": null`), protobuf cannot tell it from
//! nothing. So fields are compared after zeros are dropped on both sides. With all fields set
//! there are few: [`EXACT`] is how many need no such help.

use serde_json::Value;
use std::path::PathBuf;
use towpath_api::protobuf;

/// Fixtures of 1.36.3.
const ALL: usize = 185;
/// Those that are read as exactly the JSON beside them.
const EXACT: usize = 184;

fn fixtures() -> Option<PathBuf> {
    towpath_testkit::go_module("k8s", "k8s.io/api", "testdata/HEAD")
}

fn bare(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(key, value)| (key.clone(), bare(value)));
            kept.filter(|(_, value)| !zero(value)).collect()
        }
        Value::Array(list) => list.iter().map(bare).collect(),
        other => other.clone(),
    }
}

fn zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

#[test]
fn protobuf_and_json_say_the_same() {
    let Some(directory) = fixtures() else {
        return;
    };
    let (mut all, mut exact, mut same_bytes, mut wrong) = (0, 0, 0, Vec::new());
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "pb") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let text = std::fs::read(path.with_extension("json")).unwrap();
        let mut wanted: Value = serde_json::from_slice(&text).unwrap();
        let kind = name.rsplit('.').next().unwrap();
        if kind == "WatchEvent" {
            // It says neither version nor kind, in both forms.
            wanted["apiVersion"] = "v1".into();
            wanted["kind"] = kind.into();
        }
        all += 1;
        let read = match protobuf::decode_as(&bytes, "v1", kind) {
            Ok(read) => read,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        exact += usize::from(read == wanted);
        if bare(&read) != bare(&wanted) {
            wrong.push(format!("{name}\n   read {read}\n wanted {wanted}"));
        }
        let short = wanted.to_string();
        match protobuf::encode(short.as_bytes()) {
            Ok(written) => {
                same_bytes += usize::from(written == bytes);
                let again = protobuf::decode(&written).unwrap();
                if again != read {
                    wrong.push(format!("{name}\n  again {again}\n   read {read}"));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    println!("{all} fixtures, {exact} exactly the same, {same_bytes} written byte for byte");
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!((all, exact), (ALL, EXACT));
}
