//! Faults with their true causes: the first explanation must be the true one, and where there is
//! no fault nobody is blamed.

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use serde::Deserialize;
use std::sync::Arc;
use towpath_telemetry::cases::{Culprit, Snapshot, Symptom, analyze, causes};
use towpath_telemetry::ledger::{Change, Object};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    now: i64,
    symptom: Symptom,
    #[serde(default)]
    pods: Vec<Pod>,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    certificates: Vec<(Object, i64)>,
    #[serde(default)]
    disks: Vec<(Object, u64, u64)>,
    #[serde(default)]
    hungry: Vec<(Object, f64, f64)>,
    #[serde(default)]
    calls: Vec<(Object, Object)>,
    changes: Vec<Change>,
    /// `change <id>`, `trouble <kind> <object>` or `nobody`.
    expect: String,
}

fn shared<T>(all: Vec<T>) -> Vec<Arc<T>> {
    all.into_iter().map(Arc::new).collect()
}

#[test]
fn the_true_cause_comes_first() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(dir).expect("corpus") {
        let path = entry.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("script");
        let script: Script =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let snapshot = Snapshot {
            now: script.now,
            pods: shared(script.pods),
            events: shared(script.events),
            nodes: shared(script.nodes),
            certificates: script.certificates,
            disks: script.disks,
            hungry: script.hungry,
            ..Snapshot::default()
        };
        let findings = analyze(&snapshot);
        let found = causes(&script.symptom, &findings, &script.changes, &script.calls);
        let first = match found.first().map(|cause| &cause.culprit) {
            None => "nobody".to_string(),
            Some(Culprit::Change { change }) => format!("change {}", change.id),
            Some(Culprit::Trouble { finding }) => {
                let kind = serde_json::to_value(finding.kind).expect("kind");
                format!(
                    "trouble {} {}",
                    kind.as_str().expect("text"),
                    finding.workload
                )
            }
        };
        count += 1;
        if first != script.expect {
            wrong.push(format!(
                "{}: {first} instead of {}\n{found:#?}\n{findings:#?}",
                path.display(),
                script.expect
            ));
        }
    }
    assert!(count >= 20, "only {count} scripts");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
