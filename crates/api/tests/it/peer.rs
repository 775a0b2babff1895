//! Every `<case>.case.json` is a sequence of requests; `<case>.expected.json` holds what upstream
//! answered, with identity, times and allocated addresses taken out. What still differs is listed
//! in `known-differences.txt`, which may only shrink.

use crate::world::World;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn answers_as_upstream_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let known: BTreeSet<String> = fs::read_to_string(root.join("known-differences.txt"))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(str::to_string)
        .collect();
    let mut differing = BTreeSet::new();
    let mut report = String::new();
    let cases = cases(&root);
    assert!(cases.len() > 100);
    for path in &cases {
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .replace(".case.json", "");
        let found = differences(path);
        if !found.is_empty() {
            differing.insert(name.clone());
            if !known.contains(&name) {
                report.push_str(&format!("{name}\n  {}\n", found.join("\n  ")));
            }
        }
    }
    let fixed: Vec<&String> = known.difference(&differing).collect();
    println!("{} cases, {} known differences", cases.len(), known.len());
    assert!(report.is_empty(), "differs from upstream:\n{report}");
    assert!(
        fixed.is_empty(),
        "no longer differs, take out of known-differences.txt: {fixed:?}"
    );
}

fn cases(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for topic in fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        for entry in fs::read_dir(topic).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with(".case.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn differences(path: &Path) -> Vec<String> {
    let case = read(path);
    let expected = read(&PathBuf::from(
        path.to_string_lossy()
            .replace(".case.json", ".expected.json"),
    ));
    let mut world = match case.get("crd") {
        Some(definition) => World::with_definition(definition),
        None => World::default(),
    };
    let mut found = Vec::new();
    for (at, (step, wanted)) in case["steps"]
        .as_array()
        .unwrap()
        .iter()
        .zip(expected.as_array().unwrap())
        .enumerate()
    {
        let (code, body) = world.request(step["do"].as_str().unwrap(), &step["body"]);
        if code != wanted["code"] {
            found.push(format!(
                "step {at}: code {code}, upstream {}: {}",
                wanted["code"], wanted["body"]["message"]
            ));
        }
        diff(
            &format!("step {at}"),
            &normal(body),
            &normal(wanted["body"].clone()),
            &mut found,
        );
        found.truncate(12);
    }
    found
}

/// Takes out what no two servers agree on.
fn normal(mut body: Value) -> Value {
    if body["kind"] == "Table" {
        table(&mut body);
        return body;
    }
    let service = body["kind"] == "Service";
    let volume = body["kind"] == "PersistentVolume";
    findings(&mut body);
    for condition in body
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        condition
            .as_object_mut()
            .unwrap()
            .shift_remove("lastTransitionTime");
    }
    if body["kind"] == "CustomResourceDefinition" {
        body.as_object_mut().unwrap().shift_remove("status");
    }
    if volume && let Some(status) = body.get_mut("status").and_then(Value::as_object_mut) {
        status.shift_remove("lastPhaseTransitionTime");
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["uid", "creationTimestamp", "resourceVersion"] {
            metadata.shift_remove(key);
        }
        for entry in metadata
            .get_mut("managedFields")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            entry.as_object_mut().unwrap().shift_remove("time");
        }
    }
    if service && let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut) {
        for key in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "healthCheckNodePort",
        ] {
            spec.shift_remove(key);
        }
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            port.as_object_mut().unwrap().shift_remove("nodePort");
        }
    }
    body
}

/// Ages differ from run to run, descriptions are prose.
fn table(body: &mut Value) {
    let body = body.as_object_mut().unwrap();
    body.shift_remove("metadata");
    let mut ages = Vec::new();
    for (at, column) in body["columnDefinitions"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        column.as_object_mut().unwrap().shift_remove("description");
        if ["Age", "Last Seen", "First Seen", "Created At"]
            .contains(&column["name"].as_str().unwrap())
        {
            ages.push(at);
        }
    }
    for row in body["rows"].as_array_mut().into_iter().flatten() {
        row.as_object_mut().unwrap().shift_remove("object");
        ages.iter()
            .for_each(|at| row["cells"][*at] = "<age>".into());
    }
}

/// The order of findings follows Go's maps, so it says nothing; nor does a repeated one.
fn findings(body: &mut Value) {
    let Some(causes) = body["details"]["causes"].as_array_mut() else {
        return;
    };
    causes.sort_by_key(Value::to_string);
    causes.dedup();
    if causes.len() > 1 && body["reason"] == "Invalid" {
        body["message"] = Value::Null;
    }
}

fn diff(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    Some(other) => diff(&format!("{path}.{key}"), value, other, found),
                    None => found.push(format!("{path}.{key}: only ours: {value}")),
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                found.push(format!("{path}.{key}: only upstream: {value}"));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                diff(&format!("{path}[{at}]"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}:\n    ours     {a}\n    upstream {b}")),
    }
}
