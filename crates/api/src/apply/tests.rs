//! Scenarios of ownership, as upstream documents them.

use super::*;
use crate::schema::builtin;
use serde_json::json;

const NOW: &str = "2026-01-01T00:00:00Z";

fn writer(manager: &str) -> Writer<'_> {
    Writer {
        manager,
        api_version: "apps/v1",
        subresource: "",
        time: NOW,
    }
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": spec})
}

fn schema() -> &'static Schema {
    builtin("apps", "v1", "Deployment").unwrap()
}

fn put(
    live: Option<&Value>,
    config: Value,
    manager: &str,
    force: bool,
) -> Result<Option<Value>, Failure> {
    apply(
        schema(),
        live,
        &config,
        writer(manager),
        &Ignored::main(true),
        force,
    )
}

fn owner<'a>(object: &'a Value, manager: &str) -> &'a Value {
    object["metadata"]["managedFields"]
        .as_array()
        .and_then(|list| list.iter().find(|entry| entry["manager"] == manager))
        .map_or(&Value::Null, |entry| &entry["fieldsV1"])
}

#[test]
fn apply_owns_what_it_names_and_gives_up_what_it_drops() {
    let first = put(
        None,
        deployment(json!({"replicas": 3, "paused": true})),
        "a",
        false,
    )
    .unwrap()
    .unwrap();
    assert_eq!(
        owner(&first, "a"),
        &json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})
    );
    let second = put(Some(&first), deployment(json!({"replicas": 3})), "a", false)
        .unwrap()
        .unwrap();
    assert_eq!(second["spec"].get("paused"), None);
    assert_eq!(owner(&second, "a"), &json!({"f:spec": {"f:replicas": {}}}));
    let again = put(
        Some(&second),
        deployment(json!({"replicas": 3})),
        "a",
        false,
    )
    .unwrap();
    assert_eq!(again, None);
}

#[test]
fn others_fields_conflict_unless_forced_or_equal() {
    let first = put(None, deployment(json!({"replicas": 3})), "a", false)
        .unwrap()
        .unwrap();
    let shared = put(Some(&first), deployment(json!({"replicas": 3})), "b", false)
        .unwrap()
        .unwrap();
    assert_eq!(owner(&shared, "b"), owner(&shared, "a"));
    let failure = put(Some(&first), deployment(json!({"replicas": 4})), "b", false).unwrap_err();
    assert_eq!(
        failure.message,
        "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas"
    );
    assert_eq!(
        failure.to_value()["details"]["causes"][0]["field"],
        ".spec.replicas"
    );
    let forced = put(Some(&first), deployment(json!({"replicas": 4})), "b", true)
        .unwrap()
        .unwrap();
    assert_eq!(owner(&forced, "a"), &Value::Null);
    assert_eq!(forced["spec"]["replicas"], 4);
    // A field shared by two is only removed when both let go.
    let alone = put(
        Some(&shared),
        deployment(json!({"paused": true})),
        "b",
        false,
    )
    .unwrap()
    .unwrap();
    assert_eq!(alone["spec"]["replicas"], 3);
}

#[test]
fn kubectl_takes_over_what_it_applied_on_the_clients_side() {
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut live = put(
        None,
        deployment(json!({"replicas": 3, "paused": true})),
        "other",
        false,
    )
    .unwrap()
    .unwrap();
    let mut last = deployment(json!({"replicas": 3, "paused": false}));
    last["metadata"]["annotations"] = json!({});
    live["metadata"]["annotations"] = json!({LAST: last.to_string()});
    let wanted = deployment(json!({"replicas": 4}));
    assert!(put(Some(&live), wanted.clone(), "someone", false).is_err());
    let applied = put(Some(&live), wanted, "kubectl", false).unwrap().unwrap();
    assert_eq!(applied["spec"]["replicas"], 4);
    let text = applied["metadata"]["annotations"][LAST].as_str().unwrap();
    let told: Value = serde_json::from_str(text).unwrap();
    assert_eq!(told["spec"], json!({"replicas": 4}));
    // What is no longer as it was applied is the other's.
    let refused = put(
        Some(&live),
        deployment(json!({"replicas": 4, "paused": false})),
        "kubectl",
        false,
    );
    assert!(refused.unwrap_err().message.ends_with(": .spec.paused"));
}

#[test]
fn lists_merge_by_key_and_items_go_with_their_owner() {
    let config = |ports: Value| {
        deployment(
            json!({"template": {"spec": {"containers": [{"name": "c", "image": "i", "ports": ports}]}}}),
        )
    };
    let first = put(
        None,
        config(json!([{"containerPort": 80}, {"containerPort": 81}])),
        "a",
        false,
    )
    .unwrap()
    .unwrap();
    let owned =
        &owner(&first, "a")["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"];
    assert_eq!(owned[".".to_string()], json!({}));
    assert_eq!(
        owned["f:ports"]["k:{\"containerPort\":80,\"protocol\":\"TCP\"}"],
        json!({".": {}, "f:containerPort": {}})
    );
    let sidecar =
        deployment(json!({"template": {"spec": {"containers": [{"name": "s", "image": "x"}]}}}));
    let both = put(Some(&first), sidecar, "b", false).unwrap().unwrap();
    let names: Vec<&Value> = both["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["c", "s"]);
    let fewer = put(
        Some(&both),
        config(json!([{"containerPort": 81}])),
        "a",
        false,
    )
    .unwrap()
    .unwrap();
    assert_eq!(
        fewer["spec"]["template"]["spec"]["containers"][0]["ports"],
        json!([{"containerPort": 81}])
    );
    assert_eq!(
        fewer["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn updates_are_tracked_per_manager_and_subresource() {
    let mut new = deployment(
        json!({"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": 1}},
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}]}}}),
    );
    new["metadata"]["labels"] = json!({"a": "b"});
    update(
        schema(),
        None,
        &mut new,
        writer("kubectl-create"),
        &Ignored::main(true),
    );
    assert_eq!(
        owner(&new, "kubectl-create").to_string(),
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {
                "f:replicas": {}, "f:selector": {}, "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                "f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                    "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}}}}
            }
        }).to_string()
    );
    let entry = &new["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["operation"], &entry["apiVersion"], &entry["time"]),
        (&json!("Update"), &json!("apps/v1"), &json!(NOW))
    );
    let mut scaled = new.clone();
    scaled["spec"]["replicas"] = 2.into();
    let later = Writer {
        subresource: "scale",
        time: "2026-01-02T00:00:00Z",
        ..writer("hpa")
    };
    update(
        schema(),
        Some(&new),
        &mut scaled,
        later,
        &Ignored::default(),
    );
    assert_eq!(
        owner(&scaled, "hpa"),
        &json!({"f:spec": {"f:replicas": {}}})
    );
    assert_eq!(
        owner(&scaled, "kubectl-create")["f:spec"].get("f:replicas"),
        None
    );
    assert_eq!(
        scaled["metadata"]["managedFields"][1]["subresource"],
        "scale"
    );
    // A write that changes nothing keeps every time.
    let mut same = scaled.clone();
    update(
        schema(),
        Some(&scaled),
        &mut same,
        Writer {
            time: "2026-01-03T00:00:00Z",
            ..writer("x")
        },
        &Ignored::main(true),
    );
    assert_eq!(same, scaled);
}

#[test]
fn client_and_server_side_apply_conflict_with_words() {
    let mut live = deployment(json!({"replicas": 1, "paused": true}));
    update(
        schema(),
        None,
        &mut live,
        writer("kubectl-client-side-apply"),
        &Ignored::main(true),
    );
    let failure = put(
        Some(&live),
        deployment(json!({"replicas": 2, "paused": false})),
        "kubectl",
        false,
    )
    .unwrap_err();
    assert_eq!(
        failure.message,
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.paused\n- .spec.replicas"
    );
}

#[test]
fn untracked_objects_are_owned_by_before_first_apply() {
    let live = deployment(json!({"replicas": 1}));
    let new = put(Some(&live), deployment(json!({"paused": true})), "a", false)
        .unwrap()
        .unwrap();
    assert_eq!(
        owner(&new, "before-first-apply"),
        &json!({"f:spec": {"f:replicas": {}}})
    );
    assert!(put(Some(&new), deployment(json!({"replicas": 2})), "a", false).is_err());
}

#[test]
fn bad_configurations_are_told() {
    let unknown = put(None, deployment(json!({"replica": 1})), "a", false).unwrap_err();
    assert_eq!(
        unknown.message,
        "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema"
    );
    let twice =
        deployment(json!({"template": {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}}));
    let failure = put(None, twice, "a", false).unwrap_err();
    assert!(
        failure
            .message
            .contains(".spec.template.spec.containers: duplicate entries for key [name=\"c\"]"),
        "{failure}"
    );
}

#[test]
fn maps_are_granular_and_atomic_ones_whole() {
    let config = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data});
    let schema = builtin("", "v1", "ConfigMap").unwrap();
    let writer = |manager| Writer {
        manager,
        api_version: "v1",
        subresource: "",
        time: NOW,
    };
    let put = |live: Option<&Value>, config: &Value, manager| {
        apply(
            schema,
            live,
            config,
            writer(manager),
            &Ignored::default(),
            false,
        )
        .unwrap()
        .unwrap()
    };
    let one = put(None, &config(json!({"a": "1", "b": "1"})), "x");
    let two = put(Some(&one), &config(json!({"c": "1"})), "y");
    assert_eq!(two["data"], json!({"a": "1", "b": "1", "c": "1"}));
    let three = put(Some(&two), &config(json!({"a": "1"})), "x");
    assert_eq!(three["data"], json!({"a": "1", "c": "1"}));
}
