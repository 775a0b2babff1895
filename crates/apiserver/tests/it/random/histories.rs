//! Random histories of server-side apply: several managers, updates between, force or not.

use super::{Dice, cases, doors, play, report};
use crate::door::Ask;
use serde_json::{Map, Value, json};
use std::time::Instant;

const NAMESPACE: &str = "random-histories";

fn labels(dice: &mut Dice) -> Value {
    let keys = dice.some(&["a", "b", "c"]);
    let map: Map<String, Value> = keys
        .into_iter()
        .map(|key| (key.to_string(), dice.of(&["1", "2"]).into()))
        .collect();
    map.into()
}

fn config_map(dice: &mut Dice, name: &str) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    if dice.one_in(2) {
        object["metadata"]["labels"] = labels(dice);
    }
    if dice.one_in(4) {
        object["metadata"]["finalizers"] = dice.shuffled(&["x.example/a", "x.example/b"]).into();
    }
    // Who owns a map that others emptied is a known difference.
    let data = labels(dice);
    if data != json!({}) {
        object["data"] = data;
    }
    object
}

fn container(dice: &mut Dice, name: &str) -> Value {
    let mut container = json!({"name": name, "image": dice.of(&["i", "j"])});
    if dice.one_in(2) {
        let env: Vec<Value> = dice
            .shuffled(&["A", "B", "C"])
            .into_iter()
            .map(|name| json!({"name": name, "value": dice.of(&["1", "2"])}))
            .collect();
        container["env"] = env.into();
    }
    if dice.one_in(3) {
        let ports: Vec<Value> = dice
            .shuffled(&[80, 81])
            .into_iter()
            .map(|port| json!({"containerPort": port, "protocol": dice.of(&["TCP", "TCP", "UDP"])}))
            .collect();
        container["ports"] = ports.into();
    }
    if dice.one_in(4) {
        container["args"] = dice.some(&["x", "y"]).into();
    }
    if dice.one_in(4) {
        container["resources"] = json!({"limits": {"cpu": dice.of(&["1", "500m"])}});
    }
    container
}

fn deployment(dice: &mut Dice, name: &str) -> Value {
    let mut names = dice.shuffled(&["c", "d"]);
    if names.is_empty() {
        names = vec!["c"];
    }
    let containers: Vec<Value> = names
        .into_iter()
        .map(|name| container(dice, name))
        .collect();
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": containers}},
    });
    if dice.one_in(2) {
        spec["replicas"] = dice.of(&[1, 2]).into();
    }
    if dice.one_in(4) {
        spec["template"]["spec"]["nodeSelector"] = labels(dice);
    }
    if dice.one_in(4) {
        spec["strategy"] = json!({"type": "Recreate"});
    }
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec});
    if dice.one_in(3) {
        object["metadata"]["labels"] = labels(dice);
    }
    object
}

fn service(dice: &mut Dice, name: &str) -> Value {
    let mut ports: Vec<Value> = Vec::new();
    for (port, label) in [(80, "a"), (81, "b")] {
        if dice.one_in(2) || port == 80 {
            ports.push(json!({"name": label, "port": port, "protocol": "TCP", "targetPort": dice.of(&[8080, 8081])}));
        }
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels(dice)}, "spec": {"selector": labels(dice), "ports": ports}})
}

fn history(dice: &mut Dice, case: u64) -> Vec<Ask> {
    let name = format!("h{case}");
    let kind = dice.below(3);
    let path = match kind {
        0 => format!("/api/v1/namespaces/{NAMESPACE}/configmaps"),
        1 => format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments"),
        _ => format!("/api/v1/namespaces/{NAMESPACE}/services"),
    };
    let make = |dice: &mut Dice| match kind {
        0 => config_map(dice, &name),
        1 => deployment(dice, &name),
        _ => service(dice, &name),
    };
    let steps = 2 + dice.below(6);
    let mut asks = Vec::new();
    for _ in 0..steps {
        let object = make(dice);
        let manager = dice.of(&["one", "two", "three"]);
        let ask = match dice.below(8) {
            0 => Ask::new("PATCH", format!("{path}/{name}?fieldManager={manager}")).json(
                "application/merge-patch+json",
                &json!({"metadata": {"labels": {dice.of(&["a", "b", "c"]): dice.of(&["1", "2", "3"])}}}),
            ),
            1 if kind != 2 => Ask::new("PUT", format!("{path}/{name}?fieldManager={manager}"))
                .json("application/json", &object),
            _ => {
                let force = if dice.one_in(2) { "&force=true" } else { "" };
                Ask::new("PATCH", format!("{path}/{name}?fieldManager={manager}{force}"))
                    .json("application/apply-patch+yaml", &object)
            }
        };
        asks.push(ask);
    }
    asks
}

#[tokio::test]
async fn apply_histories() {
    let Some(doors) = doors(NAMESPACE).await else {
        return;
    };
    let (seed, cases) = cases(600, 2_000);
    let (begin, count) = (Instant::now(), cases.end - cases.start);
    let mut found = Vec::new();
    for case in cases {
        let asks = history(&mut Dice::new(seed, case), case);
        if let Some(why) = play(&doors, &asks).await {
            found.push((case, why));
        }
    }
    report("apply histories", seed, count, begin, &found);
}
