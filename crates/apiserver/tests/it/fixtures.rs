//! Every stable kind's fully populated fixture, in protobuf and in JSON, from the Go module
//! that defines them: both must be read as the same object.

use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use towpath_apiserver::decode_protobuf;

async fn fixtures() -> Option<PathBuf> {
    let mut command = towpath_stdx::process::command("go");
    command.args(["env", "GOMODCACHE"]);
    if let Some(home) = std::env::var_os("HOME") {
        command.env("HOME", home);
    }
    let output = towpath_stdx::process::run(command, Duration::from_secs(20), 1 << 16)
        .await
        .ok()?;
    let cache = String::from_utf8(output.stdout).ok()?;
    let path = PathBuf::from(cache.trim()).join("k8s.io/api@v0.36.3/testdata/HEAD");
    path.is_dir().then_some(path)
}

/// What JSON leaves out when it is zero, and what protobuf cannot tell apart from nothing.
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

#[tokio::test]
async fn protobuf_and_json_say_the_same() {
    let Some(directory) = fixtures().await else {
        assert!(
            std::env::var_os("TOWPATH_TEST_FULL").is_none(),
            "the Go module k8s.io/api is not on disk"
        );
        eprintln!("SKIPPED: the Go module k8s.io/api@v0.36.3 is not on this machine");
        return;
    };
    let (mut read, mut different) = (0, Vec::new());
    for entry in std::fs::read_dir(directory).expect("fixtures") {
        let path = entry.expect("entry").path();
        let name = path
            .file_name()
            .expect("name")
            .to_string_lossy()
            .into_owned();
        let stable = name
            .split('.')
            .any(|part| part.starts_with('v') && part[1..].parse::<u32>().is_ok());
        // A watch event is no object; reviews of webhooks are sent by servers, not to them.
        let other = ["imagepolicy", "admission.k8s.io", "WatchEvent"]
            .iter()
            .any(|part| name.contains(part));
        if !name.ends_with(".pb") || !stable || other {
            continue;
        }
        let body = std::fs::read(&path).expect("read");
        let json = std::fs::read(path.with_extension("json")).expect("read");
        let wanted: Value = serde_json::from_slice(&json).expect("JSON");
        match decode_protobuf(&body) {
            Ok(found) if bare(&found) == bare(&wanted) => read += 1,
            Ok(found) => different.push(format!(
                "{name}\n   found {}\n  wanted {}",
                bare(&found),
                bare(&wanted)
            )),
            Err(error) => different.push(format!("{name}: {error}")),
        }
    }
    assert!(
        different.is_empty(),
        "{read} are the same, but\n{}",
        different.join("\n")
    );
    assert!(read > 60, "only {read} fixtures");
}
